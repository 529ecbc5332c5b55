//! How long patches came out, and how the threshold was found.

use super::axis::Axis;
use super::chart::{Chart, Label, Layer, Shape};
use super::markup::{Text, folded_table};
use crate::report::data::{CalibrationPoint, Patching, RunReport};
use crate::report::figures::{compact, fixed, grouped};

/// Lengths with a column of their own; longer ones share the last.
const COLUMNS: usize = 20;

/// Both charts side by side, or the one there is.
pub(super) fn patching(report: &RunReport) -> String {
    let patching = &report.patching;
    let mean = report.result.bytes_per_patch;
    let charts = [histogram(patching, mean), calibration(patching, mean)];
    let charts: String = charts.into_iter().flatten().collect();
    if charts.is_empty() {
        return charts;
    }
    format!("<div class=\"two\">\n{charts}</div>\n{}", table(patching))
}

/// `(first length, count)`, with the column of everything longer at the end.
fn columns(patching: &Patching) -> Vec<(usize, u64)> {
    let counts = patching.length_counts.iter().copied().enumerate().skip(1);
    let mut columns: Vec<(usize, u64)> = Vec::new();
    for (length, count) in counts {
        match columns.last_mut() {
            Some(last) if last.0 == COLUMNS => last.1 += count,
            _ => columns.push((length, count)),
        }
    }
    columns
}

fn column_name(patching: &Patching, length: usize) -> String {
    let is_open = length == COLUMNS && patching.length_counts.len() > COLUMNS + 1;
    if is_open { format!("{length}+") } else { length.to_string() }
}

fn histogram(patching: &Patching, mean: f64) -> Option<String> {
    let columns = columns(patching);
    let total: u64 = columns.iter().map(|column| column.1).sum();
    if total == 0 {
        return None;
    }
    let highest = columns.iter().map(|column| column.1).max().unwrap_or(0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} 100\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"lengths-t lengths-d\">\
         <title id=\"lengths-t\">Patch lengths</title><desc id=\"lengths-d\">{}</desc>\n",
        columns.len(),
        Text(&described(patching, &columns, total, mean)),
    );
    let mut words = String::new();
    let mut hovers = Vec::new();
    for (place, &(length, count)) in columns.iter().enumerate() {
        let height = count as f64 / highest as f64 * 100.0;
        svg.push_str(&format!(
            "<rect class=\"column\" x=\"{place}.1\" width=\"0.8\" y=\"{:.2}\" \
             height=\"{height:.2}\"/>",
            100.0 - height
        ));
        let left = (place as f64 + 0.5) / columns.len() as f64 * 100.0;
        let name = column_name(patching, length);
        if length == 1 || length % 5 == 0 || columns.len() <= 10 {
            words.push_str(&format!(
                "<span class=\"tick x\" style=\"left:{left:.2}%\" \
                 aria-hidden=\"true\">{name}</span>"
            ));
        }
        let share = percent(count, total);
        let text = format!("{name} bytes: {} patches, {share}", grouped(count));
        hovers.push(serde_json::json!([round(left), round(100.0 - height), text]));
    }
    let hovers = serde_json::Value::from(hovers).to_string();
    Some(format!(
        "<figure><h3>Bytes in a patch</h3><div class=\"plot middle\" \
         data-hover=\"{}\">{svg}</svg>\n\
         {words}</div><figcaption>{} patches of held-out text.</figcaption></figure>\n",
        Text(&hovers),
        grouped(total),
    ))
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn percent(count: u64, total: u64) -> String {
    format!("{:.1}%", count as f64 / total as f64 * 100.0)
}

fn described(patching: &Patching, columns: &[(usize, u64)], total: u64, mean: f64) -> String {
    let most = columns.iter().max_by_key(|column| column.1).map_or(1, |column| column.0);
    format!(
        "{} patches of {} bytes on average; the most frequent length is {}.",
        grouped(total),
        fixed(mean, 2),
        column_name(patching, most),
    )
}

fn calibration(patching: &Patching, bytes_per_patch: f64) -> Option<String> {
    let mut tried = patching.calibration.clone();
    tried.sort_by(|a, b| a.threshold_nats.total_cmp(&b.threshold_nats));
    let point = |tried: &CalibrationPoint| (tried.threshold_nats, tried.bytes_per_patch);
    let points: Vec<_> = tried.iter().map(point).collect();
    let chosen = patching.threshold_nats.map(|nats| (nats, bytes_per_patch));
    let all = || points.iter().copied().chain(chosen);
    if points.len() < 2 {
        return None;
    }
    let x = Axis::linear(all().map(|point| point.0))?;
    let y = Axis::from_zero(all().map(|point| point.1).chain(patching.target_bytes_per_patch))?;
    let share = chosen.map_or(0.0, |point| x.share(point.0));
    let label = |(x, y): (f64, f64)| Label {
        x,
        y,
        // The curve rises: there is room under it on the right and over it on the left.
        class: if share < 0.4 { "end strong" } else { "end strong left" },
        text: format!("{} nats, {} bytes", fixed(x, 3), fixed(y, 2)),
    };
    let layer = |class, shape, points: Vec<_>| Layer { class, shape, points };
    let chart = Chart {
        id: "calibration",
        title: "Bytes per patch by threshold".into(),
        description: match chosen {
            Some((x, y)) => format!("Chosen: {} nats, {} bytes.", fixed(x, 3), fixed(y, 2)),
            None => String::new(),
        },
        size: "middle",
        x_ticks: x.ticks(5),
        y_ticks: y.ticks(5),
        x,
        y,
        layers: vec![
            layer("stem", Shape::Stems, chosen.into_iter().collect()),
            layer("line ink", Shape::Line, points.clone()),
            layer("dots ink", Shape::Dots, points),
            layer("dots chosen", Shape::Dots, chosen.into_iter().collect()),
        ],
        labels: chosen.map(label).into_iter().collect(),
        hovers: Vec::new(),
    };
    let target = patching.target_bytes_per_patch;
    let aim = target.map_or_else(String::new, |bytes| format!(", aiming at {}", compact(bytes)));
    Some(format!(
        "<figure><h3>Bytes per patch by threshold</h3>{}<figcaption>Thresholds in nats tried by \
         calibration{aim}.</figcaption></figure>\n",
        chart.render(),
    ))
}

fn table(patching: &Patching) -> String {
    let columns = columns(patching);
    let total: u64 = columns.iter().map(|column| column.1).sum();
    let row = |&(length, count): &(usize, u64)| {
        vec![column_name(patching, length), grouped(count), percent(count, total)]
    };
    let rows: Vec<_> = columns.iter().filter(|column| column.1 > 0).map(row).collect();
    folded_table("Patch lengths as a table", &["bytes", "patches", "share"], &rows)
}
