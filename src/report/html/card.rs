//! Where the time went, what the models are made of, and how to have the run again.

use super::bars::{Bar, bar_table};
use super::markup::{Text, percent_encoded};
use crate::report::data::{Fact, ModelCard, RunReport};
use crate::report::figures::{byte_count, duration, grouped, short_count};

/// A bar a phase; what no phase covers is a row of its own.
pub(super) fn timing(report: &RunReport) -> String {
    let known: f64 = report.phases.iter().map(|phase| phase.seconds).sum();
    let total = report.result.seconds.max(known);
    let longest = report.phases.iter().map(|phase| phase.seconds).fold(total - known, f64::max);
    let bar = |name: &str, note: &str, seconds: f64| Bar {
        name: name.into(),
        note: note.into(),
        value: duration(seconds),
        value_note: format!("{:.0}%", seconds / total * 100.0),
        share: seconds / longest,
        color: "plain",
    };
    let phases = report.phases.iter();
    let mut bars: Vec<_> =
        phases.map(|phase| bar(&phase.name, &phase.detail, phase.seconds)).collect();
    // Less than a percent is not worth a row.
    if !bars.is_empty() && total - known > total / 100.0 {
        bars.push(bar("the rest", "", total - known));
    }
    bar_table("Time by phase", ["phase", "time"], &bars)
}

/// Both models, part by part, then the run.
pub(super) fn models(report: &RunReport) -> String {
    format!(
        "<div class=\"two\">\n{}{}</div>\n<h3>The run</h3>\n{}",
        model(&report.blt, "blt"),
        model(&report.entropy_model, "entropy"),
        fact_table("The run", &run_facts(report)),
    )
}

/// The command, the record, and a way to save it.
pub(super) fn replay(report: &RunReport) -> String {
    let replay = &report.replay;
    let record = format!("{:#}", replay.record);
    format!(
        "<p>The record holds what the run decided for itself: seeds, shapes, step counts, kernel \
         variants. On the same device and driver the same bits come out.</p>\n\
         <pre class=\"command\"><code>{}</code></pre>\n\
         <p><a download=\"{}\" href=\"data:application/json,{}\">Save {}</a></p>\n\
         <details><summary>The record</summary><pre \
         class=\"record\"><code>{}</code></pre></details>\n",
        Text(&replay.command),
        Text(&replay.file_name),
        percent_encoded(&record),
        Text(&replay.file_name),
        Text(&record),
    )
}

fn model(card: &ModelCard, color: &'static str) -> String {
    let total = card.parameter_count();
    let largest = card.parts.iter().map(|part| part.parameter_count).max().unwrap_or(0).max(1);
    let parts = card.parts.iter().map(|part| Bar {
        name: part.name.clone(),
        note: part.shape.clone(),
        value: short_count(part.parameter_count as f64),
        value_note: String::new(),
        share: part.parameter_count as f64 / largest as f64,
        color,
    });
    let bars: Vec<_> = parts.collect();
    format!(
        "<div><h3>{}</h3><p class=\"under\">{} parameters</p>\n{}{}</div>\n",
        Text(&card.name),
        Text(&grouped(total)),
        bar_table("Parameters by part", ["part", "parameters"], &bars),
        fact_table(&card.name, &card.facts),
    )
}

fn run_facts(report: &RunReport) -> Vec<Fact> {
    let (program, device) = (&report.program, &report.device);
    let (corpus, patching) = (&report.corpus, &report.patching);
    let mut facts = vec![
        Fact::new("Command", &program.command),
        Fact::new("Program", format!("{} {}", program.name, program.version)),
    ];
    let mut add = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| Fact::new(name, value)));
    };
    add("Commit", program.commit.clone());
    add("Started", program.started_at.clone());
    add("Device", Some(format!("{} ({})", device.name, device.backend)));
    add("Driver", device.driver.clone());
    add("Memory", device.memory_bytes.map(|bytes| byte_count(bytes as f64)));
    add("Threads", device.thread_count.map(|count| count.to_string()));
    let bytes = |count: u64| format!("{} bytes", grouped(count));
    add("Text", Some(corpus.name.clone()));
    add("Trained on", Some(bytes(corpus.train_bytes)));
    add("Held out", Some(bytes(corpus.held_out_bytes)));
    add("Patching", Some(patching.mode.clone()));
    add("Threshold", patching.threshold_nats.map(|nats| format!("{nats} nats")));
    add("Longest patch allowed", patching.max_patch_length.map(|count| format!("{count} bytes")));
    facts.retain(|fact| !fact.value.trim().is_empty());
    facts
}

fn fact_table(caption: &str, facts: &[Fact]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let mut html = format!(
        "<table class=\"facts\"><caption class=\"unseen\">{}</caption><tbody>\n",
        Text(caption)
    );
    for fact in facts {
        html.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
            Text(&fact.name),
            Text(&fact.value)
        ));
    }
    html + "</tbody></table>\n"
}
