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
    // Held-out text is read by the same rule.
    let scored = place.path().join("scored");
    let valid = format!("data.valid=[{:?}]", text_of(&texts.join("a.jsonl")));
    let sources = format!("data.sources=[{:?}]", text_of(&texts.join("b.txt")));
    let sets = ["--set", &valid, "--set", &sources, "--set", "eval.every=4"];
    let train = ["train", config.as_str(), "--out", text_of(&scored)];
    let run = blt_cpu(&[&train[..], &sets].concat()).ok();
    assert!(run.stderr.contains("a.jsonl:41: expected a JSON object"), "{}", run.stderr);
    let strict = [&train[..2], &["--out", text_of(&other)], &sets, &["--set", "data.strict=true"]];
    blt_cpu(&strict.concat()).fails(1, &["a.jsonl:41: expected a JSON object"]);
}

/// A fresh entropy model of few parameters.
fn tiny_entropy_model(place: &Path, name: &str, seed: &str) -> String {
    let config = place.join("entropy.toml");
    let text = "train_entropy_model = true\n[data]\nseq_len = 64\n[entropy_model]\ndim = 16\n\
                n_layers = 1\nn_heads = 2\nsliding_window = 8\nmax_seqlen = 64\n";
    std::fs::write(&config, text).unwrap();
    let out = place.join(name);
    let init = ["init", text_of(&config), "--out", text_of(&out), "--seed", seed];
    blt_cpu_free(&init);
    text_of(&out).to_owned()
}

/// For commands that take no device.
fn blt_cpu_free(arguments: &[&str]) {
    crate::program::blt(arguments).ok();
}

/// Two texts of some documents each, one compressed.
fn two_texts(place: &Path) -> std::path::PathBuf {
    let texts = place.join("texts");
    std::fs::create_dir(&texts).unwrap();
    let line = |index: usize| {
        let text = format!("number {index}: {}", "quick brown foxes é ".repeat(index % 7 + 1));
        serde_json::json!({ "id": format!("d{index}"), "text": text }).to_string() + "\n"
    };
    let lines: String = (0..40).map(line).collect();
    std::fs::write(texts.join("a.chunk.00.jsonl"), lines + "no document\n").unwrap();
    std::fs::write(texts.join("b.txt"), "The lazy dog sleeps. ".repeat(20)).unwrap();
    texts
}

