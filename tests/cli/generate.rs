//! `blt generate`.

use serde_json::Value;

use crate::init::tiny;
use crate::program::{
    Tensors, blt, blt_cpu, command, fixture, joined, numbers, run, run_with_stdin, text_of,
};

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
    assert!(found["bytes_per_s"].as_f64().unwrap() > 0.0);
    let one = ["generate", "--model", text_of(&model), "--prompt", "ab", "-n", "1", "--json"];
    let alone = blt_cpu(&one).json();
    assert_eq!(alone["bytes_per_s"], 0.0, "there is none behind the first");
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

/// What `transformers` 5.23 generates without its caches, from the program: `--allow-special` lets
/// every id come. Where a text ends, which does not end theirs, it is gone on with.
#[test]
fn greedy_texts_of_transformers_come_from_the_program() {
    let texts = std::fs::read_to_string(fixture("greedy.json")).unwrap();
    let texts: Value = serde_json::from_str(&texts).unwrap();
    for (name, text) in texts.as_object().unwrap() {
        let (mut ids, expected) = (numbers(&text["prompt"]), numbers(&text["ids"]));
        let end = ids.len() + expected.len();
        while ids.len() < end {
            let (model, prompt) = (fixture(name), joined(&ids));
            let n = (end - ids.len()).to_string();
            let start = ["generate", "--model", text_of(&model), "--prompt-ids", &prompt, "-n", &n];
            let said = blt_cpu(&[&start[..], &["--allow-special", "--json"]].concat()).json();
            ids.extend(numbers(&said["ids"]));
        }
        assert_eq!(ids[end - expected.len()..], expected, "{name}");
    }
}

/// A model that would cut by entropies and cannot says so; one that can is silent.
#[test]
fn generate_says_where_every_byte_is_a_patch() {
    for (name, is_said) in [("k1_ones", true), ("k2_entropy", false)] {
        let model = fixture(name);
        let said = blt_cpu(&["generate", "--model", text_of(&model), "--prompt", "a", "-n", "1"]);
        assert_eq!(said.stderr.contains("every byte is a patch"), is_said, "{}", said.stderr);
    }
}

#[test]
fn generate_names_what_is_wrong() {
    let model = fixture("k1_ones");
    let generate =
        |flags: &[&str]| blt_cpu(&[&["generate", "--model", text_of(&model)], flags].concat());
    generate(&["-n", "1"]).fails(2, &["--prompt"]);
    generate(&["--prompt", "a"]).fails(2, &["-n"]);
    generate(&["--prompt-ids", "", "-n", "1"]).fails(2, &["--prompt-ids", "at least one id"]);
    generate(&["--prompt-ids", "1,999", "-n", "1"]).fails(2, &["--prompt-ids", "999"]);
    generate(&["--prompt", "a", "-n", "1000000"]).fails(1, &["positions", "hint: "]);
    let most = u64::MAX.to_string();
    generate(&["--prompt", "a", "-n", &most]).fails(1, &["positions", "hint: "]);
    generate(&["--prompt", "a", "-n", "1", "--temperature", "-1"]).fails(2, &["--temperature"]);
    generate(&["--prompt", "- a list", "-n", "1"]).ok();
    generate(&["--prompt", "a", "-n", "1", "--top-p", "2"]).fails(2, &["--top-p"]);
    // Draws that are not made are not asked for in silence.
    let said = generate(&["--prompt", "a", "-n", "1", "--top-k", "3", "--seed", "0"]).ok().stderr;
    assert!(said.contains("--top-k, --seed without effect: at temperature 0"), "{said}");
    let drawn = ["--prompt", "a", "-n", "1", "--top-k", "3", "--temperature", "1"];
    assert!(!generate(&drawn).ok().stderr.contains("without effect"));
    let help = blt(&["generate", "--help"]).ok().stdout;
    assert!(String::from_utf8(help).unwrap().contains("400 unless told otherwise"));
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
    let slide = |n: &str| {
        let flags = ["--prompt", &long.repeat(9), "-n", n, "--ban-ids", "2", "--json"];
        let start = ["generate", "--model", text_of(&model), "--on-limit", "slide"];
        numbers(&blt_cpu(&[&start[..], &flags].concat()).json()["ids"])
    };
    let ids = slide("200");
    assert!(ids.len() == 200 && ids[..40] == slide("40"));

    // With 32 patches: BOS, 30 of two bytes, and the open one behind them.
    let config = model.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    settings["global_config"]["max_position_embeddings"] = 32.into();
    std::fs::write(&config, settings.to_string()).unwrap();
    generate(&"a ".repeat(30), "1").ok();
    let full = generate(&"a ".repeat(31), "1");
    full.fails(1, &["patches", "33 needed, 32 available", "hint: ", "--on-limit slide"]);
    // What has come before the positions run out is in the output.
    let start = ["generate", "--model", text_of(&model), "--prompt", &"a ".repeat(29), "--json"];
    let run = blt_cpu(&[&start[..], &["-n", "60", "--ban-ids", "2"]].concat());
    let said: Value = serde_json::from_slice(&run.stdout).unwrap();
    let ids = numbers(&said["ids"]);
    assert!(!ids.is_empty() && ids.len() < 60, "{said}");
    assert_eq!(said["end"], "error");
    assert!(said["error"].as_str().unwrap().contains("32 available"), "{said}");
    assert!(!said["text"].as_str().unwrap().is_empty());
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("hint: ") && run.stderr.contains("--on-limit slide"));
    assert_eq!(slide("9").len(), 9);
}

