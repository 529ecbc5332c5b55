//! A model directory written here is the one that was opened in `transformers`, or refused there
//! (`tests/fixtures/README.md`, "The other direction").

use std::path::Path;

use serde_json::Value;

use crate::program::{blt, fixture, text_of};

/// Types and shapes of the tensors of a safetensors file, by name, a line each.
fn tensors_of(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut header = header.as_object().unwrap().clone();
    // `transformers` refuses weights without it.
    assert_eq!(header.remove("__metadata__").unwrap()["format"], "pt");
    let mut lines: Vec<_> = header
        .iter()
        .map(|(name, tensor)| format!("{name} {} {}", tensor["dtype"], tensor["shape"]))
        .collect();
    lines.sort();
    lines.join("\n") + "\n"
}

/// What `blt init` writes for a recipe must be what lies in the folder of its name.
fn check(recipe: &str) {
    let place = tempfile::tempdir().unwrap();
    let (written, expected) = (place.path().join(recipe), fixture("written").join(recipe));
    let config = fixture("written").join(format!("{recipe}.toml"));
    blt(&["init", text_of(&config), "--out", text_of(&written), "--seed", "5"]).ok();
    let tensors = tensors_of(&written.join("model.safetensors"));
    std::fs::write(written.join("tensors.txt"), tensors).unwrap();
    for name in ["config.json", "generation_config.json", "tensors.txt"] {
        let got = std::fs::read_to_string(written.join(name)).unwrap();
        if std::env::var_os("BLT_WRITE_FIXTURES").is_some() {
            std::fs::create_dir_all(&expected).unwrap();
            std::fs::write(expected.join(name), &got).unwrap();
        }
        let wanted = std::fs::read_to_string(expected.join(name)).unwrap().replace('\r', "");
        assert!(
            got == wanted,
            "{recipe}: {name} is no longer what transformers opened: verify it anew, see \
             tests/fixtures/README.md\n{got}"
        );
    }
}

#[test]
fn a_model_with_its_entropy_model_is_written_as_transformers_opened_it() {
    check("with_patcher");
}

#[test]
fn a_model_that_crosses_in_all_layers_is_written_as_transformers_opened_it() {
    check("all_layers");
}

#[test]
fn a_model_that_transformers_does_not_know_is_written_as_it_was_refused() {
    check("spaces");
    let config = fixture("written").join("spaces/config.json");
    let config: Value = serde_json::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    assert_eq!(config["model_type"], "blt_wgpu");
    let reason = config["patching_batch_size"].as_str().expect("a reason instead of a number");
    assert!(reason.contains("patching mode \"space\""), "{reason}");
}
