//! The page about training runs.

use super::super::markup::{Text, folded_table};
use super::super::page::{Page, STYLE, section};
use super::super::samples::sample;
use super::charts;
use super::run::Run;
use crate::report::figures::{byte_count, compact, duration, fixed, grouped};
use crate::report::runs::TrainingRun;

const COLORS: &str = include_str!("../machines/machines.css");
const RUN_STYLE: &str = include_str!("runs.css");

/// Rows of a run in the table of lines at most.
const TABLE_ROWS: usize = 60;

/// Any number of runs as one page. Text of the runs and of their models is escaped; nothing is
/// loaded from outside. Sections with nothing to show are left out.
pub fn render(runs: &[TrainingRun]) -> String {
    let runs: Vec<_> = runs.iter().enumerate().map(|(at, run)| Run::new(at, run)).collect();
    let curves = format!("{}{}", charts::bits_per_byte(&runs), charts::small(&runs));
    let sections = [
        section("figures", "The result", "", &figures(&runs)),
        section("curves", "Learning", "", &curves),
        section(
            "patching",
            "Patches",
            "How many bytes travel together through the latent transformer.",
            &charts::patches(&runs),
        ),
        section("samples", "What they write", samples_lede(&runs), &samples(&runs)),
        section("compared", "Side by side", "", &compared(&runs)),
        section("lines", "Lines", "", &lines(&runs)),
    ];
    let title = title(&runs);
    Page {
        title: &title,
        description: &summary(&runs),
        style: &[STYLE, COLORS, RUN_STYLE],
        masthead: &format!(
            "<header>\n<p class=\"origin\">blt report</p>\n<h1>{}</h1>\n<p \
             class=\"lede\">{}</p>\n</header>\n",
            Text(&title),
            Text(&summary(&runs)),
        ),
        sections: &sections.concat(),
        footer: "<p>Bits per byte are nats of all targets, over their number and ln 2. Made by \
                 <code>blt report</code>.</p>",
    }
    .render()
}

