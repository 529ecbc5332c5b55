//! `blt logits`, and models that are damaged.

use serde_json::Value;

use crate::program::{Tensors, assert_close, blt_cpu, fixture, joined, text_of};

#[track_caller]
fn check_logits(name: &str, with_lengths: bool) {
    let model = fixture(name);
    let expected = Tensors::open(&model.join("expected.safetensors"));
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.safetensors");
    let ids = joined(&expected.ids());
    let mut arguments = vec!["logits", "--model", text_of(&model), "--ids", &ids, "--grads"];
    arguments.extend(["--out", text_of(&out)]);
    let ours = expected.get("patch_lengths_ours");
    let given = joined(&ours.1.iter().map(|&it| it as u64).collect::<Vec<_>>());
    if with_lengths {
        arguments.extend(["--patch-lengths", &given]);
    }
    let done = blt_cpu(&arguments).ok();
    assert!(done.stdout.is_empty());
    let found = Tensors::open(&out);
    assert_close("logits", &found.get("logits"), &expected.get("logits"), 2e-5);
    assert_eq!(found.get("patch_lengths"), ours);
    assert_close("loss", &found.get("loss"), &expected.get("loss"), 2e-5);
    let grads = |names: Vec<String>| -> Vec<String> {
        names.into_iter().filter(|name| name.starts_with("grad.")).collect()
    };
    assert_eq!(grads(found.names()), grads(expected.names()));
    for name in grads(found.names()) {
        assert_close(&name, &found.get(&name), &expected.get(&name), 2e-5);
    }
    let has = |tensors: &Tensors| tensors.names().contains(&"entropies".to_owned());
    if has(&expected) {
        assert_close("entropies", &found.get("entropies"), &expected.get("entropies"), 2e-5);
    }
}

#[test]
fn logits_of_a_model_with_patcher_are_those_of_transformers() {
    check_logits("k2_entropy", false);
}

#[test]
fn logits_without_patcher_make_every_byte_a_patch() {
    check_logits("k1_ones", false);
}

#[test]
fn logits_with_given_lengths() {
    check_logits("k3_functions", true);
}

#[test]
fn logits_accepts_lengths_that_sum_to_the_ids() {
    let model = fixture("k1_ones");
    let place = tempfile::tempdir().unwrap();
    let lengths = |given: &str| {
        let out = place.path().join("out.safetensors");
        let ids = ["--ids", "1,76,105,112", "--patch-lengths", given];
        let files = ["--model", text_of(&model), "--out", text_of(&out)];
        blt_cpu(&[&["logits"], &ids[..], &files[..]].concat()).ok();
        Tensors::open(&out).get("patch_lengths")
    };
    assert_eq!(lengths("1,1,3"), (vec![3], vec![1.0, 1.0, 3.0]));
    assert_eq!(lengths("1,1,2"), (vec![3], vec![1.0, 1.0, 3.0]));
    assert_eq!(lengths("1,3,0"), (vec![3], vec![1.0, 3.0, 1.0]));
}

#[test]
fn logits_names_what_is_wrong_and_leaves_no_file() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.safetensors");
    let model = fixture("k1_ones");
    let logits = |flags: &[&str]| {
        let files = ["--model", text_of(&model), "--out", text_of(&out)];
        let done = blt_cpu(&[&["logits"], &files[..], flags].concat());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        done
    };
    let ids = ["--ids", "1,76,105,112"];
    let lengths = |lengths| logits(&[&ids[..], &["--patch-lengths", lengths]].concat());
    lengths("1,1,1").fails(2, &["--patch-lengths", "sum of 5 (ids + 1) or 4, got 3"]);
    lengths("1,1,4").fails(2, &["got 6"]);
    lengths("2,3").fails(2, &["--patch-lengths", "expected 1 as the first, got 2"]);
    lengths("1,0,4").fails(2, &["--patch-lengths", "at 1, got 0"]);
    logits(&["--ids", "1,260"]).fails(2, &["--ids", "260"]);
    logits(&["--ids", ""]).fails(2, &["--ids", "at least one id"]);
    logits(&["--ids", "1", "--grads"]).fails(2, &["--ids", "at least 2"]);
    let config = std::fs::read(model.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let limit = config["encoder_config"]["max_position_embeddings"].as_u64().unwrap() as usize;
    let long = joined(&vec![100; limit + 1]);
    logits(&["--ids", &long]).fails(1, &["positions", "available", "hint: "]);
}

#[test]
fn damaged_models_are_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("model");
    let restore = || {
        std::fs::create_dir_all(&copy).unwrap();
        for name in ["config.json", "generation_config.json", "model.safetensors"] {
            std::fs::copy(fixture("k1_ones").join(name), copy.join(name)).unwrap();
        }
    };
    let open = || blt_cpu(&["generate", "--model", text_of(&copy), "--prompt", "a", "-n", "1"]);
    open().fails(1, &["no such directory", "hint: "]);
    restore();
    open().ok();
    let weights = copy.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    for length in [0, 5, 1000, bytes.len() - 1] {
        std::fs::write(&weights, &bytes[..length]).unwrap();
        open().fails(1, &["model.safetensors"]);
    }
    std::fs::remove_file(&weights).unwrap();
    open().fails(1, &["model.safetensors"]);
    restore();
    let config = std::fs::read_to_string(copy.join("config.json")).unwrap();
    for (from, to, part) in [
        ("\"model_type\": \"blt\"", "\"model_type\": \"llama\"", "model_type"),
        ("{", "", "config.json"),
    ] {
        assert!(config.contains(from));
        std::fs::write(copy.join("config.json"), config.replacen(from, to, 1)).unwrap();
        open().fails(1, &[part]);
    }
    // A number that is none, in the last tensor.
    restore();
    let mut bytes = std::fs::read(&weights).unwrap();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    open().fails(1, &["finite"]);
}