#[test]
fn a_prompt_is_bytes_from_wherever_it_comes() {
    let model = fixture("k2_entropy");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("prompt");
    let generate = |flags: &[&str], stdin: Option<&[u8]>| {
        let start = ["generate", "--model", text_of(&model), "-n", "8", "--device", "cpu"];
        let command = command(&[&start, flags].concat());
        match stdin {
            Some(bytes) => run_with_stdin(command, bytes),
            None => run(command),
        }
    };
    let ids = |flags: &[&str], stdin| numbers(&generate(flags, stdin).json()["ids"]);
    // Invalid UTF-8: 0x61 0xff 0x62 are ids 101, 259, 102.
    std::fs::write(&file, b"a\xffb").unwrap();
    let expected = ids(&["--json", "--prompt-ids", "1,101,259,102"], None);
    assert_eq!(ids(&["--json", "--prompt-file", text_of(&file)], None), expected);
    assert_eq!(ids(&["--json", "--prompt-file", "-"], Some(b"a\xffb")), expected);
    #[cfg(unix)]
    {
        let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xffb".as_slice());
        let start = ["generate", "--model", text_of(&model), "-n", "8", "--device", "cpu"];
        let mut command = command(&[&start[..], &["--json", "--prompt"]].concat());
        command.arg::<&std::ffi::OsStr>(bytes);
        assert_eq!(numbers(&run(command).json()["ids"]), expected);
    }
    let empty = ids(&["--json", "--prompt", ""], None);
    assert_eq!(ids(&["--json", "--prompt-file", "-"], Some(b"")), empty);
    assert_eq!(ids(&["--json", "--prompt-ids", "1"], None), empty);
    generate(&["--prompt-file", "/no/such/file"], None).fails(1, &["/no/such/file"]);
    generate(&["--prompt", "a", "--prompt-ids", "1"], None).fails(2, &["--prompt"]);
    generate(&["-i", "--prompt-file", "-"], Some(b"a")).fails(2, &["stdin", "hint: "]);
}

/// What a model that knows nothing says at random: enough of everything to look for.
const DRAWN: [&str; 6] = ["--temperature", "1", "--seed", "3", "--ban-ids", "2"];