#[test]
fn entropies_are_written_once_and_read_in_training() {
    let place = tempfile::tempdir().unwrap();
    let model = tiny_entropy_model(place.path(), "entropy", "1");
    let texts = two_texts(place.path());
    let out = place.path().join("entropies");
    let compute = |out: &Path, flags: &[&str]| {
        let start = ["entropies", &model, text_of(&texts), "--out", text_of(out), "--json"];
        blt_cpu(&[&start, flags].concat())
    };
    let run = compute(&out, &[]);
    assert!(run.stderr.contains("a.chunk.00.jsonl:41: expected a JSON object"), "{}", run.stderr);
    let first = run.json();
    assert_eq!((first["documents"].as_u64(), first["shards"].as_u64()), (Some(41), Some(2)));
    let shard = out.join("a.chunk.00.jsonl.shard_00.arrow");
    let beside = |end: &str| std::path::PathBuf::from(format!("{}{end}", shard.display()));
    assert!(shard.is_file() && beside(".complete").is_file());
    let all_done = out.join("a.chunk.00.jsonl.shard.COMPLETE");
    assert!(all_done.is_file() && out.join("b.txt.shard.COMPLETE").is_file());
    let rerun = compute(&out, &[]).json();
    assert_eq!((&rerun["documents"], &rerun["shards_there"]), (&0.into(), &2.into()));
    let plain = ["entropies", &model, text_of(&texts), "--out", text_of(&out)];
    assert_eq!(
        String::from_utf8(blt_cpu(&plain).ok().stdout).unwrap(),
        "all 2 shards were there\n"
    );

    // What a killed process leaves: some rows of a shard that is not complete.
    let whole = std::fs::read(&shard).unwrap();
    for path in [&beside(".complete"), &all_done, &shard] {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(out.join(".a.chunk.00.jsonl.shard_00.arrow.partial"), &whole).unwrap();
    let again = compute(&out, &[]).json();
    assert_eq!(again["documents"], 40);
    assert_eq!(again["bytes"], again["bytes_taken_over"]);
    assert_eq!(std::fs::read(&shard).unwrap(), whole, "to the byte");

    // A text that has changed is scored anew from where it is another.
    let text = texts.join("b.txt");
    let lines = std::fs::read_to_string(texts.join("a.chunk.00.jsonl")).unwrap();
    let longer = lines.replace("no document\n", "") + "{\"id\": \"new\", \"text\": \"one more\"}\n";
    std::fs::write(texts.join("a.chunk.00.jsonl"), longer).unwrap();
    let changed = compute(&out, &[]);
    assert!(changed.stderr.contains("a.chunk.00.jsonl: it may have changed"), "{}", changed.stderr);
    let changed = changed.json();
    assert_eq!((&changed["documents"], &changed["shards_there"]), (&41.into(), &1.into()));
    let taken = changed["bytes_taken_over"].as_u64().unwrap();
    assert_eq!(changed["bytes"].as_u64().unwrap() - taken, 8, "what is the same is not scored");
    assert_ne!(std::fs::read(&shard).unwrap(), whole);
    // Written to without a change it is looked through, and nothing is scored.
    let same = std::fs::read(&text).unwrap();
    std::fs::write(&text, same).unwrap();
    let touched = compute(&out, &[]).json();
    assert_eq!((&touched["shards"], &touched["shards_there"]), (&1.into(), &1.into()));
    assert_eq!(touched["bytes"], touched["bytes_taken_over"]);
    std::fs::write(texts.join("a.chunk.00.jsonl"), &lines).unwrap();
    compute(&out, &[]).json();
    assert_eq!(std::fs::read(&shard).unwrap(), whole, "to the byte");

    // Two processes make the same files.
    let shared = place.path().join("shared");
    for rank in ["0", "1"] {
        let part = compute(&shared, &["--rank", rank, "--ranks", "2"]).json();
        assert_eq!(part["shards"], 1);
    }
    assert_eq!(std::fs::read(shared.join(shard.file_name().unwrap())).unwrap(), whole);

    let other = tiny_entropy_model(place.path(), "other", "2");
    let wrong = ["entropies", &other, text_of(&texts), "--out", text_of(&out)];
    blt_cpu(&wrong).fails(1, &["made with another entropy model", "entropies.json"]);

    let statistics =
        ["statistics", text_of(&out), "--mode", "entropy", "--threshold", "5.0", "--json"];
    let found = blt_cpu(&statistics).json();
    assert_eq!(found["documents"], 41);
    assert_eq!(found["threshold"], 5.0);
    let unnamed = blt_cpu(&["statistics", text_of(&out), "--mode", "entropy"]).ok();
    assert!(unnamed.stderr.contains("the threshold is 1.3354"), "{}", unnamed.stderr);
    let shown = String::from_utf8(unnamed.stdout).unwrap();
    assert!(shown.contains("threshold         1.3354"), "{shown}");
    assert!(found["patches"].as_u64().unwrap() > 82);

    let config = config_over(place.path(), text_of(&out));
    let text = std::fs::read_to_string(&config).unwrap();
    let rule = format!("\"entropy\"\nthreshold = 5.5\nentropy_model_checkpoint_dir = {model:?}");
    let text = text.replace("patching_mode = \"space\"\nencoder_hash", "encoder_hash");
    std::fs::write(&config, text.replace("\"space\"", &rule)).unwrap();
    let run = place.path().join("run");
    blt_cpu(&["train", config.as_str(), "--out", text_of(&run)]).ok();
    // Of another model they are refused, unless they are asked for.
    let foreign = place.path().join("foreign");
    let of_other = format!("data.patcher_args.entropy_model_checkpoint_dir={other:?}");
    let train = ["train", config.as_str(), "--out", text_of(&foreign), "--set", &of_other];
    blt_cpu(&train).fails(1, &["another entropy model than the run's", "data.accept_entropies"]);
    assert!(!foreign.exists(), "nothing was begun");
    blt_cpu(&[&train[..], &["--set", "data.accept_entropies=true"]].concat()).ok();
    // Where nothing says which model made them, that is said.
    std::fs::remove_file(out.join("entropies.json")).unwrap();
    let unknown = place.path().join("unknown");
    let train = ["train", config.as_str(), "--out", text_of(&unknown)];
    let run = blt_cpu(&train).ok();
    assert!(run.stderr.contains("there is no entropies.json that says"), "{}", run.stderr);

    std::fs::remove_file(beside(".complete")).unwrap();
    let again = place.path().join("again");
    blt_cpu(&["train", config.as_str(), "--out", text_of(&again)])
        .fails(1, &["shard_00.arrow.complete", "blt entropies"]);
}

#[test]
fn a_calibrated_threshold_is_written_into_the_model() {
    let place = tempfile::tempdir().unwrap();
    let (config, model) = (place.path().join("m.toml"), place.path().join("m"));
    let entropy_model = "[entropy_model]\ndim = 16\nn_layers = 1\nn_heads = 2\n\
                         sliding_window = 8\nmax_seqlen = 128\n";
    let text = TINY.replace("\"space\"", "\"entropy\"") + entropy_model;
    std::fs::write(&config, text).unwrap();
    blt_cpu_free(&["init", text_of(&config), "--out", text_of(&model), "--seed", "1"]);
    let texts = two_texts(place.path());
    let json = || {
        let text = std::fs::read_to_string(model.join("config.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let before = json();
    let start = ["calibrate", text_of(&model), text_of(&texts), "--bytes-per-patch", "3", "--json"];
    let dry = blt_cpu(&[&start[..], &["--dry-run"]].concat()).json();
    assert_eq!((json(), &dry["written"]), (before.clone(), &serde_json::Value::Null));
    let found = blt_cpu(&start).json();
    assert_eq!(found["modes"], dry["modes"]);
    let mode = &found["modes"][0];
    assert_eq!(mode["mode"], "entropy");
    let reached = mode["bytes_per_patch"].as_f64().unwrap();
    assert!((reached - 3.0).abs() < 0.5, "{reached}");
    let curve = mode["curve"].as_array().unwrap();
    let thresholds: Vec<_> = curve.iter().map(|it| it["threshold"].as_f64().unwrap()).collect();
    assert!(thresholds.len() > 2 && thresholds.is_sorted(), "{thresholds:?}");
    assert_eq!(found["written"]["before"], before["patching_threshold"]);
    let mut expected = before;
    let written = json();
    expected["patching_threshold"] = written["patching_threshold"].clone();
    assert_eq!(written, expected, "nothing else has changed");
    let statistics = ["statistics", text_of(&texts), "--model", text_of(&model), "--json"];
    let measured = blt_cpu(&statistics).json()["bytes_per_patch"].as_f64().unwrap();
    assert!((measured - reached).abs() < 1e-9, "{measured} {reached}");

    let lone = tiny_entropy_model(place.path(), "lone", "1");
    let found = blt_cpu(&["calibrate", &lone, text_of(&texts), "--json"]).json();
    assert_eq!(found["written"], serde_json::Value::Null);
}

#[test]
fn statistics_count_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let text = place.path().join("t.jsonl");
    std::fs::write(&text, "{\"text\":\"abcde\"}\n{\"text\":\"\"}\nno\n{\"text\":\"a\\u0000\"}\n")
        .unwrap();
    let arguments = ["statistics", text_of(&text), "--mode", "static", "--size", "3", "--json"];
    let found = blt_cpu(&arguments).json();
    // Seven ids are 3 + 3 + 1 and four are 3 + 1; all but the first of a document count as bytes.
    for (key, expected) in [
        ("files", 1),
        ("documents", 2),
        ("bytes", 7),
        ("empty", 1),
        ("malformed", 1),
        ("binary", 1),
        ("not_utf8", 0),
        ("shortest_document", 2),
        ("longest_document", 5),
        ("patches", 5),
        ("longest_patch", 3),
    ] {
        assert_eq!(found[key], expected, "{key}");
    }
    assert_eq!(found["bytes_per_patch"], 9.0 / 5.0);
    let histogram: Vec<u64> = serde_json::from_value(found["histogram"].clone()).unwrap();
    assert_eq!((histogram.len(), &histogram[..4]), (33, &[2, 0, 3, 0][..]));
    blt_cpu(&["statistics", text_of(&text)]).fails(2, &["--mode space"]);
    blt_cpu(&["statistics", text_of(&text), "--mode", "entropy"]).fails(1, &["--model DIR"]);
    blt_cpu(&["statistics", text_of(&text), "--mode", "static", "--size", "0"])
        .fails(2, &["--size", "at least 1, got 0"]);
}
