//! The page as a whole: well formed, safe, complete in itself, and saying what the run said.

use super::render;
use crate::report::data::{Curve, RunReport, Sample};
use crate::report::sample_run::{empty_run, sample_run};
use crate::text::encode;

const VOID: [&str; 4] = ["meta", "link", "br", "!doctype"];
/// A page of a normal run, at most.
const SIZE_LIMIT_BYTES: usize = 400_000;

/// Walks every tag: names match, attributes are quoted, nothing is left open, ids are unique.
pub(super) fn check_well_formed(html: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').expect("a tag that is opened is ended") + start;
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<'), "a bare < before: {tag:?}");
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing tags match");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        check_attributes(attributes, &mut ids);
        // What stands in these two is no markup.
        if name == "style" || name == "script" {
            let close = format!("</{name}>");
            let at = rest.find(&close).expect("style and script are closed");
            rest = &rest[at + close.len()..];
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

fn check_attributes(attributes: &str, ids: &mut std::collections::HashSet<String>) {
    let mut rest = attributes.trim_end_matches('/').trim();
    while let Some((name, value)) = rest.split_once("=\"") {
        assert!(name.chars().all(|c| c.is_ascii_alphabetic() || c == '-'), "{name:?}");
        let (value, after) = value.split_once('"').expect("a value that is opened is closed");
        if name == "id" {
            assert!(ids.insert(value.to_owned()), "id {value} twice");
        }
        rest = after.trim();
    }
    assert!(rest.is_empty() || rest == "html", "an attribute without a value: {rest:?}");
}

#[test]
fn every_tag_is_closed() {
    check_well_formed(&render(&sample_run()));
    check_well_formed(&render(&empty_run()));
}

#[test]
#[should_panic(expected = "closing tags match")]
fn the_checker_finds_a_wrong_close() {
    check_well_formed("<p><b>x</p></b>");
}

#[test]
#[should_panic(expected = "left open")]
fn the_checker_finds_a_missing_close() {
    check_well_formed("<p><br><b>x</b>");
}

#[test]
fn text_cannot_become_markup() {
    let evil = "</script><script>alert(1)</script><img src=x onerror='a'>\" onload=\"x";
    let mut report = sample_run();
    for text in [
        &mut report.title,
        &mut report.device.name,
        &mut report.device.backend,
        &mut report.corpus.name,
        &mut report.program.command,
        &mut report.program.version,
        &mut report.blt.name,
        &mut report.entropy_model.parts[0].shape,
        &mut report.baselines[0].name,
        &mut report.phases[0].detail,
        &mut report.replay.command,
        &mut report.replay.file_name,
        &mut report.samples[0].settings,
        &mut report.strip.as_mut().unwrap().source,
        &mut report.blt.facts[0].value,
    ] {
        *text = evil.into();
    }
    report.samples[0].ids = encode(evil.as_bytes(), false, false);
    report.samples[0].prompt_ids = encode(evil.as_bytes(), false, false);
    let html = render(&report);
    check_well_formed(&html);
    assert_eq!(html.matches("<script").count(), 1, "only the page's own script");
    assert_eq!(html.matches("</script").count(), 1);
    assert!(!html.contains("<img") && !html.contains("\" onload=\""));
    let normal = render(&sample_run());
    assert_eq!(normal.matches("<script").count(), 1);
}

#[test]
fn any_bytes_in_any_patches_make_a_page() {
    let every_byte: Vec<u8> = (0..=255).rev().collect();
    let ids: Vec<u32> = (0..5).chain(encode(&every_byte, true, true)).chain([999]).collect();
    for length in [1, 2, 3, 500] {
        let mut report = sample_run();
        let strip = report.strip.as_mut().unwrap();
        strip.entropies_nats = vec![f32::NAN; ids.len()];
        strip.entropies_nats[7] = f32::INFINITY;
        strip.ids = ids.clone();
        strip.patch_lengths = vec![length; ids.len()];
        report.samples =
            vec![Sample { ids: ids.clone(), patch_lengths: vec![length; 3], ..Sample::default() }];
        let html = render(&report);
        check_well_formed(&html);
        let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!html.contains(is_control), "control characters stay out of the page");
    }
}

#[test]
fn the_figures_are_there() {
    let html = render(&sample_run());
    for wanted in [
        "2.418",
        "2.613",
        "4.52",
        "2&#8239;<small>min</small>&#8239;48",
        "3.287",
        "2.924",
        "1.412 nats",
        "1,003,854 bytes",
        "111,540",
        "4f1c9ae",
        "AMD EPYC 7763",
        "700 steps of 16",
        "4,487,424 parameters",
        "1.57 M",
        "42.9 s<small>25%</small>",
        "temperature 0.8",
        "--replay",
        "latent transformer",
        "20260301",
    ] {
        assert!(html.contains(wanted), "{wanted} is missing");
    }
}

#[test]
fn nothing_comes_from_outside() {
    let html = render(&sample_run()).replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "src=", "url(", "@import", "//cdn"] {
        assert!(!html.contains(word), "{word} reaches out");
    }
    let addresses: Vec<_> = html.split("href=\"").skip(1).collect();
    assert_eq!(addresses.len(), 2, "the icon and the record");
    assert!(addresses.iter().all(|address| address.starts_with("data:")));
}

