//! The head of the page: what ran, a line of patches, and the figures it is remembered by.

use super::bars::{Bar, bar_table};
use super::markup::Text;
use super::samples::flowing_patches;
use crate::report::data::RunReport;
use crate::report::figures::{byte_count, duration, fixed, short_count};

/// Patches of the strip that fit in one line of the head.
const HEAD_TOKENS: usize = 96;

/// Title, origin, a sentence that says it all, a line of text in patches.
pub(super) fn masthead(report: &RunReport) -> String {
    let program = &report.program;
    let mut origin = vec![format!("{} {}", program.name, program.version)];
    origin.extend(program.commit.iter().map(|commit| format!("commit {commit}")));
    origin.extend(program.started_at.clone());
    format!(
        "<header>\n<p class=\"origin\">{}</p>\n<h1>{}</h1>\n<p \
         class=\"lede\">{}</p>\n{}</header>\n",
        Text(origin.join(" · ").trim()),
        Text(&report.title),
        Text(&summary(report)),
        cut_line(report),
    )
}

/// The big figures, and bits per byte beside simpler models.
pub(super) fn figures(report: &RunReport) -> String {
    let result = &report.result;
    let figures = [
        (fixed(result.bpb, 3), "bits per byte", "on text it has not seen", "blt"),
        (fixed(result.entropy_bpb, 3), "bits per byte", "of the entropy model alone", "entropy"),
        (fixed(result.bytes_per_patch, 2), "bytes per patch", "on held-out text", ""),
        (duration(result.seconds), "in all", "from text to this page", ""),
    ];
    let mut html = "<dl class=\"figures\">\n".to_owned();
    for (value, unit, note, color) in figures {
        html.push_str(&format!(
            "<div><dt>{}<small>{}</small></dt><dd class=\"{color}\">{}</dd></div>\n",
            Text(unit),
            Text(note),
            in_units(&value),
        ));
    }
    html.push_str("</dl>\n");
    html.push_str(&comparison(report));
    html
}

/// Digits large, letters small: `2 min 48 s`.
fn in_units(value: &str) -> String {
    let word = |word: &str| match word.chars().next() {
        Some(first) if first.is_ascii_digit() => format!("{}", Text(word)),
        _ => format!("<small>{}</small>", Text(word)),
    };
    value.split(' ').map(word).collect::<Vec<_>>().join("&#8239;")
}

fn comparison(report: &RunReport) -> String {
    let bar = |name: &str, note: &str, bpb: f64, color| Bar {
        name: name.into(),
        note: note.into(),
        value: fixed(bpb, 3),
        value_note: String::new(),
        share: bpb,
        color,
    };
    let result = &report.result;
    let of = |count: u64| format!("{} parameters", short_count(count as f64));
    let entropy_model = &report.entropy_model;
    let mut bars = vec![
        bar(&report.blt.name, &of(report.blt.parameter_count()), result.bpb, "blt"),
        bar(
            &entropy_model.name,
            &of(entropy_model.parameter_count()),
            result.entropy_bpb,
            "entropy",
        ),
    ];
    let plain = report.baselines.iter();
    bars.extend(plain.map(|baseline| bar(&baseline.name, &baseline.note, baseline.bpb, "plain")));
    bars.retain(|bar| bar.share.is_finite());
    bars.sort_by(|a, b| a.share.total_cmp(&b.share));
    let longest = bars.last().map_or(1.0, |bar| bar.share);
    bars.iter_mut().for_each(|bar| bar.share /= longest);
    bar_table("Held-out bits per byte, lower is better", ["model", "bits per byte"], &bars)
}

fn summary(report: &RunReport) -> String {
    let (entropy, blt) = (report.entropy_model.parameter_count(), report.blt.parameter_count());
    let device = &report.device;
    format!(
        "On {} ({}), from {} of {}: an entropy model of {} parameters learnt where the text is \
         hard \
         to predict, cut it there into patches of {} bytes, and a model of {} parameters learnt to \
         write it, with no tokenizer.",
        device.name,
        device.backend,
        byte_count(report.corpus.train_bytes as f64),
        report.corpus.name,
        short_count(entropy as f64),
        fixed(report.result.bytes_per_patch, 2),
        short_count(blt as f64),
    )
}

/// The first patches of the strip in one line, as an ornament; the strip itself follows below.
fn cut_line(report: &RunReport) -> String {
    let Some(strip) = &report.strip else { return String::new() };
    let shown = &strip.ids[..strip.ids.len().min(HEAD_TOKENS)];
    let line = flowing_patches(shown, &strip.patch_lengths, false);
    format!("<p class=\"cutline\" aria-hidden=\"true\">{line}</p>\n")
}
