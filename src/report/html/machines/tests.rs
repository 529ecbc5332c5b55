//! The page of a benchmark: well formed, safe, complete in itself, with every machine on it.

use super::render;
use crate::bench::BenchRow;
use crate::report::html::tests::check_well_formed;

fn row(device: &str, kind: &str, kernel: &str, shape: &str, ms: f64) -> BenchRow {
    let row = BenchRow {
        kind: kind.into(),
        device: device.into(),
        backend: "vulkan".into(),
        driver: "D 1".into(),
        commit: "abc".into(),
        kernel: kernel.into(),
        shape: shape.into(),
        precision: "f32".into(),
        ..BenchRow::default()
    };
    row.timed(vec![ms, ms * 1.1, ms * 0.9], 1e3, "GFLOP/s")
}

/// Two machines, one twice as fast, with what a benchmark has.
fn rows() -> Vec<BenchRow> {
    let mut rows = Vec::new();
    for (device, factor) in [("Card A", 1.0), ("Card B", 2.0)] {
        rows.push(row(device, "peak", "fma_f32", "x", factor));
        let copy = row(device, "peak", "stream_copy", "256 MiB", factor);
        rows.push(BenchRow { unit: "GB/s".into(), ..copy });
        rows.push(row(device, "peak", "matrix_f16", "", 1.0).skipped("no matrix unit"));
        for (kernel, flops) in [("matmul", 4_000_000_000), ("add", 1_000_000)] {
            let mut row = row(device, "kernel", kernel, "s: 16 x 16, 1 a step", factor);
            (row.flops, row.bytes) = (Some(flops), Some(3_000_000));
            row.percent_of_peak = Some(40.0);
            rows.push(row);
        }
        rows.push(row(device, "train", "step", "s", 300.0 * factor));
    }
    rows
}

#[test]
fn the_page_is_well_formed_and_complete_in_itself() {
    for rows in [rows(), rows()[..1].to_vec(), Vec::new()] {
        let html = render(&rows);
        check_well_formed(&html);
        let html = html.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "src=", "url(", "@import"] {
            assert!(!html.contains(word), "{word} reaches out");
        }
        assert!(!html.contains("NaN") && !html.contains("inf%"));
    }
}

#[test]
fn every_machine_has_its_bars_its_dots_and_its_reasons() {
    let html = render(&rows());
    assert!(html.contains("<h1>Machines side by side</h1>"));
    // Two peaks, two kernels and a step.
    for color in ["m0", "m1"] {
        assert_eq!(html.matches(&format!("<span class=\"fill {color}\"")).count(), 5);
        assert_eq!(html.matches(&format!("<path class=\"dots {color}\"")).count(), 1);
        assert_eq!(html.matches(&format!("<path class=\"line {color}\"")).count(), 1);
    }
    assert!(html.contains("style=\"width:50.00%\"") && html.contains("style=\"width:100.00%\""));
    assert!(html.contains("Training step") && html.contains("40 % of peak"));
    assert_eq!(html.matches("peak matrix_f16 f32: skipped, no matrix unit").count(), 2);
    assert!(html.contains("The roofline as a table") && html.contains("Every row as a table"));
}

#[test]
fn a_peer_in_bf16_stands_beside_mixed_precision() {
    let step = |device: &str, precision: &str, variant: &str, ms: f64| {
        let row = row(device, "train", "step", "s", ms);
        BenchRow { precision: precision.into(), variant: variant.into(), ..row }
    };
    let rows = [
        step("Card A", "mixed", "", 10.0),
        step("Card A", "f32", "", 40.0),
        step("Card A, PyTorch", "bf16", "eager", 20.0),
        step("Card A, PyTorch", "bf16 compiled", "compiled", 15.0),
        step("Card A, PyTorch", "f32 compiled", "compiled", 50.0),
    ];
    let html = render(&rows);
    let groups: Vec<_> = html.split("<div class=\"group\">").skip(1).collect();
    assert_eq!(groups.len(), 2, "mixed and f32");
    assert!(groups[0].contains("<small>s, mixed</small>"), "{}", groups[0]);
    assert_eq!(groups[0].matches("<span class=\"fill").count(), 3);
    for note in ["eager, bf16<", "compiled, bf16 compiled<"] {
        assert!(groups[0].contains(note), "{}", groups[0]);
    }
    assert!(groups[1].contains("s, f32") && groups[1].contains("compiled, f32 compiled<"));
}

#[test]
fn one_machine_gives_the_page_its_name() {
    let html = render(&rows()[..6]);
    assert!(html.contains("<h1>Card A</h1>") && !html.contains("fill m1"));
}

#[test]
fn names_cannot_become_markup() {
    let evil = "</script><img src=x onerror='a'>\" onload=\"x";
    let mut rows = rows();
    for row in &mut rows {
        for text in [
            &mut row.device,
            &mut row.backend,
            &mut row.driver,
            &mut row.commit,
            &mut row.variant,
            &mut row.shape,
            &mut row.precision,
            &mut row.reason,
        ] {
            text.push_str(evil);
        }
        row.features = vec![evil.into()];
    }
    let html = render(&rows);
    check_well_formed(&html);
    assert!(!html.contains("<img") && !html.contains("\" onload=\""));
    assert_eq!(html.matches("</script").count(), 1);
}