#[test]
fn stops_bans_and_details() {
    let model = fixture("k2_entropy");
    let generate = |flags: &[&str]| {
        let start = ["generate", "--model", text_of(&model), "-n", "60", "--prompt", "ab"];
        blt_cpu(&[&start, &DRAWN[..], flags].concat())
    };
    let all = generate(&["--json", "--details"]).json();
    let ids = numbers(&all["ids"]);
    assert_eq!((ids.len(), &all["end"]), (60, &Value::from("count")));
    let floats = |name: &str| -> Vec<f64> {
        all[name].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
    };
    assert!(floats("probabilities").iter().all(|it| (0.0..=1.0).contains(it)));
    for name in ["probabilities", "entropies", "patch_entropies"] {
        assert_eq!(floats(name).len(), 60, "{name}");
        assert!(floats(name).iter().all(|&it| it >= 0.0 && it <= 260_f64.ln()), "{name}");
    }
    assert_eq!(numbers(&all["patch_lengths"]).iter().sum::<u64>(), 60);
    assert!(generate(&["--json"]).json().get("entropies").is_none());

    // The bytes from the 20th id on as a string to stop at.
    let escape = |id: &u64| format!("\\x{:02x}", id - 4);
    let string: String = ids[20..23].iter().map(escape).collect();
    let stopped = generate(&["--json", "--stop", "never seen", "--stop", &string]).json();
    assert_eq!((numbers(&stopped["ids"]), &stopped["end"]), (ids[..23].into(), &"stop".into()));
    let bytes: Vec<u8> = ids[..20].iter().map(|id| (id - 4) as u8).collect();
    assert_eq!(stopped["text"], String::from_utf8_lossy(&bytes).as_ref());
    let shown = generate(&["--stop", &string]).ok().stdout;
    assert_eq!(shown, format!("{}\n", String::from_utf8_lossy(&bytes)).into_bytes());

    let banned = generate(&["--json", "--ban", &escape(&ids[0]), "--ban", &string]).json();
    let banned = numbers(&banned["ids"]);
    assert!(banned.len() == 60 && !banned.contains(&ids[0]) && !banned.contains(&ids[21]));
    assert_ne!(numbers(&generate(&["--json", "--repetition-penalty", "3"]).json()["ids"]), ids);
    let likeliest = generate(&["--json", "--min-p", "1"]).json();
    assert_eq!(
        numbers(&likeliest["ids"]),
        numbers(&generate(&["--json", "--top-k", "1"]).json()["ids"])
    );

    generate(&["--stop", ""]).fails(2, &["--stop", "at least one byte"]);
    generate(&["--stop", "\\q"]).fails(2, &["--stop"]);
    generate(&["--min-p", "2"]).fails(2, &["--min-p"]);
    generate(&["--ban-ids", "260"]).fails(2, &["--ban-ids", "260"]);
    generate(&["--details"]).fails(2, &["--json"]);
}

#[test]
fn patches_and_entropies_are_drawn_while_the_text_comes() {
    let model = fixture("k2_entropy");
    let generate = |flags: &[&str]| {
        let start = ["generate", "--model", text_of(&model), "-n", "40", "--prompt", "ab"];
        blt_cpu(&[&start, &DRAWN[..], flags].concat())
    };
    let found = generate(&["--json", "--details"]).json();
    let (ids, lengths) = (numbers(&found["ids"]), numbers(&found["patch_lengths"]));
    let (ids, lengths) = (ids.iter().map(|&id| id as u32), lengths.iter().map(|&it| it as u32));
    let (ids, lengths): (Vec<_>, Vec<_>) = (ids.collect(), lengths.collect());
    let shown = String::from_utf8(generate(&["--show-patches"]).ok().stdout).unwrap();
    assert_eq!(shown, format!("{}\n", blt_wgpu::report::paint::patches(&ids, &lengths, false)));
    let scale = generate(&["--show-entropy"]).ok().stderr;
    assert!(scale.contains("nats and more"), "{scale}");
    generate(&["--show-patches", "--json"]).fails(2, &["--show-patches"]);
}

