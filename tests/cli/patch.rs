//! `blt patch`.

use std::path::Path;

use serde_json::Value;

use crate::program::{Tensors, assert_close, blt, blt_cpu, fixture, joined, numbers, text_of};

#[test]
fn patch_gives_the_golden_vectors_of_ids_and_text() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/patches.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mixed = "Hello, world! 12+3=15\n\n  naïve café — 日本語 🎉 foo_bar";
    let texts = [("mixed", mixed), ("twospaces", "a  b"), ("digits", "x1y2"), ("empty", "")];
    for (name, text) in texts {
        let ids = numbers(&golden[format!("tokens_{name}")][0]);
        for (key, flags) in [("incTrue", &[][..]), ("incFalse", &["--no-virtual"])] {
            let expected = numbers(&golden[format!("space_{name}_{key}")][0]);
            let list = joined(&ids);
            for input in [["--ids", list.as_str()], ["--text", text]] {
                let start = ["patch", "--mode", "space", "--json"];
                let found = blt(&[&start, &input[..], flags].concat()).json();
                assert_eq!(numbers(&found["ids"]), ids, "{name}");
                assert_eq!(numbers(&found["patch_lengths"]), expected, "{name} {key}");
                assert_eq!(found["entropies"], Value::Array(Vec::new()));
            }
        }
    }
    let ids = joined(&numbers(&golden["tokens_bpe"]));
    for (key, flags) in [("bpe_incTrue", &[][..]), ("bpe_incFalse", &["--no-virtual"])] {
        let start = ["patch", "--mode", "bpe", "--json", "--ids", &ids];
        let found = blt(&[&start, flags].concat()).json();
        assert_eq!(numbers(&found["patch_lengths"]), numbers(&golden[key][0]));
    }
}

#[test]
fn patch_compares_given_entropies_with_thresholds() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("entropies.json");
    let entropies = "[3.2,2.1,1.0,1.4,1.3,0.2,1.5,1.7,1.6,0.1,0.9,2.5,0.3,0.3,1.33544,1.33545,\
                     0.0,3.0,2.9,3.1,0.4,0.5,1.9,0.6]";
    std::fs::write(&file, entropies).unwrap();
    let ids = joined(&[5; 24]);
    let check = |flags: &[&str], expected: &[u64]| {
        let start = ["patch", "--json", "--ids", &ids, "--entropies", text_of(&file)];
        let found = blt(&[&start, flags].concat()).json();
        assert_eq!(numbers(&found["patch_lengths"]), expected, "{flags:?}");
        let given: Vec<f64> = serde_json::from_str(entropies).unwrap();
        let shown: Vec<f64> = serde_json::from_value(found["entropies"].clone()).unwrap();
        assert_eq!(shown, given);
    };
    let global = [1, 1, 2, 3, 1, 1, 3, 4, 2, 1, 1, 3, 2];
    check(&["--mode", "entropy"], &global);
    check(&["--mode", "entropy", "--threshold", "1.335442066"], &global);
    let mut without = global;
    without[12] = 1;
    check(&["--mode", "entropy", "--no-virtual"], &without);
    let capped = [1, 1, 2, 3, 1, 1, 3, 3, 1, 2, 1, 1, 3, 2];
    check(&["--mode", "entropy", "--max-len", "3"], &capped);
    check(&["--mode", "monotonic", "--threshold", "0.5"], &[1, 1, 5, 4, 1, 3, 3, 5, 2]);
    check(&["--mode", "combined", "--threshold-add", "0.1"], &[1, 1, 2, 3, 1, 4, 6, 2, 3, 2]);
    // A score that is exactly the threshold in f32 starts nothing.
    check(&["--mode", "entropy", "--threshold", "3.0"], &[1, 19, 5]);
}

#[test]
fn patch_static_is_not_split_and_byte_is_all_ones() {
    let lengths = |flags: &[&str]| {
        let start = ["patch", "--json", "--ids", "1,70,71,72,73,74,75,76,2"];
        numbers(&blt(&[&start, flags].concat()).json()["patch_lengths"])
    };
    assert_eq!(lengths(&["--mode", "static", "--size", "4"]), [4, 4, 2]);
    assert_eq!(lengths(&["--mode", "static", "--size", "3", "--no-virtual"]), [3, 3, 3]);
    assert_eq!(lengths(&["--mode", "byte"]), [1; 10]);
}

#[test]
fn patch_scores_with_the_entropy_model_of_a_directory() {
    let model = fixture("k2_entropy");
    let expected = Tensors::open(&model.join("expected.safetensors"));
    let ids = joined(&expected.ids());
    let found = blt_cpu(&["patch", "--json", "--ids", &ids, "--model", text_of(&model)]).json();
    let lengths: Vec<f64> = numbers(&found["patch_lengths"]).iter().map(|&it| it as f64).collect();
    assert_eq!(lengths, expected.get("patch_lengths_ours").1);
    let entropies: Vec<f64> = serde_json::from_value(found["entropies"].clone()).unwrap();
    assert_close(
        "entropies",
        &(vec![entropies.len()], entropies),
        &expected.get("entropies"),
        2e-5,
    );
}