fn title(runs: &[Run<'_>]) -> String {
    match runs {
        [run] => run.of.name.clone(),
        _ => format!("{} runs side by side", runs.len()),
    }
}

fn summary(runs: &[Run<'_>]) -> String {
    let said = runs.iter().map(|run| {
        let Some(last) = run.points.last() else {
            return format!("{} has no line yet", run.of.name);
        };
        let bpb = run.best().map_or_else(
            || {
                format!(
                    "{} bits per byte in training",
                    fixed(last.line.bits_per_byte_across.into(), 3)
                )
            },
            |(_, bpb)| format!("{} bits per byte on held-out text", fixed(bpb, 3)),
        );
        format!(
            "{}: {bpb} after {} steps and {}",
            run.of.name,
            grouped(last.line.global_step),
            byte_count(last.byte_count),
        )
    });
    said.collect::<Vec<_>>().join("; ") + "."
}

/// The figures of the run that did best.
fn figures(runs: &[Run<'_>]) -> String {
    let scored = runs.iter().filter_map(|run| Some((run, run.best()?.1)));
    let best = scored.min_by(|a, b| a.1.total_cmp(&b.1));
    let Some(run) = best.map(|(run, _)| run).or(runs.first()) else { return String::new() };
    let Some(last) = run.points.last() else { return String::new() };
    let (bpb, note) = match run.best() {
        Some((step, bpb)) => (bpb, format!("on held-out text, at step {}", grouped(step))),
        None => (last.line.bits_per_byte_across.into(), "in training, at the end".to_owned()),
    };
    let mut figures = vec![(fixed(bpb, 3), "bits per byte".to_owned(), note)];
    let seen = byte_count(last.byte_count);
    let steps = format!("in {} steps", grouped(last.line.global_step));
    figures.push((seen, "trained on".to_owned(), steps));
    if let Some(speed) = run.median(|line| Some(line.bytes_per_second)) {
        let of_peak = run.median(|line| line.percent_of_peak);
        let note = of_peak.map_or_else(String::new, |it| format!("{it:.1}% of the measured peak"));
        figures.push((format!("{}/s", byte_count(speed)), "in the middle".to_owned(), note));
    }
    figures.push((duration(last.seconds), "of updates".to_owned(), time_note(run)));
    let entry = |(value, name, note): &(String, String, String)| {
        let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
        let space = if unit.is_empty() { "" } else { "&#8239;" };
        format!(
            "<div><dt>{}<small>{}</small></dt><dd class=\"{}\">{}{space}<small>{}</small></dd>\
             </div>\n",
            Text(name),
            Text(note),
            run.color(),
            Text(number),
            Text(unit),
        )
    };
    let figures: String = figures.iter().map(entry).collect();
    let whose = match runs.len() {
        1 => String::new(),
        _ => format!("<p class=\"under\">Of the best run, {}.</p>\n", Text(&run.of.name)),
    };
    format!("{whose}<dl class=\"figures\">\n{figures}</dl>\n")
}

fn time_note(run: &Run<'_>) -> String {
    let begun = run.of.lines.first().map(|line| line.created_at.as_str());
    let ended = run.of.lines.last().map(|line| line.created_at.as_str());
    let Some((begun, ended)) = begun.zip(ended) else { return String::new() };
    let (begun, ended) = (minutes(begun), minutes(ended));
    match begun.split_once(' ').zip(ended.split_once(' ')) {
        Some(((day, from), (last_day, to))) if day == last_day => format!("{day}, {from} to {to}"),
        _ => format!("{begun} to {ended}"),
    }
}

/// `2026-03-01 14:05` of an ISO time.
fn minutes(stamp: &str) -> String {
    stamp.get(..16).unwrap_or(stamp).replace('T', " ")
}

fn samples_lede(runs: &[Run<'_>]) -> &'static str {
    match runs.len() {
        1 => "The last texts that the model wrote while it was trained, in its patches.",
        _ => "The last texts that each model wrote while it was trained, in its patches.",
    }
}

fn samples(runs: &[Run<'_>]) -> String {
    let of = |run: &Run<'_>| {
        if run.of.samples.is_empty() {
            return String::new();
        }
        let heading = match runs.len() {
            1 => String::new(),
            _ => format!(
                "<h3 class=\"whose\"><span class=\"swatch {}\" aria-hidden=\"true\"></span>{}\
                 </h3>\n",
                run.color(),
                Text(&run.of.name)
            ),
        };
        format!("{heading}{}", run.of.samples.iter().map(sample).collect::<String>())
    };
    runs.iter().map(of).collect()
}

/// What the runs are, a column each.
fn compared(runs: &[Run<'_>]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for fact in runs.iter().flat_map(|run| &run.of.facts) {
        if !names.contains(&fact.name.as_str()) {
            names.push(&fact.name);
        }
    }
    let measured = [
        "skipped updates",
        "bytes per patch",
        "speed",
        "of the measured peak",
        "waiting for data",
        "device memory",
    ];
    let value = |run: &Run<'_>, name: &str| -> String {
        let last = run.of.lines.last();
        let percent = |value: Option<f64>| value.map(|value| format!("{value:.1}%"));
        let found = match name {
            "skipped updates" => last.and_then(|line| line.skipped_count).map(grouped),
            "bytes per patch" => run.median(|line| line.bytes_per_patch).map(|it| fixed(it, 2)),
            "speed" => run
                .median(|line| Some(line.bytes_per_second))
                .map(|speed| format!("{}/s", byte_count(speed))),
            "of the measured peak" => percent(run.median(|line| line.percent_of_peak)),
            "waiting for data" => percent(run.median(|line| {
                Some(line.data_seconds? / line.update_seconds * 100.0).filter(|it| it.is_finite())
            })),
            "device memory" => {
                last.and_then(|line| line.memory_gib).map(|gib| format!("{gib:.2} GiB"))
            }
            _ => run.of.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.clone()),
        };
        found.unwrap_or_default()
    };
    let rows = names.into_iter().chain(measured).filter_map(|name| {
        let values: Vec<_> = runs.iter().map(|run| value(run, name)).collect();
        if values.iter().all(String::is_empty) {
            return None;
        }
        let is_same = values.windows(2).all(|pair| pair[0] == pair[1]);
        let class = if is_same { " class=\"same\"" } else { "" };
        let cells: String = values.iter().map(|it| format!("<td>{}</td>", Text(it))).collect();
        Some(format!("<tr{class}><th scope=\"row\">{}</th>{cells}</tr>\n", Text(name)))
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        return rows;
    }
    let heads = runs.iter().map(|run| {
        let name = Text(&run.of.name);
        format!("<th scope=\"col\"><span class=\"swatch {}\"></span>{name}</th>", run.color())
    });
    format!(
        "<div class=\"wide\"><table class=\"facts compared\"><thead><tr><td></td>{}</tr></thead>\
         <tbody>\n{rows}</tbody></table></div>\n",
        heads.collect::<String>()
    )
}

fn lines(runs: &[Run<'_>]) -> String {
    let columns = [
        "run",
        "step",
        "time",
        "bytes",
        "loss, nats",
        "training bpb",
        "held-out bpb",
        "learning rate",
        "gradient norm",
        "speed",
    ];
    let mut rows = Vec::new();
    for run in runs {
        let step_by = run.points.len().div_ceil(TABLE_ROWS).max(1);
        let last = run.points.len().saturating_sub(1);
        for (index, point) in run.points.iter().enumerate() {
            let line = point.line;
            if line.eval_bits_per_byte.is_none() && index % step_by != 0 && index != last {
                continue;
            }
            rows.push(vec![
                run.of.name.clone(),
                grouped(line.global_step),
                duration(point.seconds),
                byte_count(point.byte_count),
                fixed(line.interval_loss.into(), 3),
                fixed(line.bits_per_byte_across.into(), 3),
                line.eval_bits_per_byte.map_or_else(String::new, |bpb| fixed(bpb, 3)),
                compact(line.learning_rate),
                compact(line.grad_norm.into()),
                format!("{}/s", byte_count(line.bytes_per_second)),
            ]);
        }
    }
    folded_table("The lines as a table", &columns, &rows)
}
