//! The entropy strip: every byte of an excerpt under a bar of how hard it was to predict.
//!
//! A cell a glyph, a bar a byte, so that a character of three bytes is three bars wide. Each cell
//! draws its own piece of the threshold, and cells that touch make it one line, however the strip
//! wraps.

use std::fmt::Write;

use super::markup::{Text, folded_table};
use super::samples::boxed;
use crate::report::data::{EntropyStrip, RunReport};
use crate::report::figures::fixed;
use crate::report::glyph::{self, Glyph, Kind, Patch};

/// The strip, or nothing where the run has none.
pub(super) fn strip(report: &RunReport) -> String {
    let Some(strip) = report.strip.as_ref().filter(|strip| !strip.ids.is_empty()) else {
        return String::new();
    };
    let patches = glyph::patches(&strip.ids, &strip.patch_lengths);
    let ceiling = ceiling(strip);
    let threshold = strip.threshold_nats.filter(|nats| nats.is_finite());
    let level = threshold.map_or_else(String::new, |nats| {
        format!(" style=\"--t:{:.3}\"", (nats / ceiling).clamp(0.0, 1.0))
    });
    let mean = strip.ids.len() as f64 / patches.len() as f64;
    let mut html = format!(
        "<figure><div class=\"strip{}\" role=\"img\" aria-label=\"{} bytes in {} patches, {} \
         bytes a \
         patch, with the entropy of each byte; the table below has the figures\"{level}>\n",
        if threshold.is_some() { " has-level" } else { "" },
        strip.ids.len(),
        patches.len(),
        fixed(mean, 2),
    );
    for (index, patch) in patches.iter().enumerate() {
        push_patch(&mut html, strip, patch, index, ceiling);
    }
    html.push_str("</div>\n<p class=\"readout\" aria-hidden=\"true\"></p>\n");
    let _ = writeln!(html, "<figcaption>{}</figcaption></figure>", caption(strip, ceiling));
    html.push_str(&table(strip, &patches));
    html
}

fn caption(strip: &EntropyStrip, ceiling: f32) -> String {
    let mut words = String::new();
    if !strip.source.is_empty() {
        let _ = write!(words, "{}. ", Text(&strip.source));
    }
    let _ = write!(
        words,
        "A bar is the entropy of the prediction for the byte under it, made from the bytes before \
         it; a full bar is {} nats.",
        fixed(ceiling.into(), 1)
    );
    if let Some(threshold) = strip.threshold_nats {
        let _ = write!(
            words,
            " The line across is the threshold, {} nats: a byte above it begins a patch.",
            fixed(threshold.into(), 3)
        );
    }
    words + " · is a space, ↵ a new line; a character of several bytes has a bar for each."
}

/// Nats of a full bar: the highest of the strip, and enough to see the threshold under it.
fn ceiling(strip: &EntropyStrip) -> f32 {
    let finite = strip.entropies_nats.iter().copied().filter(|nats| nats.is_finite());
    let highest = finite.fold(0.0, f32::max);
    let threshold = strip.threshold_nats.filter(|nats| nats.is_finite()).unwrap_or(0.0);
    let wanted = highest.max(threshold * 1.25);
    if wanted > 0.0 { (wanted * 10.0).ceil() / 10.0 } else { 1.0 }
}

fn entropy_at(strip: &EntropyStrip, token_index: usize) -> f32 {
    strip.entropies_nats.get(token_index).copied().unwrap_or(f32::NAN)
}

fn push_patch(
    html: &mut String,
    strip: &EntropyStrip,
    patch: &Patch,
    patch_index: usize,
    ceiling: f32,
) {
    let byte_count: usize = patch.iter().map(|glyph| glyph.token_count).sum();
    let plural = if byte_count == 1 { "" } else { "s" };
    let _ = write!(
        html,
        "<span class=\"patch p{}\" data-p=\"patch {}, {byte_count} byte{plural}\">",
        patch_index % 2,
        patch_index + 1,
    );
    for glyph in patch {
        push_cell(html, strip, *glyph, ceiling);
    }
    html.push_str("</span>");
    // A line of the text ends a line of the strip; of several newlines only the last one does.
    if patch.last().is_some_and(|glyph| glyph.kind == Kind::Newline)
        && strip.ids.get(after(patch))
            != patch.last().and_then(|last| strip.ids.get(last.token_index))
    {
        html.push_str("<br>\n");
    }
}

