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
