//! The curves of runs over each other, over the bytes that they were trained on.

use super::super::axis::Axis;
use super::super::chart::{Chart, Hover, Layer, Shape, thinned};
use super::super::markup::Text;
use super::run::Run;
use crate::report::figures::{byte_count, duration, fixed, grouped};
use crate::train::metrics::Metrics;

/// Points of a line at most.
const LINE_POINTS: usize = 300;
const SMALL_LINE_POINTS: usize = 150;
/// Points of a run that the pointer finds.
const HOVER_POINTS: usize = 100;
/// The top of the chart, as a multiple of the worst figure that a run ends with.
const HEADROOM: f64 = 1.35;
/// Updates over which the mean of training losses is taken for the line that is shown.
const MEAN_LINES: usize = 9;

/// Names of the runs in their colours.
pub(super) fn legend(runs: &[Run<'_>]) -> String {
    let entry = |run: &Run<'_>| {
        format!(
            "<li><span class=\"swatch {}\" aria-hidden=\"true\"></span>{}</li>",
            run.color(),
            Text(&run.of.name)
        )
    };
    format!("<ul class=\"legend\">{}</ul>\n", runs.iter().map(entry).collect::<String>())
}

/// Bits per byte of training and of held-out text; nothing where no run has a line.
pub(super) fn bits_per_byte(runs: &[Run<'_>]) -> String {
    let mut layers = Vec::new();
    let mut hovers = Vec::new();
    let mut ends = Vec::new();
    for run in runs {
        let train = run.over_bytes(|line| Some(line.bits_per_byte_across.into()));
        let train = smooth(&train);
        let held_out = run.held_out();
        ends.extend(held_out.last().or(train.last()).map(|point| point.1));
        hovers.extend(hovers_of(run));
        let train = thinned(&train, LINE_POINTS);
        layers.push(Layer { class: run.train(), shape: Shape::Line, points: train });
        layers.push(Layer { class: run.line(), shape: Shape::Line, points: held_out.clone() });
        layers.push(Layer { class: run.dots(), shape: Shape::Dots, points: held_out });
    }
    let points = || layers.iter().flat_map(|layer| &layer.points);
    let x = Axis::up_to(points().map(|point| point.0).fold(0.0, f64::max));
    let worst = ends.iter().copied().filter(|end| end.is_finite()).fold(0.0, f64::max);
    let Some(y) = Axis::below(worst * HEADROOM, points().map(|point| point.1)) else {
        return String::new();
    };
    let chart = Chart {
        id: "bpb",
        title: "Bits per byte over the bytes of training".into(),
        description: runs.iter().map(described).collect::<Vec<_>>().join(" "),
        size: "tall",
        x_ticks: byte_ticks(&x, 6),
        y_ticks: y.ticks(8),
        x,
        y,
        layers,
        labels: Vec::new(),
        hovers,
    };
    format!(
        "<figure>{}{}<figcaption>Bits per byte over the bytes that a run was trained on; lower is \
         better. Thin lines are training batches, means of {MEAN_LINES} lines; dots are held-out \
         text. What is above the top is not shown.</figcaption></figure>\n",
        legend(runs),
        chart.render(),
    )
}

/// Training losses jump from batch to batch: the mean over neighbours shows where they go.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = MEAN_LINES / 2;
    let mean = |index: usize| {
        // As many on either side, so that the ends are where they were.
        let reach = half.min(index).min(points.len() - 1 - index);
        let around = &points[index - reach..=index + reach];
        around.iter().map(|point| point.1).sum::<f64>() / around.len() as f64
    };
    points.iter().enumerate().map(|(index, point)| (point.0, mean(index))).collect()
}

fn hovers_of(run: &Run<'_>) -> Vec<Hover> {
    let step_by = run.points.len().div_ceil(HOVER_POINTS).max(1);
    let last = run.points.len().saturating_sub(1);
    let told = run.points.iter().enumerate().filter(|(index, point)| {
        let is_scored = point.line.eval_bits_per_byte.is_some();
        index % step_by == 0 || *index == last || is_scored
    });
    let hover = |point: &super::run::Point<'_>| {
        let (bpb, which) = match point.line.eval_bits_per_byte {
            Some(bpb) => (bpb, "held-out"),
            None => (point.line.bits_per_byte_across.into(), "training"),
        };
        let (step, at) = (grouped(point.line.global_step), duration(point.seconds));
        let name = &run.of.name;
        let text = format!("{name}, step {step}, {at}: {} bpb {which}", fixed(bpb, 3));
        Hover { x: point.byte_count, y: bpb, text }
    };
    told.map(|(_, point)| hover(point)).filter(|hover| hover.y.is_finite()).collect()
}

fn described(run: &Run<'_>) -> String {
    let Some(last) = run.points.last() else { return format!("{}: no line yet.", run.of.name) };
    let best = run.best().map_or_else(
        || "not scored".to_owned(),
        |(step, bpb)| format!("{} at step {}", fixed(bpb, 3), grouped(step)),
    );
    format!(
        "{}: {} steps, {} bytes, training at {} bits per byte, held-out text at best {best}.",
        run.of.name,
        grouped(last.line.global_step),
        grouped(last.byte_count as u64),
        fixed(last.line.bits_per_byte_across.into(), 3),
    )
}

/// What a small chart shows of a line.
type Measure = fn(&Metrics) -> Option<f64>;

