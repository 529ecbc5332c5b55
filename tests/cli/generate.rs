//! `blt generate`.

use serde_json::Value;

use crate::init::tiny;
use crate::program::{Tensors, blt_cpu, fixture, joined, numbers, text_of};

#[test]
fn generate_streams_the_text_that_json_gives() {
    let model = fixture("k2_entropy");
    let generate = |flags: &[&str]| {
        let start = ["generate", "--model", text_of(&model), "-n", "12"];
        blt_cpu(&[&start, flags].concat())
    };
    let drawn = ["--prompt", "ab", "--temperature", "1.3", "--seed", "7", "--top-k", "60"];
    let found = generate(&[&drawn[..], &["--json"]].concat()).json();
    let ids = numbers(&found["ids"]);
    assert!(ids.len() == 12 || ids.last() == Some(&2));
    assert!(ids.iter().all(|id| ![0, 1, 3].contains(id) && *id < 260));
    let bytes: Vec<u8> = ids.iter().filter_map(|id| id.checked_sub(4)).map(|it| it as u8).collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(found["text"], Value::String(text.clone()));
    assert!(found["bytes_per_s"].as_f64().unwrap() >= 0.0);
    let ms = |name: &str| found[name].as_f64().unwrap();
    let parts = ms("device_ms") + ms("weights_ms") + ms("prefill_ms");
    assert!(ms("prefill_ms") > 0.0 && ms("weights_ms") > 0.0);
    assert!(ms("first_byte_ms") >= parts * 0.999, "{} of {parts}", ms("first_byte_ms"));
    let streamed = String::from_utf8(generate(&drawn).ok().stdout).unwrap();
    assert_eq!(streamed, format!("{text}\n"));
    // The prompt as ids is the same prompt; another seed is another text.
    let by_ids = [&["--prompt-ids", "1,101,102"], &drawn[2..], &["--json"]].concat();
    assert_eq!(numbers(&generate(&by_ids).json()["ids"]), ids);
    let other = ["--prompt", "ab", "--temperature", "1.3", "--seed", "8", "--json"];
    assert_ne!(numbers(&generate(&other).json()["ids"]), ids);
}

#[test]
fn greedy_generation_takes_the_likeliest_id_of_the_logits() {
    let model = fixture("k2_entropy");
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.safetensors");
    let start = ["generate", "--model", text_of(&model), "--prompt-ids", "1,101,102", "-n", "4"];
    let found = blt_cpu(&[&start[..], &["--allow-special", "--json"]].concat()).json();
    let generated = numbers(&found["ids"]);
    let mut ids = vec![1, 101, 102];
    for id in generated {
        let list = joined(&ids);
        let files = ["--model", text_of(&model), "--out", text_of(&out)];
        blt_cpu(&[&["logits", "--ids", &list], &files[..]].concat()).ok();
        let (shape, logits) = Tensors::open(&out).get("logits");
        assert_eq!(shape, [ids.len(), 260]);
        let last = &logits[logits.len() - 260..];
        let best = (0..260).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        assert_eq!(best as u64, id);
        ids.push(id);
    }
}

#[test]
fn generate_names_what_is_wrong() {
    let model = fixture("k1_ones");
    let generate =
        |flags: &[&str]| blt_cpu(&[&["generate", "--model", text_of(&model)], flags].concat());
    generate(&["-n", "1"]).fails(2, &["--prompt"]);
    generate(&["--prompt", "a"]).fails(2, &["-n"]);
    generate(&["--prompt-ids", "", "-n", "1"]).fails(1, &["at least one id"]);
    generate(&["--prompt-ids", "1,999", "-n", "1"]).fails(1, &["999"]);
    generate(&["--prompt", "a", "-n", "1000000"]).fails(1, &["positions", "hint: "]);
    generate(&["--prompt", "a", "-n", "1", "--temperature", "-1"]).fails(1, &["temperature"]);
    generate(&["--prompt", "- a list", "-n", "1"]).ok();
    generate(&["--prompt", "a", "-n", "1", "--top-p", "2"]).fails(1, &["top_p"]);
    let nothing = generate(&["--prompt", "", "-n", "0", "--json"]).json();
    assert_eq!((nothing["text"].as_str(), numbers(&nothing["ids"]).len()), (Some(""), 0));
}

#[test]
fn generate_runs_into_the_limits_of_the_model_with_an_error() {
    let place = tempfile::tempdir().unwrap();
    let model = tiny(place.path());
    let generate = |prompt: &str, n: &str| {
        blt_cpu(&["generate", "--model", text_of(&model), "--prompt", prompt, "-n", n])
    };
    // 128 positions: BOS, 126 bytes, and one more that is not read again.
    let long = "abcdef".repeat(21);
    generate(&long, "2").ok();
    generate(&long, "3").fails(1, &["positions", "129 needed, 128 available", "hint: "]);
    generate(&long.repeat(2), "1").fails(1, &["positions", "hint: "]);
    // 64 patches, and 63 of two bytes between the first and the open one.
    generate(&"a ".repeat(63), "1").fails(1, &["patches", "65 needed, 64 available"]);
    generate(&"a ".repeat(62), "1").ok();
}
