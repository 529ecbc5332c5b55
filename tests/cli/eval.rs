//! `blt eval`.

use crate::init::tiny;
use crate::program::{Tensors, blt_cpu, fixture, joined, text_of};

#[test]
fn eval_measures_bits_per_byte() {
    let model = fixture("k2_entropy");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("text.jsonl");
    std::fs::write(&file, "{\"text\":\"Hello, world!\"}\n{\"text\":\"a\"}\n{\"text\":\"\"}\n")
        .unwrap();
    let found =
        blt_cpu(&["eval", "--model", text_of(&model), "--data", text_of(&file), "--json"]).json();
    let number = |key: &str| found[key].as_f64().unwrap();
    // 13 bytes and an end, one byte and an end; a document of nothing is none.
    assert_eq!((number("bytes"), number("documents")), (16.0, 2.0));
    let bpb = number("nats") / (std::f64::consts::LN_2 * number("bytes"));
    assert!((number("bpb") - bpb).abs() < 1e-12 && bpb > 0.0);
    assert!((number("bytes_per_patch") - number("bytes") / number("patches")).abs() < 1e-12);
    // The nats are those of the logits.
    let out = place.path().join("out.safetensors");
    let mut nats = 0.0;
    for text in ["Hello, world!", "a"] {
        let ids: Vec<u64> = std::iter::once(1)
            .chain(text.bytes().map(|byte| u64::from(byte) + 4))
            .chain([2])
            .collect();
        let list = joined(&ids);
        let files = ["--model", text_of(&model), "--out", text_of(&out), "--grads"];
        blt_cpu(&[&["logits", "--ids", &list], &files[..]].concat()).ok();
        nats += Tensors::open(&out).get("loss").1[0] * (ids.len() - 1) as f64;
    }
    assert!((number("nats") - nats).abs() < 1e-4, "{} {nats}", number("nats"));
    let shown = blt_cpu(&["eval", "--model", text_of(&model), "--data", text_of(&file)]).ok();
    assert!(String::from_utf8(shown.stdout).unwrap().starts_with("bits per byte "));
}

#[test]
fn bytes_per_patch_means_the_same_to_eval_and_patch() {
    let place = tempfile::tempdir().unwrap();
    let model = tiny(place.path());
    let file = place.path().join("text.txt");
    // BOS, "to ", "be ", "or", EOS with the byte before: 9 targets, 4 patches.
    std::fs::write(&file, "to be or").unwrap();
    let files = ["--model", text_of(&model), "--data", text_of(&file), "--json"];
    let found = blt_cpu(&[&["eval"], &files[..]].concat()).json();
    assert_eq!((found["bytes"].as_u64(), found["patches"].as_u64()), (Some(9), Some(4)));
    assert_eq!(found["bytes_per_patch"].as_f64(), Some(2.25));
    // With the virtual token and without: it is no byte, and alone it is no patch.
    for flags in [&[][..], &["--no-virtual"]] {
        let start = ["patch", "--file", text_of(&file), "--mode", "space"];
        let shown = blt_cpu(&[&start[..], flags].concat()).ok();
        assert_eq!(shown.stderr, "10 ids in 4 patches, 2.25 bytes a patch\n");
    }
}

#[test]
fn eval_takes_documents_of_any_bytes_and_names_what_is_wrong() {
    let model = fixture("k2_entropy");
    let place = tempfile::tempdir().unwrap();
    let eval = |name: &str, bytes: &[u8]| {
        let file = place.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        blt_cpu(&["eval", "--model", text_of(&model), "--data", text_of(&file), "--json"])
    };
    for bytes in [&b"x"[..], &[0x80, 0x80], &[0xf0, 0x9f, 0x8e], &[0; 40]] {
        let found = eval("bytes.txt", bytes).json();
        assert_eq!(found["bytes"].as_u64(), Some(bytes.len() as u64 + 1));
    }
    eval("empty.txt", b"").fails(1, &["empty.txt", "no text"]);
    eval("text.csv", b"a").fails(1, &["text.csv", ".jsonl"]);
    eval("text.jsonl", b"{\"text\":").fails(1, &["text.jsonl"]);
    for name in ["missing.txt", "missing"] {
        let missing = place.path().join(name);
        let arguments = ["eval", "--model", text_of(&model), "--data", text_of(&missing)];
        blt_cpu(&arguments).fails(1, &["cannot open", name]);
    }
}

#[test]
fn eval_scores_texts_far_beyond_the_positions_of_the_model() {
    let place = tempfile::tempdir().unwrap();
    let model = tiny(place.path());
    let file = place.path().join("long.txt");
    // 128 positions for bytes, 64 for patches: two bytes a patch, then more.
    for text in ["a ".repeat(700), "abcdefg ".repeat(300), "abc".repeat(500)] {
        std::fs::write(&file, &text).unwrap();
        let arguments = ["eval", "--model", text_of(&model), "--data", text_of(&file), "--json"];
        let found = blt_cpu(&arguments).json();
        assert_eq!(found["bytes"].as_u64(), Some(text.len() as u64 + 1));
        let bpb = found["bpb"].as_f64().unwrap();
        assert!(bpb > 4.0 && bpb < 16.0, "a fresh model knows little: {bpb}");
    }
}
