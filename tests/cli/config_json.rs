//! Keys of a model's `config.json` that nobody knows.

use std::path::{Path, PathBuf};

use crate::init::TINY;
use crate::program::{Run, blt, blt_cpu, fixture, text_of};

/// A copy of a model whose `config.json` has two typing errors in it.
fn misspelt(place: &Path) -> PathBuf {
    let model = place.join("model");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(fixture("k2_entropy")).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, model.join(file.file_name().unwrap())).unwrap();
    }
    let config = model.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replacen('{', "{\"max_patch_lenght\": 9, \"norm_affine\": true,", 1);
    std::fs::write(config, text.replace("\"patcher_config\": {", "\"patcher_config\": {\"x\": 0,"))
        .unwrap();
    model
}

/// One warning names the unknown keys, another those without effect; the command goes on.
#[track_caller]
fn assert_warns_once(run: Run) {
    let run = run.ok();
    let known = "max_patch_lenght (the nearest known one is max_patch_length), patcher_config.x";
    assert_eq!(run.stderr.matches(known).count(), 1, "{}", run.stderr);
    assert_eq!(run.stderr.matches("norm_affine").count(), 1, "{}", run.stderr);
    assert_eq!(run.stderr.matches("warning: ").count(), 2, "{}", run.stderr);
}

#[test]
fn every_command_names_unknown_keys_once() {
    let place = tempfile::tempdir().unwrap();
    let model = misspelt(place.path());
    let (model, out) = (text_of(&model), place.path().join("out.safetensors"));
    let text = place.path().join("text.txt");
    std::fs::write(&text, "A few words, and some more of them.").unwrap();
    let commands: [&[&str]; 5] = [
        &["info", model],
        &["patch", "--model", model, "--text", "a b"],
        &["logits", "--model", model, "--ids", "1,76", "--out", text_of(&out)],
        &["eval", "--model", model, "--data", text_of(&text)],
        &["generate", "--model", model, "--prompt", "a", "-n", "2"],
    ];
    for command in commands {
        assert_warns_once(blt_cpu(command));
    }
}

#[test]
fn training_on_an_entropy_model_with_unknown_keys_says_so() {
    let place = tempfile::tempdir().unwrap();
    let model = misspelt(place.path());
    let (text, config) = (place.path().join("text.txt"), place.path().join("run.toml"));
    std::fs::write(&text, "A few words, and some more of them. ".repeat(40)).unwrap();
    let data = format!("steps = 1\n[data]\nsources = [{:?}]\nbatch_size = 1", text_of(&text));
    let settings = TINY.replace("[data]", &data).replace("patching_mode = \"space\"", "");
    let patching = "[data.patcher_args]\nthreshold = 3.9\nentropy_model_checkpoint_dir";
    std::fs::write(&config, format!("{settings}\n{patching} = {:?}\n", text_of(&model))).unwrap();
    let out = place.path().join("run");
    let start = ["train", text_of(&config), "--out", text_of(&out)];
    assert_warns_once(blt_cpu(&[&start[..], &["--set", "optim.warmup=0"]].concat()));
    // What the run wrote has none of them.
    let saved = out.join("checkpoints/step-0000000001");
    assert_eq!(blt(&["info", text_of(&saved), "--device", "cpu"]).ok().stderr, "");
}

/// A copy of a model with a change to its `config.json`.
fn changed(place: &Path, change: impl Fn(&str) -> String) -> PathBuf {
    let model = misspelt(place);
    let config = model.join("config.json");
    let text = std::fs::read_to_string(fixture("k2_entropy").join("config.json")).unwrap();
    std::fs::write(config, change(&text)).unwrap();
    model
}

/// Numbers that nobody has the memory for are refused before anything is made of them.
#[test]
fn more_positions_than_there_can_be_are_an_error() {
    for count in ["1073741824", "4194305", "18446744073709551615"] {
        let place = tempfile::tempdir().unwrap();
        let known = "\"max_position_embeddings\": ";
        let model = changed(place.path(), |text| {
            let begin = text.find(known).expect("the model says how many there are") + known.len();
            let end = begin + text[begin..].find([',', '\n']).unwrap();
            format!("{}{count}{}", &text[..begin], &text[end..])
        });
        let model = text_of(&model);
        for command in [
            &["info", model][..],
            &["generate", "--model", model, "--prompt", "a", "-n", "1"],
            &["eval", "--model", model, "--data", "Cargo.toml"],
        ] {
            blt_cpu(command).fails(1, &["may be at most", count]);
        }
    }
}

/// What a file calls its things is shown, and does nothing to a terminal.
#[test]
fn names_in_files_send_nothing_to_the_terminal() {
    let place = tempfile::tempdir().unwrap();
    let model = changed(place.path(), |text| {
        text.replacen('{', "{\"\\u001b]0;owned\\u0007\\u009b2J\": 9,", 1)
    });
    let warned = blt_cpu(&["info", text_of(&model)]).ok();
    assert!(warned.stderr.contains("␛]0;owned␇\u{fffd}2J"), "{:?}", warned.stderr);
    // A tensor of such a name, in an error.
    let weights = model.join("model.safetensors");
    let header = "{\"\\u001b[2Jx\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
    std::fs::write(weights, bytes).unwrap();
    let failed = blt_cpu(&["info", text_of(&model)]);
    failed.fails(1, &[]);
    for said in [warned.stderr, failed.stderr] {
        let is_control = |it: char| it.is_control() && it != '\n' && it != '\t';
        assert!(!said.contains(is_control), "{said:?}");
    }
}