#[test]
fn a_conversation_is_one_text() {
    let model = fixture("k2_entropy");
    let generate_ids = |n: &str, flags: &[&str], stdin: &[u8]| {
        let start = ["generate", "--model", text_of(&model), "-n", n, "--device", "cpu"];
        run_with_stdin(command(&[&start, &DRAWN[..], flags].concat()), stdin).ok().stdout
    };
    let generate = |flags: &[&str], stdin: &[u8]| generate_ids("9", flags, stdin);
    let alone = |prompt: &[u8]| generate(&["--prompt-file", "-"], prompt);
    // Answers here end with the count, and lines of the screen where they do.
    assert_eq!(generate(&["-i"], b"To be\n"), alone(b"To be\n"));
    assert_eq!(generate(&["-i"], b"To be\\\n"), alone(b"To be"));
    assert_eq!(generate(&["-i", "--prompt", "To be"], b""), alone(b"To be"));
    // What an empty line lets the model write is what it would have written in one go.
    let json = generate_ids("18", &["--prompt", "To be", "--json"], b"");
    let json: Value = serde_json::from_slice(&json).unwrap();
    let bytes: Vec<u8> = numbers(&json["ids"]).iter().map(|id| (id - 4) as u8).collect();
    let halves = bytes.chunks(9).map(|half| {
        let end = if half.ends_with(b"\n") { "" } else { "\n" };
        String::from_utf8_lossy(half).into_owned() + end
    });
    let both = generate(&["-i"], b"To be\\\n\n");
    assert_eq!(String::from_utf8(both).unwrap(), halves.collect::<String>());
}

/// An error ends an answer, not the conversation: what was held back is shown, the next line is
/// read, and the exit code says it.
#[test]
fn an_error_ends_an_answer_and_no_conversation() {
    let place = tempfile::tempdir().unwrap();
    let model = tiny(place.path());
    // 128 positions: BOS, 120 bytes, 7 more, and one that is not read again.
    let prompt = "abcdef".repeat(20);
    let start = ["generate", "--model", text_of(&model), "--ban-ids", "2"];
    let whole = blt_cpu(&[&start[..], &["--prompt", &prompt, "-n", "8", "--json"]].concat()).json();
    let (text, ids) = (whole["text"].as_str().unwrap(), numbers(&whole["ids"]));
    assert_eq!((ids.len(), &whole["end"]), (8, &Value::from("count")));
    // The last byte may be the begin of this, so it is held back.
    let stop = format!("\\x{:02x}\\x00\\x01", ids[7] - 4);
    let flags = ["-i", "--on-limit", "error", "-n", "40", "--stop", &stop, "--device", "cpu"];
    let lines = format!("{prompt}\\\nmore\n");
    let run = run_with_stdin(command(&[&start[..], &flags].concat()), lines.as_bytes());
    let shown = String::from_utf8(run.stdout).unwrap();
    assert_eq!(shown.trim_end_matches('\n'), text.trim_end_matches('\n'));
    assert_eq!(run.code, 1);
    assert_eq!(run.stderr.matches("128 available").count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("2 answers ended with an error"), "{}", run.stderr);
}

/// How many bytes a device may add by itself; the text is the same.
#[test]
fn bytes_a_submission_are_refused_out_of_range() {
    let model = fixture("k2_entropy");
    let start = ["generate", "--model", text_of(&model), "--prompt", "Hello", "-n", "9"];
    let of = |bytes: &str| blt_cpu(&[&start[..], &["--bytes-a-submission", bytes]].concat());
    for wrong in ["0", "65", "many"] {
        of(wrong).fails(2, &["--bytes-a-submission"]);
    }
    of("65").fails(2, &["1..=64"]);
    assert_eq!(of("64").ok().stdout, of("1").ok().stdout);
}
