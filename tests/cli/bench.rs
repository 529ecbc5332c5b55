//! `blt bench`: rows in a file, tables on stdout, comparison, pages, and what is refused.

use std::path::Path;

use serde_json::Value;

use crate::program::{Run, blt, blt_cpu, text_of};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tiny.toml");

/// A forward pass of the tiny shape into a file of rows.
fn measured(place: &Path) -> String {
    let file = text_of(&place.join("rows.jsonl")).to_owned();
    quick(&["model", "--json", &file]).ok();
    file
}

fn quick(arguments: &[&str]) -> Run {
    let common = ["bench", "--config", TINY, "--reps", "2", "--seconds", "0.2"];
    blt_cpu(&[&common, arguments].concat())
}

fn rows(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stdout(run: Run) -> String {
    String::from_utf8(run.ok().stdout).unwrap()
}

#[test]
fn rows_go_to_the_file_and_a_table_to_stdout() {
    let place = tempfile::tempdir().unwrap();
    let file = measured(place.path());
    let first = rows(&file);
    let step = first.iter().find(|row| row["kernel"] == "step").unwrap();
    assert_eq!((&step["schema"], &step["kind"]), (&1.into(), &"model".into()));
    assert_eq!((&step["shape"], &step["unit"]), (&"tiny".into(), &"bytes/s".into()));
    assert_eq!(step["samples_ms"].as_array().unwrap().len(), 2);
    // The file is appended to.
    let text = stdout(quick(&["model", "--json", &file]));
    assert_eq!(rows(&file).len(), 2 * first.len());
    assert!(text.starts_with("### model\n") && text.contains("| step |"), "{text}");
    // What never varies stands above the table.
    assert!(text.contains("; shape tiny; precision f32\n") && !text.contains("| tiny |"), "{text}");
}

#[test]
fn a_profile_is_printed_and_traced() {
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace.json");
    let text = stdout(quick(&["model", "--profile", "--trace", text_of(&trace)]));
    assert!(text.contains("place in the model") && text.contains("matmul.base"), "{text}");
    let trace: Value = serde_json::from_slice(&std::fs::read(trace).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 20);
}

#[test]
fn a_slowdown_is_found_in_a_comparison() {
    let place = tempfile::tempdir().unwrap();
    let file = measured(place.path());
    let base = place.path().join("base.jsonl");
    let mut faster = rows(&file);
    for row in &mut faster {
        if let Some(ms) = row["median_ms"].as_f64() {
            row["median_ms"] = (ms / 100.0).into();
            row["samples_ms"] = vec![ms / 100.0; 3].into();
        }
    }
    let lines: Vec<_> = faster.iter().map(Value::to_string).collect();
    std::fs::write(&base, lines.join("\n")).unwrap();
    let text = stdout(blt(&["bench", "--from", &file, "--compare", text_of(&base)]));
    assert!(text.contains("| model step tiny f32 |") && text.contains("**slower**"), "{text}");
    let text = stdout(blt(&["bench", "--from", &file, "--compare", &file]));
    assert!(text.contains("0 faster, 0 slower"), "{text}");
}

#[test]
fn files_become_a_page() {
    let place = tempfile::tempdir().unwrap();
    let file = measured(place.path());
    let page = place.path().join("page.html");
    blt(&["bench", "--from", &file, "--from", &file, "--html", text_of(&page)]).ok();
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("Forward pass") && html.contains("</html>"));
    let html = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!html.contains("http"), "the page loads nothing");
}

#[test]
fn a_base_that_is_cut_off_is_refused_before_anything_is_measured() {
    let place = tempfile::tempdir().unwrap();
    let file = measured(place.path());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..text.len() - 40]).unwrap();
    let refused = quick(&["--compare", &file]);
    refused.fails(1, &["rows.jsonl, line 4: expected a row", "may be cut off"]);
    assert!(!refused.stderr.contains("device:"), "{}", refused.stderr);
    blt(&["bench", "--from", &file]).fails(1, &["line 4"]);
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let unknown = blt_cpu(&["bench", "train", "--config", "xl"]);
    unknown.fails(1, &["xl is no shape: expected s, m, 1b"]);
    quick(&["--reps", "0"]).fails(2, &["--reps"]);
    quick(&["--soak", "NaN"]).fails(2, &["--soak"]);
    quick(&["speed"]).fails(2, &["possible values: peaks, gemm, kernels"]);
    blt(&["bench", "--from", "a", "--device", "cpu"]).fails(2, &["--device"]);
    let place = tempfile::tempdir().unwrap();
    let empty = place.path().join("empty.jsonl");
    std::fs::write(&empty, "\n").unwrap();
    blt(&["bench", "--from", text_of(&empty)]).fails(1, &["holds no rows"]);
}

#[test]
fn memory_of_every_setting_is_a_row_and_nothing_runs() {
    let place = tempfile::tempdir().unwrap();
    let file = text_of(&place.path().join("rows.jsonl")).to_owned();
    let all = ["memory", "--recompute", "none,cheap,blocks", "--json", &file];
    quick(&all).ok();
    let total = |shape: &str| {
        let rows = rows(&file);
        let row = rows.iter().find(|row| row["kernel"] == "total" && row["shape"] == shape);
        row.unwrap()["rate"].as_f64().unwrap()
    };
    let [none, cheap, blocks] =
        ["tiny", "tiny, recompute cheap", "tiny, recompute blocks"].map(total);
    assert!(none > cheap && cheap > blocks && blocks > 0.0, "{none} {cheap} {blocks}");
    quick(&["memory", "--recompute", "some"]).fails(2, &["--recompute", "cheap"]);
}
