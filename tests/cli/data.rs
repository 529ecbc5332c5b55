//! Texts that a run reads, and the commands that look at them.

use std::path::Path;

use crate::init::TINY;
use crate::program::{blt_cpu, text_of};

/// A configuration of a run over these sources, cut by spaces.
pub fn config_over(place: &Path, sources: &str) -> String {
    let path = place.join("run.toml");
    let data = format!("steps = 4\n[data]\nsources = [{sources:?}]\nbatch_size = 2");
    let rule = "\n[data.patcher_args]\npatching_mode = \"space\"\n";
    std::fs::write(&path, TINY.replace("[data]", &data) + rule).unwrap();
    text_of(&path).to_owned()
}

#[test]
fn a_run_names_what_is_odd_in_its_texts_and_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let texts = place.path().join("texts");
    std::fs::create_dir(&texts).unwrap();
    let good = "{\"text\": \"The quick brown fox jumps over the lazy dog.\"}\n".repeat(40);
    std::fs::write(texts.join("a.jsonl"), good + "{\"text\": \"cut of").unwrap();
    std::fs::write(texts.join("b.txt"), b"\x7fELF\0\0\0 and so on and on and on").unwrap();
    std::fs::write(texts.join("c.txt"), b"").unwrap();
    let config = config_over(place.path(), text_of(&texts.join("*")));
    let out = place.path().join("out");
    let train = ["train", config.as_str(), "--out", text_of(&out)];
    let run = blt_cpu(&train).ok();
    for part in ["a.jsonl:41: expected a JSON object", "b.txt: this is no text", "c.txt: this"] {
        assert!(run.stderr.contains(part), "{part:?} is not in: {}", run.stderr);
    }
    let other = place.path().join("strict");
    let strict = ["train", config.as_str(), "--out", text_of(&other), "--set", "data.strict=true"];
    blt_cpu(&strict).fails(1, &["a.jsonl:41: expected a JSON object"]);
}
