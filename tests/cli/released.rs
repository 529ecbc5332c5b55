//! A model with the layers of the released 1B at a small width, through every layout and type.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{Tensors, blt, blt_cpu, text_of};

/// `benches/configs/released-1b.toml` with other widths and fewer rows: the same layers, heads,
/// hashes and rules, and so the same names.
fn narrow(place: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = root.join("benches/configs/released-1b.toml");
    let out = place.join("narrow");
    let sizes = [
        "model.dim_local_encoder=32",
        "model.dim_local_decoder=32",
        "model.dim_global=64",
        "model.multiple_of=16",
        "model.encoder_hash_byte_group_vocab=67",
        "entropy_model.dim=48",
        "entropy_model.multiple_of=16",
    ];
    let mut words = vec!["init", text_of(&config), "--out", text_of(&out), "--seed", "1"];
    words.extend(["--dtype", "bf16"]);
    sizes.iter().for_each(|size| words.extend(["--set", *size]));
    blt(&words).ok();
    out
}

/// A model beside another, converted from it.
fn convert(source: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let target = source.with_file_name(name);
    blt(&[&["convert", text_of(source), text_of(&target)], flags].concat()).ok();
    target
}

/// What the model says of a text, its patches included.
fn computed(model: &Path) -> Tensors {
    let out = model.with_extension("out");
    let ids = "1,76,105,112,112,115,48,36,123,115,118,112,104,37,2";
    let words = ["logits", "--model", text_of(model), "--ids", ids, "--out", text_of(&out)];
    blt_cpu(&words).ok();
    Tensors::open(&out)
}

#[track_caller]
fn the_same(model: &Path, expected: &Tensors) {
    let got = computed(model);
    for name in ["logits", "entropies", "patch_lengths"] {
        assert!(got.get(name) == expected.get(name), "{name} of {}", model.display());
    }
}

/// Layers and tensors of the released model, to their number; `released-1b.toml` says how many
/// parameters these have at their width.
#[test]
fn it_has_the_tensors_of_the_released_model() {
    let place = tempfile::tempdir().unwrap();
    let model = narrow(place.path());
    let said = blt_cpu(&["info", text_of(&model), "--json"]).json();
    let tensors = said["model"]["tensors"].as_array().unwrap();
    let names: Vec<_> = tensors.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 510);
    let layers = |stack: &str| {
        let norm = |name: &&&str| name.ends_with(".input_layernorm.weight");
        let of_stack = names.iter().filter(|name| name.contains(stack));
        of_stack.filter(norm).count()
    };
    let stacks = ["local_encoder.", "global_transformer.", "local_decoder.", "patcher."];
    assert_eq!(stacks.map(layers), [1, 25, 9, 14]);
    let crossings = names.iter().filter(|name| name.contains("cross_attn_layers."));
    // One in the encoder and one a layer in the decoder, of six tensors each.
    assert_eq!(crossings.count(), 10 * 6);
}

#[test]
fn it_keeps_its_bits_through_every_layout_and_type_that_holds_them() {
    let place = tempfile::tempdir().unwrap();
    let source = narrow(place.path());
    let expected = computed(&source);
    let bytes = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
    // bf16, which f32 holds, in every order of layouts.
    let wide = convert(&source, "wide", &["--dtype", "f32"]);
    the_same(&wide, &expected);
    let wide_shards = convert(&wide, "wide-shards", &["--shard-size", "200KB"]);
    assert!(!wide_shards.join("model.safetensors").exists());
    the_same(&wide_shards, &expected);
    let wide_original = convert(&wide_shards, "wide-original", &["--to", "original"]);
    the_same(&wide_original, &expected);
    let shards = convert(&wide_original, "shards", &["--dtype", "bf16", "--shard-size", "100KB"]);
    the_same(&shards, &expected);
    let original = convert(&shards, "original", &["--to", "original"]);
    the_same(&original, &expected);
    let back = convert(&original, "back", &[]);
    the_same(&back, &expected);
    assert!(bytes(&back) == bytes(&source), "the same tensors give the same file");

    // f16 rounds once: from there on it keeps its bits too, in f32 as well.
    let half = convert(&source, "half", &["--dtype", "f16"]);
    let rounded = computed(&half);
    let near = rounded.get("logits").1.into_iter().zip(expected.get("logits").1);
    assert!(near.clone().all(|(a, b)| (a - b).abs() < 1e-3) && near.into_iter().count() > 1000);
    let half_original = convert(&half, "half-original", &["--to", "original"]);
    the_same(&half_original, &rounded);
    let half_shards = convert(&half_original, "half-shards", &["--shard-size", "100KB"]);
    the_same(&half_shards, &rounded);
    let half_wide = convert(&half_shards, "half-wide", &["--dtype", "f32"]);
    the_same(&half_wide, &rounded);
    let half_back = convert(&half_wide, "half-back", &["--dtype", "f16"]);
    assert!(bytes(&half_back) == bytes(&half), "the same tensors give the same file");
}

/// Blocks round once as well: what they mean is a model in f32 with the same numbers.
#[test]
fn blocks_mean_the_numbers_that_they_give_back() {
    let place = tempfile::tempdir().unwrap();
    let source = narrow(place.path());
    for format in ["int8", "q4"] {
        let blocks = convert(&source, format, &["--dtype", format]);
        let config = fs::read_to_string(blocks.join("config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["quantization_config"]["format"], format);
        let expected = computed(&blocks);
        assert!(expected.get("logits") != computed(&source).get("logits"), "{format} rounds");
        let name = format!("{format}-wide");
        let wide = convert(&blocks, &name, &["--dtype", "f32"]);
        the_same(&wide, &expected);
        let name = format!("{format}-original");
        let original = convert(&blocks, &name, &["--to", "original", "--dtype", "f32"]);
        the_same(&original, &expected);
        // Again from what they give back, they are the same blocks.
        let again = convert(&wide, &format!("{format}-again"), &["--dtype", format]);
        the_same(&again, &expected);
        let shards = ["--dtype", format, "--shard-size", "100KB"];
        the_same(&convert(&source, &format!("{format}-shards"), &shards), &expected);
    }
}
