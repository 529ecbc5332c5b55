//! The page about runs: well formed, safe, complete in itself, with every run on it.

use super::render;
use crate::report::data::{Fact, Sample};
use crate::report::html::tests::check_well_formed;
use crate::report::runs::TrainingRun;
use crate::text::encode;
use crate::train::metrics::{Metrics, iso_utc};

/// A run of so many lines that learns at some rate, evaluated now and then.
fn run(name: &str, count: u64, rate: f64) -> TrainingRun {
    let line = |index: u64| {
        let bpb = 2.0 + 6.0 * (-rate * index as f64).exp();
        Metrics {
            global_step: 10 * index,
            update_seconds: 0.5,
            data_seconds: Some(0.005),
            bytes_per_second: 1e4,
            learning_rate: 1e-3,
            grad_norm: 1.0 + (index % 7) as f32,
            bits_per_byte_across: bpb as f32,
            target_count_across: 50_000,
            bytes_per_patch: Some(4.5),
            patch_lengths: Some(vec![0, 10, 20, 30, 5]),
            percent_of_peak: Some(31.5),
            skipped_count: Some(2),
            memory_gib: Some(1.5),
            eval_bits_per_byte: index.is_multiple_of(20).then_some(bpb + 0.1),
            created_at: iso_utc(1_772_373_900 + 5 * index),
            ..Metrics::default()
        }
    };
    let sample = Sample {
        prompt_ids: encode(b"One ", true, false),
        ids: encode("<b>día</b> & \u{1b}".as_bytes(), false, true),
        patch_lengths: vec![4, 6, 6],
        settings: "temperature 0.8".into(),
        bytes_per_second: None,
    };
    TrainingRun {
        name: name.into(),
        facts: vec![Fact::new("model", "1.2 M parameters"), Fact::new("seed", name)],
        lines: (1..=count).map(line).collect(),
        samples: vec![sample],
    }
}

#[test]
fn the_page_is_well_formed_and_complete_in_itself() {
    let mut gaps = run("gaps", 30, 0.1);
    for line in gaps.lines.iter_mut().step_by(3) {
        (line.bits_per_byte_across, line.grad_norm) = (f32::NAN, f32::INFINITY);
        line.patch_lengths = None;
    }
    let none = TrainingRun { name: "none".into(), ..TrainingRun::default() };
    let many: Vec<_> = (0..8).map(|index| run(&format!("run {index}"), 40, 0.02)).collect();
    let two = vec![run("<a>", 100, 0.05), run("\"b\" & c", 60, 0.1)];
    for runs in [vec![run("one", 1, 0.1)], two, many, vec![gaps, none.clone()], vec![none], vec![]]
    {
        let html = render(&runs);
        check_well_formed(&html);
        let html = html.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "src=", "url(", "@import"] {
            assert!(!html.contains(word), "{word} reaches out");
        }
        assert!(!html.contains("NaN") && !html.contains("inf%"));
    }
}

#[test]
fn runs_lie_over_each_other_on_the_bytes_they_were_trained_on() {
    let html = render(&[run("slow", 100, 0.02), run("fast", 60, 0.1)]);
    assert!(html.contains("<h1>2 runs side by side</h1>"));
    // Sums of the lines, not what one of them says: 5 MB of 100 lines.
    assert!(html.contains("slow: 1,000 steps, 5,000,000 bytes"), "the chart describes itself");
    // The best of the second run, at its last evaluation: 2.1 + 6 e^-6.
    assert!(html.contains(">2.115<small>"), "the best score leads");
    assert!(html.contains("Of the best run, fast."));
    for class in ["train m0", "train m1", "dots m0", "dots m1"] {
        assert!(html.contains(&format!("<path class=\"{class}\"")), "{class}");
    }
    // What is equal in both and what is not.
    assert!(html.contains("<tr class=\"same\"><th scope=\"row\">model</th>"));
    assert!(html.contains("<tr><th scope=\"row\">seed</th><td>slow</td><td>fast</td></tr>"));
    assert!(html.contains("&lt;b&gt;d"), "what a model writes is no markup");
    // 10, 20, 30 and 5 patches of a length: 2.46 bytes on average.
    assert!(html.contains("slow 2.46"));
}

/// `BLT_WRITE_PAGE=FILE` leaves a page to look at.
#[test]
fn a_page_to_look_at() {
    let html = render(&[run("small", 400, 0.02), run("large", 300, 0.03), run("none", 10, 0.01)]);
    if let Some(path) = std::env::var_os("BLT_WRITE_PAGE") {
        std::fs::write(path, &html).unwrap();
    }
    assert!(html.len() < 400_000, "{} bytes", html.len());
}