fn after(patch: &Patch) -> usize {
    patch.last().map_or(0, |glyph| glyph.token_index + glyph.token_count)
}

fn push_cell(html: &mut String, strip: &EntropyStrip, glyph: Glyph, ceiling: f32) {
    let wide = match glyph.token_count {
        1 => String::new(),
        count => format!(" style=\"--n:{count}\""),
    };
    let tokens = glyph.token_index..glyph.token_index + glyph.token_count;
    let nats: Vec<_> = tokens.map(|index| entropy_at(strip, index)).collect();
    let told: Vec<_> = nats.iter().map(|&nats| fixed(nats.into(), 2)).collect();
    let _ = write!(
        html,
        "<i{wide} data-t=\"{} · {} nats\">",
        Text(&name(strip, glyph)),
        told.join(", ")
    );
    for nats in nats {
        let is_over = strip.threshold_nats.is_some_and(|threshold| nats > threshold);
        let height = if nats.is_finite() { (nats / ceiling).clamp(0.0, 1.0) } else { 0.0 };
        let class = if is_over { " class=\"over\"" } else { "" };
        let _ = write!(html, "<b{class} style=\"--h:{height:.2}\"></b>");
    }
    html.push_str(&face(glyph));
    html.push_str("</i>");
}

/// What stands under the bars.
fn face(glyph: Glyph) -> String {
    let faint = |sign: &str| format!("<span class=\"w\">{sign}</span>");
    match glyph.kind {
        Kind::Char(shown) => Text(shown.encode_utf8(&mut [0; 4])).to_string(),
        Kind::Space => faint("·"),
        Kind::Newline => faint("↵"),
        Kind::Tab => faint("⇥"),
        _ => boxed(glyph),
    }
}

/// A glyph in words, with its bytes.
fn name(strip: &EntropyStrip, glyph: Glyph) -> String {
    let shown = match glyph.kind {
        Kind::Special(id) => return glyph::special_name(id),
        Kind::Char(shown) => format!("‘{shown}’"),
        Kind::Mark { mark, .. } => format!("‘◌{mark}’"),
        Kind::Space => "space".into(),
        Kind::Newline => "new line".into(),
        Kind::Tab => "tab".into(),
        Kind::Invisible(hidden) => format!("U+{:04X}", u32::from(hidden)),
        Kind::Byte(_) => "byte".into(),
    };
    let tokens = glyph.token_index..glyph.token_index + glyph.token_count;
    let bytes = crate::text::decode(&strip.ids[tokens]);
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{shown} {}", hex.join(" "))
}

fn table(strip: &EntropyStrip, patches: &[Patch]) -> String {
    let row = |(index, patch): (usize, &Patch)| {
        let first = patch.first().map_or(0, |glyph| glyph.token_index);
        let tokens = first..after(patch);
        let rest = tokens.clone().skip(1).map(|index| entropy_at(strip, index));
        let highest = rest.fold(f32::NEG_INFINITY, f32::max);
        vec![
            (index + 1).to_string(),
            patch.iter().map(|glyph| glyph.plain()).collect::<String>().replace(' ', "␣"),
            tokens.len().to_string(),
            fixed(entropy_at(strip, first).into(), 3),
            if highest.is_finite() { fixed(highest.into(), 3) } else { String::new() },
        ]
    };
    let rows: Vec<_> = patches.iter().enumerate().map(row).collect();
    let columns = ["patch", "text", "bytes", "nats, first byte", "nats, highest after it"];
    folded_table("The strip as a table", &columns, &rows)
}
