//! How both models learnt: bits per byte over the time of the run, and what else was measured.

use super::axis::Axis;
use super::chart::{Chart, Hover, Label, Layer, Shape, thinned};
use super::markup::{Text, folded_table};
use crate::report::data::{Curve, CurvePoint, RunReport};
use crate::report::figures::{byte_count, compact, duration, fixed, grouped};

/// Points of a line at most; more than a screen has pixels to tell apart.
const LINE_POINTS: usize = 240;
const SMALL_LINE_POINTS: usize = 120;
/// The top of the chart, as a multiple of the worst figure that a run ends with.
const HEADROOM: f64 = 1.35;
/// Two words closer than this, as a share of the height, would touch.
const LABEL_ROOM: f64 = 0.055;

/// The section, or nothing where no step was recorded.
pub(super) fn curves(report: &RunReport) -> String {
    let Some(chart) = bpb_chart(report) else { return String::new() };
    let mut points = chart.layers.iter().flat_map(|layer| &layer.points);
    let first_steps = if points.any(|point| point.1.is_finite() && !chart.y.holds(point.1)) {
        " The first steps come in from above the top."
    } else {
        ""
    };
    let mut html = format!(
        "<figure>{}{}<figcaption>Bits per byte over the time of the run; lower is better. Thin \
         lines are training batches, dots are the {} held-out bytes.{first_steps}</figcaption>\
         </figure>\n",
        legend(report),
        chart.render(),
        Text(&grouped(report.corpus.held_out_bytes)),
    );
    html.push_str("<div class=\"three\">\n");
    for small in small_charts(report) {
        html.push_str(&small);
    }
    html.push_str("</div>\n");
    html.push_str(&table(report));
    html
}

fn legend(report: &RunReport) -> String {
    let entry = |class: &str, name: &str| {
        format!(
            "<li><span class=\"swatch {class}\" aria-hidden=\"true\"></span>{}</li>",
            Text(name)
        )
    };
    let mut html = "<ul class=\"legend\">".to_owned();
    if !report.entropy_curve.points.is_empty() {
        html.push_str(&entry("entropy", &report.entropy_model.name));
    }
    if !report.blt_curve.points.is_empty() {
        html.push_str(&entry("blt", &report.blt.name));
    }
    if !report.baselines.is_empty() {
        html.push_str(&entry("level", "for comparison"));
    }
    html + "</ul>\n"
}

fn train_points(curve: &Curve) -> Vec<(f64, f64)> {
    curve.points.iter().map(|point| (point.seconds, point.train_bpb)).collect()
}

fn held_out_points(curve: &Curve) -> Vec<(f64, f64)> {
    let scored = |point: &CurvePoint| point.held_out_bpb.map(|bpb| (point.seconds, bpb));
    curve.points.iter().filter_map(scored).collect()
}

fn bpb_chart(report: &RunReport) -> Option<Chart<'static>> {
    let curves = [
        (&report.entropy_curve, report.entropy_model.name.as_str(), ENTROPY),
        (&report.blt_curve, report.blt.name.as_str(), BLT),
    ];
    let mut layers = vec![Layer {
        class: "level",
        shape: Shape::Levels,
        points: report.baselines.iter().map(|baseline| (0.0, baseline.bpb)).collect(),
    }];
    let mut hovers = Vec::new();
    let mut ends = Vec::new();
    for (curve, name, classes) in curves {
        let train = thinned(&train_points(curve), LINE_POINTS);
        let held_out = held_out_points(curve);
        hovers.extend(hovers_of(curve, name));
        if let Some(&(x, y)) = held_out.last().or(train.last()) {
            ends.push(Label { x, y, class: classes[3], text: format!("{name} {}", fixed(y, 3)) });
        }
        layers.push(Layer { class: classes[0], shape: Shape::Line, points: train });
        layers.push(Layer { class: classes[1], shape: Shape::Line, points: held_out.clone() });
        layers.push(Layer { class: classes[2], shape: Shape::Dots, points: held_out });
    }
    let points = || layers.iter().skip(1).flat_map(|layer| &layer.points);
    let levels = || report.baselines.iter().map(|baseline| baseline.bpb);
    let x = Axis::up_to(points().map(|point| point.0).fold(0.0, f64::max));
    let highest = levels().chain(ends.iter().map(|end| end.y)).fold(0.0, f64::max);
    points().next()?;
    let y = Axis::below(highest * HEADROOM, points().map(|point| point.1).chain(levels()))?;
    let mut labels = level_labels(report, &y, x_end(&layers));
    labels.extend(ends);
    Some(Chart {
        id: "bpb",
        title: "Bits per byte over the time of the run".into(),
        description: described(report),
        size: "tall",
        x_ticks: x.time_ticks(6),
        y_ticks: y.ticks(8),
        x,
        y,
        layers,
        labels,
        hovers,
    })
}

/// Classes of a curve: training, held-out line, held-out dots, word at its end.
const ENTROPY: [&str; 4] = ["train entropy", "line entropy", "dots entropy", "end entropy"];
const BLT: [&str; 4] = ["train blt", "line blt", "dots blt", "end blt"];

fn x_end(layers: &[Layer]) -> f64 {
    layers.iter().flat_map(|layer| &layer.points).map(|point| point.0).fold(0.0, f64::max)
}

