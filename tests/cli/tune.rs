//! `blt tune` and `--tuned`: what is refused, and what is said about files that are not used.

use std::fs;

use crate::program::{blt_cpu, fixture, text_of};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tiny.toml");

#[test]
fn the_cpu_engine_is_refused_and_a_place_that_is_none_before_it_measures() {
    let place = tempfile::tempdir().unwrap();
    let out = text_of(&place.path().join("tuned.json")).to_owned();
    blt_cpu(&["tune", "--config", TINY, "--out", &out]).fails(1, &["nothing to tune", "--device"]);
    assert!(!place.path().join("tuned.json").exists());
    let nowhere = text_of(&place.path().join("none/tuned.json")).to_owned();
    blt_cpu(&["tune", "--config", TINY, "--out", &nowhere]).fails(1, &["no such directory"]);
    blt_cpu(&["tune", "--out", &out]).fails(2, &["--config"]);
}

#[test]
fn a_damaged_file_is_not_used_with_a_word_and_one_that_is_not_there_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("tuned.json");
    let (model, path_text) = (fixture("k2_entropy"), text_of(&path).to_owned());
    let generate = |tuned: &[&str]| {
        let common = ["generate", "--model", text_of(&model), "--prompt", "a", "-n", "3"];
        blt_cpu(&[&common, tuned].concat())
    };
    let plain = generate(&[]).ok().stdout;
    fs::write(&path, "{\"schema\": 1, \"dev").unwrap();
    let warned = generate(&["--tuned", &path_text]).ok();
    assert!(warned.stderr.contains("tuned variants are not used"), "{}", warned.stderr);
    assert!(warned.stderr.contains("blt tune"), "{}", warned.stderr);
    assert_eq!(warned.stdout, plain);
    fs::remove_file(&path).unwrap();
    generate(&["--tuned", &path_text]).fails(1, &["tuned.json"]);
}