#[test]
fn a_page_is_small_however_long_the_run() {
    let size = render(&sample_run()).len();
    assert!((40_000..SIZE_LIMIT_BYTES).contains(&size), "{size} bytes");
    let mut report = sample_run();
    let points = report.blt_curve.points.iter();
    let mut many: Vec<_> = points.cycle().take(100_000).cloned().collect();
    many.iter_mut().for_each(|point| point.held_out_bpb = None);
    report.blt_curve = Curve { points: many };
    let size = render(&report).len();
    assert!(size < SIZE_LIMIT_BYTES, "{size} bytes");
}

#[test]
fn every_picture_has_a_name_and_a_table() {
    let html = render(&sample_run());
    let pictures = html.matches("<svg").count();
    assert_eq!(pictures, 6);
    assert_eq!(html.matches("<title id=").count(), pictures);
    assert_eq!(html.matches("<desc id=").count(), pictures);
    for table in ["The curves as a table", "The strip as a table", "Patch lengths as a table"] {
        assert!(html.contains(table));
    }
}

#[test]
fn sections_without_matter_are_left_out() {
    let html = render(&empty_run());
    for section in ["curves", "strip", "patching", "samples", "timing"] {
        assert!(!html.contains(&format!("<section id=\"{section}\"")), "{section}");
    }
    assert!(!html.contains("NaN") && !html.contains("inf"));
    let mut report = sample_run();
    report.result.bpb = f64::NAN;
    report.blt_curve.points[3].train_bpb = f64::INFINITY;
    report.phases[0].seconds = 0.0;
    let html = render(&report);
    check_well_formed(&html);
    assert!(html.contains("n/a") && !html.contains("NaN%"));
}

#[test]
fn a_single_step_is_a_chart() {
    let mut report: RunReport = sample_run();
    report.entropy_curve.points.truncate(1);
    report.blt_curve.points.clear();
    check_well_formed(&render(&report));
}

/// Relative luminance of `#rrggbb` (WCAG 2.2).
fn luminance(color: &str) -> f64 {
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

#[test]
fn words_stand_out_from_what_is_behind_them() {
    let style = include_str!("page.css");
    let themes: Vec<_> = style.split(":root {").skip(1).take(2).collect();
    assert_eq!(themes.len(), 2, "light and dark");
    for theme in themes {
        let color = |name: &str| {
            let at = theme.find(&format!("--{name}: #")).unwrap() + name.len() + 4;
            luminance(&theme[at..at + 7])
        };
        let pairs = [
            ("ink", "paper"),
            ("ink", "sheet"),
            ("muted", "paper"),
            ("muted", "sheet"),
            ("blt", "paper"),
            ("entropy", "paper"),
            ("ink", "p0"),
            ("ink", "p1"),
            ("ink", "p2"),
            ("ink", "p3"),
        ];
        for (front, back) in pairs {
            let (a, b) = (color(front), color(back));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= 4.5, "{front} on {back}: {contrast:.2}");
        }
    }
}
