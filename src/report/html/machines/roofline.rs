//! The roofline: what a kernel reaches over how much it computes with every byte, under what the
//! machine can do at best.

use super::super::axis::Axis;
use super::super::chart::{Chart, Hover, Label, Layer, Shape};
use super::super::markup::{Text, folded_table};
use super::machine::Machine;
use crate::bench::{BenchRow, Status, short_number};

/// A kernel on the roofline.
struct Dot<'a> {
    row: &'a BenchRow,
    /// Operations a byte.
    intensity: f64,
    gflops: f64,
}

/// The chart with its legend and its table; empty where there are no kernels.
pub(super) fn roofline(machines: &[Machine<'_>]) -> String {
    let all = machines.iter().map(|machine| (machine, dots(machine)));
    let all: Vec<_> = all.filter(|(_, dots)| !dots.is_empty()).collect();
    let dots = || all.iter().flat_map(|(_, dots)| dots);
    let roofs = all.iter().flat_map(|(machine, _)| {
        let roofline = machine.roofline();
        [roofline.arithmetic(false), roofline.arithmetic(true)].into_iter().flatten()
    });
    let x = Axis::log(dots().map(|dot| dot.intensity));
    let y = Axis::log(dots().map(|dot| dot.gflops).chain(roofs));
    let (Some(x), Some(y)) = (x, y) else { return String::new() };
    let mut layers = Vec::new();
    let mut labels = Vec::new();
    for (machine, _) in &all {
        roofs_of(machine, &x, &mut layers, &mut labels);
    }
    for (machine, dots) in &all {
        let points = dots.iter().map(|dot| (dot.intensity, dot.gflops)).collect();
        layers.push(Layer { class: machine.dots(), shape: Shape::Dots, points });
    }
    let hovers = all.iter().flat_map(|(machine, dots)| {
        dots.iter().map(|dot| Hover { x: dot.intensity, y: dot.gflops, text: words(machine, dot) })
    });
    let chart = Chart {
        id: "roofline",
        title: "Operations a second over operations a byte".into(),
        description: "Every kernel of a training step as a dot, under the lines that memory and \
                      arithmetic of its machine allow."
            .into(),
        size: "tall",
        x_ticks: x.ticks(8),
        y_ticks: y.ticks(7),
        x,
        y,
        layers,
        labels,
        hovers: hovers.collect(),
    };
    format!(
        "<figure>\n{}{}<figcaption>Across: floating-point operations for every byte that must be \
         read or written. Up: GFLOP/s. The slope is the bandwidth of memory, the level what \
         multiply-adds in f32 reach, the dashed level that of f16 or of the matrix unit. A dot \
         above the slope lives from a cache.</figcaption>\n{}</figure>\n",
        legend(all.iter().map(|(machine, _)| *machine)),
        chart.render(),
        table(&all),
    )
}

/// The dots of a machine: of every kernel and size the last good row.
fn dots<'a>(machine: &Machine<'a>) -> Vec<Dot<'a>> {
    let good = |row: &&&BenchRow| row.kind == "kernel" && row.status == Status::Ok;
    let dots = machine.rows.iter().filter(good).filter_map(|row| {
        let (flops, bytes) = (row.flops? as f64, row.bytes? as f64);
        let (intensity, gflops) = (flops / bytes, flops / row.median_ms? * 1e-6);
        let is_drawn = intensity > 0.0 && intensity.is_finite() && gflops > 0.0;
        is_drawn.then_some(Dot { row, intensity, gflops })
    });
    dots.collect()
}

/// The slope of memory and the levels of arithmetic.
fn roofs_of(machine: &Machine<'_>, x: &Axis, layers: &mut Vec<Layer>, labels: &mut Vec<Label>) {
    let roofline = machine.roofline();
    let Some(bandwidth) = roofline.bandwidth() else { return };
    let (left, right) = x.ends();
    let (plain, halves) = (roofline.arithmetic(false), roofline.arithmetic(true));
    let mut roof = |level: f64, class: &'static str, from: f64| {
        let ridge = (level / bandwidth).clamp(left, right);
        let points = [from, ridge, right];
        let points = points.map(|at| (at, level.min(at * bandwidth))).to_vec();
        layers.push(Layer { class, shape: Shape::Line, points });
    };
    if let Some(plain) = plain {
        roof(plain, machine.line(), left);
        labels.push(Label {
            x: right,
            y: plain,
            class: "label level",
            text: format!("{} f32", machine.name),
        });
    }
    if let Some(halves) = halves.filter(|halves| Some(*halves) != plain) {
        let from = plain.map_or(left, |plain| (plain / bandwidth).clamp(left, right));
        roof(halves, machine.dash(), from);
    }
}

fn words(machine: &Machine<'_>, dot: &Dot<'_>) -> String {
    let row = dot.row;
    let percent = row.percent_of_peak.map_or_else(String::new, |it| format!(", {it:.0} % of peak"));
    format!(
        "{}: {} {}, {} ms, {} GFLOP/s{percent}",
        machine.name,
        row.kernel,
        row.shape,
        short_number(row.median_ms.unwrap_or(0.0)),
        short_number(dot.gflops),
    )
}

/// Which colour is whose.
pub(super) fn legend<'m>(machines: impl Iterator<Item = &'m Machine<'m>>) -> String {
    let entries = machines.map(|machine| {
        let (color, name) = (machine.color(), Text(&machine.name));
        format!("<li><span class=\"swatch {color}\"></span>{name}</li>")
    });
    format!("<ul class=\"legend\">{}</ul>\n", entries.collect::<String>())
}

fn table(all: &[(&Machine<'_>, Vec<Dot<'_>>)]) -> String {
    let columns =
        ["machine", "kernel", "variant", "size", "operations a byte", "GFLOP/s", "% of peak"];
    let rows = all.iter().flat_map(|(machine, dots)| {
        dots.iter().map(|dot| {
            vec![
                machine.name.clone(),
                dot.row.kernel.clone(),
                dot.row.variant.clone(),
                dot.row.shape.clone(),
                short_number(dot.intensity),
                short_number(dot.gflops),
                dot.row.percent_of_peak.map_or_else(String::new, |it| format!("{it:.0}")),
            ]
        })
    });
    folded_table("The roofline as a table", &columns, &rows.collect::<Vec<_>>())
}