#[test]
fn patch_takes_any_bytes() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("bytes.bin");
    for (bytes, ids) in [
        (&b""[..], &[1, 2][..]),
        (b"a", &[1, 101, 2]),
        (&[0x80, 0xbf, 0xff, 0x00], &[1, 132, 195, 259, 4, 2]),
    ] {
        std::fs::write(&file, bytes).unwrap();
        for mode in ["space", "byte", "static", "bpe"] {
            let arguments = ["patch", "--json", "--mode", mode, "--file", text_of(&file)];
            let found = blt(&arguments).json();
            assert_eq!(numbers(&found["ids"]), ids);
            let sum: u64 = numbers(&found["patch_lengths"]).iter().sum();
            assert_eq!(sum, ids.len() as u64 + 1);
        }
        // What a terminal is shown is text whatever the bytes are.
        let shown = blt(&["patch", "--mode", "space", "--file", text_of(&file)]).ok().stdout;
        assert!(String::from_utf8(shown).unwrap().starts_with("<bos>"));
    }
}

#[test]
fn patch_names_flags_that_do_nothing() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("e.json");
    std::fs::write(&file, "[0.5,0.5,0.5]").unwrap();
    let entropies = text_of(&file);
    let warned = |flags: &[&str]| {
        let run = blt(&[&["patch", "--ids", "1,70,2"], flags].concat()).ok();
        let lines = run.stderr.lines().filter_map(|line| line.strip_prefix("warning: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let does_nothing = |flag: &str, mode: &str| format!("{flag} does nothing in mode {mode}");
    let space = ["--mode", "space", "--threshold", "nan", "--size", "4", "--threshold-add", "1"];
    let expected = ["--size", "--threshold", "--threshold-add"];
    assert_eq!(warned(&space), expected.map(|flag| does_nothing(flag, "space")));
    let given = ["--mode", "bpe", "--entropies", entropies, "--max-len", "2"];
    assert_eq!(warned(&given), [does_nothing("--entropies", "bpe")]);
    assert_eq!(warned(&["--mode", "byte", "--max-len", "2"]), [does_nothing("--max-len", "byte")]);
    assert_eq!(warned(&["--mode", "static", "--size", "4", "--max-len", "2"]), [""; 0]);
    let global = ["--mode", "entropy", "--entropies", entropies, "--threshold", "0.1"];
    assert_eq!(warned(&global), [""; 0]);
    let added = [&global[..], &["--threshold-add", "0.1"]].concat();
    assert_eq!(warned(&added), [does_nothing("--threshold-add", "entropy")]);
}

#[test]
fn patch_names_what_is_wrong() {
    let patch = |flags: &[&str]| blt(&[&["patch", "--json"], flags].concat());
    patch(&["--text", "a"]).fails(2, &["neither --mode nor --model", "hint: "]);
    patch(&["--mode", "space"]).fails(2, &["--text", "--file", "--ids"]);
    patch(&["--mode", "words", "--text", "a"]).fails(2, &["words", "combined"]);
    patch(&["--mode", "space", "--ids", "1,x"]).fails(2, &["whole numbers"]);
    patch(&["--mode", "space", "--ids", "-1"]).fails(2, &["whole numbers"]);
    patch(&["--mode", "space", "--ids", "1,260"]).fails(2, &["--ids", "0..260, got 260"]);
    patch(&["--mode", "space", "--ids", ""]).fails(1, &["at least one id"]);
    patch(&["--mode", "entropy", "--text", "a"]).fails(2, &["--model DIR", "--entropies"]);
    patch(&["--mode", "space", "--file", "no/such.txt"]).fails(1, &["no/such.txt"]);
    patch(&["--mode", "static", "--size", "0", "--text", "a"]).fails(2, &["--size"]);
    patch(&["--mode", "space", "--max-len", "0", "--text", "a"]).fails(2, &["--max-len"]);
    patch(&["--mode", "combined", "--text", "a"]).fails(2, &["--threshold-add"]);
    assert!(!numbers(&patch(&["--mode", "byte", "--text", "- a"]).json()["ids"]).is_empty());
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("e.json");
    let given = |text: &str| {
        std::fs::write(&file, text).unwrap();
        patch(&["--mode", "entropy", "--ids", "1,70", "--entropies", text_of(&file)])
    };
    given("[0.5]").fails(1, &["expected 2, one per id, got 1"]);
    given("[0.5, null]").fails(1, &["e.json", "JSON array"]);
    given("{}").fails(1, &["e.json", "JSON array"]);
    given("[0.5, 1e999]").fails(1, &[]);
    let model = fixture("k1_ones");
    let flags = ["--mode", "entropy", "--text", "a", "--model", text_of(&model)];
    blt_cpu(&[&["patch"], &flags[..]].concat()).fails(1, &["entropy model", "k1_ones"]);
}
