//! `blt train`: a run of a few steps, resumed and interrupted.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::init::TINY;
use crate::program::{Run, blt_cpu, command, press_ctrl_c, text_of};

/// A text and a configuration that trains on it.
fn prepare(place: &Path) -> String {
    let text = place.join("text.txt");
    std::fs::write(&text, "The quick brown fox jumps over the lazy dog. ".repeat(60)).unwrap();
    let sources = format!("[data]\nsources = [{:?}]\nbatch_size = 2", text_of(&text));
    let config = TINY.replace("[data]", &format!("steps = 4\n{sources}"));
    let rule = "\n[data.patcher_args]\npatching_mode = \"space\"\n";
    let path = place.join("run.toml");
    std::fs::write(&path, config + rule).unwrap();
    text_of(&path).to_owned()
}

#[test]
fn a_run_ends_in_a_model_and_can_be_resumed() {
    let place = tempfile::tempdir().unwrap();
    let config = prepare(place.path());
    let out = place.path().join("run");
    let train =
        |flags: &[&str]| blt_cpu(&[&["train", &config, "--out", text_of(&out)], flags].concat());
    let model = |run: Run| String::from_utf8(run.ok().stdout).unwrap().trim().to_owned();
    let first = model(train(&["--set", "max_steps=2"]));
    blt_cpu(&["generate", "--model", &first, "--prompt", "The ", "-n", "3"]).ok();
    // A run that is there is gone on with, never overwritten.
    train(&[]).fails(1, &["--resume", "--out"]);
    let last = model(train(&["--resume"]));
    assert_ne!(first, last);
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert!(!metrics.is_empty());
    let missing = place.path().join("other");
    let arguments = ["train", &config, "--out", text_of(&missing), "--resume"];
    blt_cpu(&arguments).fails(1, &["no checkpoint"]);
}

/// By then a step has been done and written down.
#[cfg(unix)]
#[test]
fn ctrl_c_saves_a_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let config = prepare(place.path());
    let out = place.path().join("run");
    let endless = ["--set", "steps=1000000", "--set", "logging.freq=1", "--device", "cpu"];
    let start = ["train", config.as_str(), "--out", text_of(&out)];
    let mut command = command(&[&start[..], &endless].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = out.join("metrics.jsonl");
    let begin = Instant::now();
    while std::fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "no step in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("--resume goes on from"), "{stderr}");
    assert!(out.join("checkpoints/latest").exists());
}