/// Names of the comparison levels at the right edge, each above its line where there is room, and
/// under it where the next one above is too near.
fn level_labels(report: &RunReport, y: &Axis, x_end: f64) -> Vec<Label> {
    let mut baselines: Vec<_> =
        report.baselines.iter().filter(|baseline| y.holds(baseline.bpb)).collect();
    baselines.sort_by(|a, b| b.bpb.total_cmp(&a.bpb));
    let mut labels = Vec::new();
    let mut above = f64::INFINITY;
    for baseline in baselines {
        let share = y.share(baseline.bpb);
        let is_free = above - share > LABEL_ROOM;
        labels.push(Label {
            x: x_end,
            y: baseline.bpb,
            class: if is_free { "level over" } else { "level under" },
            text: format!("{} {}", baseline.name, fixed(baseline.bpb, 2)),
        });
        above = if is_free { share } else { share - LABEL_ROOM };
    }
    labels
}

fn hovers_of(curve: &Curve, name: &str) -> Vec<Hover> {
    let step_by = curve.points.len().div_ceil(SMALL_LINE_POINTS).max(1);
    let last = curve.points.len().saturating_sub(1);
    let told = curve.points.iter().enumerate().filter(|(index, point)| {
        index % step_by == 0 || *index == last || point.held_out_bpb.is_some()
    });
    let hover = |point: &CurvePoint| {
        let (bpb, which) = match point.held_out_bpb {
            Some(bpb) => (bpb, "held-out"),
            None => (point.train_bpb, "training"),
        };
        let (step, at) = (grouped(point.step), duration(point.seconds));
        let text = format!("{name}, step {step}, {at}: {} bpb {which}", fixed(bpb, 3));
        Hover { x: point.seconds, y: bpb, text }
    };
    told.map(|(_, point)| hover(point)).collect()
}

fn described(report: &RunReport) -> String {
    let mut words = Vec::new();
    for (curve, name) in
        [(&report.entropy_curve, &report.entropy_model.name), (&report.blt_curve, &report.blt.name)]
    {
        if let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) {
            let held_out = held_out_points(curve);
            let held_out = held_out.last().map(|point| fixed(point.1, 3));
            words.push(format!(
                "{name}: {} steps, training from {} to {} bits per byte, held-out {}.",
                grouped(last.step),
                fixed(first.train_bpb, 2),
                fixed(last.train_bpb, 2),
                held_out.unwrap_or_else(|| "not scored".into()),
            ));
        }
    }
    for baseline in &report.baselines {
        words.push(format!("{}: {} bits per byte.", baseline.name, fixed(baseline.bpb, 3)));
    }
    words.join(" ")
}

/// What a small chart shows of a point.
type Measure = fn(&CurvePoint) -> f64;

fn small_charts(report: &RunReport) -> Vec<String> {
    let measures: [(&'static str, &str, Measure, bool); 3] = [
        ("rate", "Learning rate", |point| point.learning_rate, false),
        ("norm", "Gradient norm", |point| point.gradient_norm, true),
        ("speed", "Bytes per second", |point| point.bytes_per_second, false),
    ];
    measures
        .into_iter()
        .filter_map(|(id, name, of, is_log)| small(report, id, name, of, is_log))
        .collect()
}

fn small(
    report: &RunReport,
    id: &'static str,
    name: &str,
    of: Measure,
    is_log: bool,
) -> Option<String> {
    let curves = [(&report.entropy_curve, "line entropy"), (&report.blt_curve, "line blt")];
    let all = || curves.iter().flat_map(|(curve, _)| &curve.points);
    let values = all().map(of);
    let y = if is_log { Axis::log(values) } else { Axis::from_zero(values) }?;
    let x = Axis::up_to(all().map(|point| point.seconds).fold(0.0, f64::max));
    let layer = |(curve, class): (&Curve, &'static str)| {
        let points: Vec<_> = curve.points.iter().map(|point| (point.seconds, of(point))).collect();
        Layer { class, shape: Shape::Line, points: thinned(&points, SMALL_LINE_POINTS) }
    };
    let ends = curves.iter().filter_map(|(curve, _)| curve.points.last()).map(of);
    let ends: Vec<_> = ends.map(compact).collect();
    let chart = Chart {
        id,
        title: format!("{name} over the time of the run"),
        description: format!("At the end of each training: {}.", ends.join(", ")),
        size: "small",
        x_ticks: x.time_ticks(3),
        y_ticks: y.ticks(3),
        x,
        y,
        layers: curves.map(layer).into(),
        labels: Vec::new(),
        hovers: Vec::new(),
    };
    Some(format!("<figure><h3>{}</h3>{}</figure>\n", Text(name), chart.render()))
}

fn table(report: &RunReport) -> String {
    let mut rows = Vec::new();
    for (curve, name) in
        [(&report.entropy_curve, &report.entropy_model.name), (&report.blt_curve, &report.blt.name)]
    {
        let last = curve.points.len().saturating_sub(1);
        let step_by = curve.points.len().div_ceil(12).max(1);
        for (index, point) in curve.points.iter().enumerate() {
            if point.held_out_bpb.is_none() && index % step_by != 0 && index != last {
                continue;
            }
            rows.push(vec![
                name.clone(),
                grouped(point.step),
                duration(point.seconds),
                fixed(point.loss_nats, 3),
                fixed(point.train_bpb, 3),
                point.held_out_bpb.map_or_else(String::new, |bpb| fixed(bpb, 3)),
                compact(point.learning_rate),
                compact(point.gradient_norm),
                format!("{}/s", byte_count(point.bytes_per_second)),
            ]);
        }
    }
    let columns = [
        "model",
        "step",
        "time",
        "loss, nats",
        "training bpb",
        "held-out bpb",
        "learning rate",
        "gradient norm",
        "speed",
    ];
    folded_table("The curves as a table", &columns, &rows)
}
