//! Models that are damaged, or made to do harm: what the program says of each.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::program::{blt, blt_cpu, fixture, text_of};

/// Header and data of a file of weights.
struct Weights {
    header: Value,
    data: Vec<u8>,
}

impl Weights {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..end]).unwrap();
        Self { header, data: bytes[end..].to_vec() }
    }

    fn write(&self, path: &Path) {
        let header = self.header.to_string().into_bytes();
        let length = (header.len() as u64).to_le_bytes();
        fs::write(path, [&length[..], &header, &self.data].concat()).unwrap();
    }
}

/// A copy of a model whose file of weights went through `change`.
fn changed(place: &Path, change: impl FnOnce(&mut Weights)) -> PathBuf {
    let (source, model) = (fixture("k2_entropy"), place.join("model"));
    fs::create_dir_all(&model).unwrap();
    fs::copy(source.join("config.json"), model.join("config.json")).unwrap();
    let mut weights = Weights::read(&source.join("model.safetensors"));
    change(&mut weights);
    weights.write(&model.join("model.safetensors"));
    model
}

/// Every command that opens a model says this, and goes no further.
#[track_caller]
fn refused(model: &Path, parts: &[&str]) {
    let (model, target) = (text_of(model), model.with_file_name("target"));
    blt_cpu(&["info", model]).fails(1, parts);
    blt_cpu(&["generate", "--model", model, "--prompt", "a", "-n", "1"]).fails(1, parts);
    blt(&["convert", model, text_of(&target)]).fails(1, parts);
    assert!(!target.exists());
}

/// Two tensors that are neighbours in the file and of one shape.
const FIRST: &str = "model.local_decoder.layers.0.self_attn.k_proj.weight";

#[test]
fn offsets_that_overlap_or_leave_the_file_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let moved = |by: i64| {
        changed(place.path(), |weights| {
            for end in weights.header[FIRST]["data_offsets"].as_array_mut().unwrap() {
                *end = (end.as_i64().unwrap() + by).into();
            }
        })
    };
    let place_and_advice = ["model.safetensors: ", "invalid offset for tensor", "hint: ", "again"];
    // Into the tensor before it, and away from it.
    refused(&moved(-4), &place_and_advice);
    refused(&moved(4), &place_and_advice);
    refused(&moved(1 << 40), &place_and_advice);
    let far = changed(place.path(), |weights| {
        weights.header[FIRST]["data_offsets"] = json!([u64::MAX - 1023, u64::MAX]);
    });
    refused(&far, &place_and_advice);
    let shape = changed(place.path(), |weights| {
        weights.header[FIRST]["shape"] = json!([u64::MAX, u64::MAX]);
    });
    refused(&shape, &["model.safetensors: ", "overflow", "hint: "]);
    let short = changed(place.path(), |weights| weights.data.truncate(weights.data.len() - 1));
    refused(&short, &["model.safetensors: ", "not a whole safetensors file", "cut off", "again"]);
}

#[test]
fn lengths_of_headers_that_no_file_has_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let model = changed(place.path(), |_| {});
    let path = model.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    for length in [1u64 << 63, u64::MAX, 1 << 40, bytes.len() as u64] {
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        refused(&model, &["model.safetensors: ", "header", "hint: ", "again"]);
    }
}

#[test]
fn a_shard_that_is_missing_is_named() {
    let place = tempfile::tempdir().unwrap();
    let shards = place.path().join("model");
    let source = fixture("k2_entropy");
    let words = ["convert", text_of(&source), text_of(&shards)];
    blt(&[&words[..], &["--shard-size", "40KB"]].concat()).ok();
    blt_cpu(&["info", text_of(&shards)]).ok();
    let second = shards.join("model-00002-of-00004.safetensors");
    let bytes = fs::read(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let said = ["model-00002-of-00004.safetensors", "shard", "missing", "hint: ", "download it"];
    refused(&shards, &said);
    // One that is there and cut off.
    fs::write(&second, &bytes[..bytes.len() - 1]).unwrap();
    refused(&shards, &["model-00002-of-00004.safetensors", "not a whole", "hint: "]);
}

#[test]
fn weights_that_are_no_numbers_are_named_on_the_way_to_a_device() {
    let place = tempfile::tempdir().unwrap();
    for (value, name) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let model = changed(place.path(), |weights| {
            let begin = weights.header[FIRST]["data_offsets"][0].as_u64().unwrap() as usize;
            weights.data[begin + 8..begin + 12].copy_from_slice(&value.to_le_bytes());
        });
        let expected = format!("{FIRST}: expected finite numbers, got {name} at element 2");
        let model = text_of(&model);
        for command in [
            vec!["generate", "--model", model, "--prompt", "a", "-n", "1"],
            vec!["logits", "--model", model, "--ids", "1", "--out", "no.safetensors"],
        ] {
            blt_cpu(&command).fails(1, &[&expected]);
        }
    }
}
