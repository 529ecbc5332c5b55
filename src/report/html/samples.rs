//! Text the model wrote, in its patches.

use std::fmt::Write;

use super::markup::Text;
use crate::blt::patching::bytes_per_patch;
use crate::report::data::{RunReport, Sample};
use crate::report::figures::{byte_count, fixed};
use crate::report::glyph::{self, Glyph, Kind};

/// The samples, or nothing where there are none.
pub(super) fn samples(report: &RunReport) -> String {
    report.samples.iter().map(sample).collect()
}

/// One of them.
pub(super) fn sample(sample: &Sample) -> String {
    let mut facts = vec![sample.settings.clone()];
    let patch_count = glyph::patches(&sample.ids, &sample.patch_lengths).len();
    if patch_count > 0 {
        // Every id behind a prompt is predicted.
        let mean = bytes_per_patch(sample.ids.len() as u64, patch_count as u64);
        facts.push(format!("{patch_count} patches of {} bytes", fixed(mean, 2)));
    }
    facts.extend(sample.bytes_per_second.map(|speed| format!("{}/s", byte_count(speed))));
    facts.retain(|fact| !fact.is_empty());
    format!(
        "<figure class=\"sample\"><pre><span class=\"prompt\">{}</span>{}</pre>\
         <figcaption>{}</figcaption></figure>\n",
        flow(&glyph::glyphs(&sample.prompt_ids), true),
        flowing_patches(&sample.ids, &sample.patch_lengths, true),
        Text(&facts.join(" · ")),
    )
}

/// Patches one after another in running text; newlines break the line where `breaks` says so.
pub(super) fn flowing_patches(ids: &[u32], patch_lengths: &[u32], breaks: bool) -> String {
    let mut html = String::new();
    for (index, patch) in glyph::patches(ids, patch_lengths).iter().enumerate() {
        let _ = write!(html, "<span class=\"p p{}\">{}</span>", index % 4, flow(patch, breaks));
    }
    html
}

fn flow(glyphs: &[Glyph], breaks: bool) -> String {
    let mut html = String::new();
    for glyph in glyphs {
        match glyph.kind {
            Kind::Char(shown) | Kind::Mark { mark: shown, alone: false } => {
                let _ = write!(html, "{}", Text(shown.encode_utf8(&mut [0; 4])));
            }
            Kind::Space => html.push(' '),
            Kind::Newline => {
                html.push_str("<span class=\"w\">↵</span>");
                html.push_str(if breaks { "\n" } else { "" });
            }
            Kind::Tab => html.push_str("<span class=\"w\">⇥</span>"),
            _ => html.push_str(&boxed(*glyph)),
        }
    }
    html
}

/// What has no shape of its own, as a small code in a box; also for one cell of the strip.
pub(super) fn boxed(glyph: Glyph) -> String {
    let code = match glyph.kind {
        Kind::Byte(byte) => format!("{byte:02X}"),
        Kind::Invisible(hidden) => format!("{:02X}", u32::from(hidden)),
        Kind::Mark { mark, .. } => return format!("◌{mark}"),
        Kind::Special(id) => glyph::special_name(id),
        _ => glyph.plain(),
    };
    format!("<span class=\"code\">{}</span>", Text(&code))
}