/// What else was measured, a small chart each.
pub(super) fn small(runs: &[Run<'_>]) -> String {
    let measures: [(&'static str, &str, Measure, bool); 6] = [
        ("rate", "Learning rate", |line| Some(line.learning_rate), false),
        ("norm", "Gradient norm", |line| Some(line.grad_norm.into()), true),
        ("speed", "Bytes per second", |line| Some(line.bytes_per_second), false),
        ("peak", "Percent of the measured peak", |line| line.percent_of_peak, false),
        ("data", "Percent of time waiting for data", waiting, false),
        ("bytes", "Bytes per patch", |line| line.bytes_per_patch, false),
    ];
    let charts: Vec<String> = measures
        .into_iter()
        .filter_map(|(id, name, of, is_log)| small_chart(runs, id, name, of, is_log))
        .collect();
    match charts.is_empty() {
        true => String::new(),
        false => format!("<div class=\"three\">\n{}</div>\n", charts.concat()),
    }
}

fn waiting(line: &Metrics) -> Option<f64> {
    let data = line.data_seconds.filter(|_| line.update_seconds > 0.0)?;
    Some(data / line.update_seconds * 100.0)
}

fn small_chart(
    runs: &[Run<'_>],
    id: &'static str,
    name: &str,
    of: Measure,
    is_log: bool,
) -> Option<String> {
    let curves: Vec<_> = runs.iter().map(|run| (run, run.over_bytes(of))).collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    let values = all().map(|point| point.1);
    let y = if is_log { Axis::log(values) } else { Axis::from_zero(values) }?;
    let x = Axis::up_to(all().map(|point| point.0).fold(0.0, f64::max));
    let layers = curves.iter().map(|(run, points)| Layer {
        class: run.line(),
        shape: Shape::Line,
        points: thinned(points, SMALL_LINE_POINTS),
    });
    let ends = curves.iter().filter_map(|(run, points)| {
        points.last().map(|end| format!("{} {}", run.of.name, fixed(end.1, 3)))
    });
    let chart = Chart {
        id,
        title: format!("{name} over the bytes of training"),
        description: format!("At the end: {}.", ends.collect::<Vec<_>>().join(", ")),
        size: "small",
        x_ticks: byte_ticks(&x, 3),
        y_ticks: y.ticks(3),
        layers: layers.collect(),
        x,
        y,
        labels: Vec::new(),
        hovers: Vec::new(),
    };
    Some(format!("<figure><h3>{}</h3>{}</figure>\n", Text(name), chart.render()))
}

/// Which share of the patches has which length, for the runs that have patches.
pub(super) fn patches(runs: &[Run<'_>]) -> String {
    let counted = runs.iter().map(|run| (run, run.patch_lengths()));
    let counted: Vec<_> = counted.filter(|(_, counts)| counts.iter().sum::<u64>() > 0).collect();
    let longest = counted.iter().map(|(_, counts)| counts.len()).max().unwrap_or(0);
    let shares = |counts: &[u64]| -> Vec<(f64, f64)> {
        let total: u64 = counts.iter().sum();
        let share = |count: u64| count as f64 / total.max(1) as f64 * 100.0;
        counts.iter().enumerate().skip(1).map(|(at, &count)| (at as f64, share(count))).collect()
    };
    let curves: Vec<_> = counted.iter().map(|(run, counts)| (run, shares(counts))).collect();
    let values = || curves.iter().flat_map(|(_, points)| points).map(|point| point.1);
    let (Some(y), true) = (Axis::from_zero(values()), longest > 2) else { return String::new() };
    let Some(x) = Axis::linear([1.0, (longest - 1) as f64].into_iter()) else {
        return String::new();
    };
    let mut layers = Vec::new();
    let mut hovers = Vec::new();
    for (run, points) in &curves {
        layers.push(Layer { class: run.line(), shape: Shape::Line, points: points.clone() });
        layers.push(Layer { class: run.dots(), shape: Shape::Dots, points: points.clone() });
        hovers.extend(points.iter().map(|&(length, share)| Hover {
            x: length,
            y: share,
            text: format!("{}: {length} bytes, {share:.1}% of patches", run.of.name),
        }));
    }
    let means = curves.iter().map(|(run, points)| {
        let mean: f64 = points.iter().map(|(length, share)| length * share / 100.0).sum();
        format!("{} {}", run.of.name, fixed(mean, 2))
    });
    let chart = Chart {
        id: "patches",
        title: "Lengths of patches".into(),
        description: format!("Bytes on average: {}.", means.collect::<Vec<_>>().join(", ")),
        size: "middle",
        // No patch has half a byte.
        x_ticks: x.ticks(10).into_iter().filter(|tick| tick.0.fract() == 0.0).collect(),
        y_ticks: y.ticks(5).into_iter().map(|(value, text)| (value, format!("{text}%"))).collect(),
        x,
        y,
        layers,
        labels: Vec::new(),
        hovers,
    };
    format!(
        "<figure>{}{}<figcaption>The share of patches of so many bytes, in the batches of \
         training. The last length stands for all longer ones.</figcaption></figure>\n",
        if curves.len() > 1 { legend(runs) } else { String::new() },
        chart.render(),
    )
}

/// Round numbers of bytes.
fn byte_ticks(x: &Axis, count: usize) -> Vec<(f64, String)> {
    let named = |(value, _): (f64, String)| {
        let text = if value == 0.0 { "0".to_owned() } else { short(value) };
        (value, text)
    };
    x.ticks(count).into_iter().map(named).collect()
}

/// `2.5 MB`, without zeros at the end.
fn short(bytes: f64) -> String {
    let text = byte_count(bytes);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}
