//! `blt init`, `blt info`, and configurations that contradict themselves.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{blt, blt_cpu, fixture, numbers, text_of};

/// A configuration of some thousand parameters.
pub const TINY: &str = "
seed = 3
[data]
seq_len = 64
max_encoder_seq_length = 128
[model]
dim_token = 16
dim_global = 32
dim_local_encoder = 16
dim_local_decoder = 16
n_layers_global = 2
n_layers_local_encoder = 1
n_layers_local_decoder = 2
n_heads_global = 2
n_heads_local_encoder = 2
n_heads_local_decoder = 2
cross_attn_encoder = true
cross_attn_decoder = true
cross_attn_k = 2
cross_attn_nheads = 2
patching_mode = \"space\"
encoder_hash_byte_group_size = [3, 4]
encoder_hash_byte_group_vocab = 53
encoder_hash_byte_group_nb_functions = 1
multiple_of = 8
local_attention_window_len = 8
";

/// A fresh model of that configuration, cut by spaces.
pub fn tiny(place: &Path) -> PathBuf {
    let (config, out) = (place.join("tiny.toml"), place.join("tiny"));
    std::fs::write(&config, TINY).unwrap();
    blt(&["init", text_of(&config), "--out", text_of(&out), "--seed", "1"]).ok();
    out
}

#[test]
fn init_makes_a_model_that_every_command_opens() {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("tiny.toml");
    std::fs::write(&config, TINY).unwrap();
    let make = |name: &str, seed: &str| {
        let out = place.path().join(name);
        blt(&["init", text_of(&config), "--out", text_of(&out), "--seed", seed]).ok();
        out
    };
    let (one, same, other) = (make("one", "1"), make("same", "1"), make("other", "2"));
    let weights = |path: &Path| std::fs::read(path.join("model.safetensors")).unwrap();
    assert_eq!(weights(&one), weights(&same));
    assert_ne!(weights(&one), weights(&other));
    let card = blt_cpu(&["info", text_of(&one), "--json"]).json();
    let model = &card["model"];
    assert_eq!(model["model_type"], "blt_wgpu", "transformers knows no space patching");
    assert_eq!(model["semantics"], "transformers");
    assert!(model["transformers_difference"].as_str().unwrap().contains("space"));
    let shapes = model["tensors"].as_array().unwrap().iter().map(|it| numbers(&it["shape"]));
    let count: u64 = shapes.map(|shape| shape.iter().product::<u64>()).sum();
    assert_eq!(model["parameter_count"].as_u64(), Some(count));
    let parts = model["parameters_by_part"].as_object().unwrap();
    assert_eq!(parts.values().map(|it| it.as_u64().unwrap()).sum::<u64>(), count);
    let calls = |card: &Value, kernel: &str| {
        let rows = card["kernels"].as_array().unwrap();
        let calls = &rows.iter().find(|it| it["name"] == kernel).unwrap()["calls"];
        ["forward", "training", "patching"].map(|program| calls[program].as_u64().unwrap())
    };
    // Self-attention in 1 + 2 + 2 layers, one cross-attention out of the encoder, one in each of
    // the decoder's two layers or in its first; patches begin at spaces, so nothing is scored.
    let [forward, training, patching] = calls(&card, "attention");
    assert!((7..=8).contains(&forward) && training == forward && patching == 0);
    assert_eq!(calls(&card, "attention_query_grad"), [0, forward, 0]);
    assert_eq!(calls(&card, "attention_row"), [0; 3]);
    assert_eq!(calls(&card, "update_decision"), [0, 1, 0]);
    // The entropy model of this one has two layers, scored in fixed order.
    let scored = blt_cpu(&["info", text_of(&fixture("k2_entropy")), "--json"]).json();
    assert_eq!(calls(&scored, "attention_row"), [0, 0, 2]);
    let text = blt_cpu(&["info", text_of(&one)]).ok();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("latent transformer") && text.contains("(calls: training step 1)"));
    blt_cpu(&["generate", "--model", text_of(&one), "--prompt", "a b", "-n", "3"]).ok();
    let refused = blt(&["init", text_of(&config), "--out", text_of(&one), "--seed", "9"]);
    refused.fails(1, &["not empty", "hint: "]);
    assert_eq!(weights(&one), weights(&same));
}

#[test]
fn keys_without_effect_get_one_warning() {
    let place = tempfile::tempdir().unwrap();
    let (config, out) = (place.path().join("config.toml"), place.path().join("out"));
    std::fs::write(&config, TINY).unwrap();
    let start = ["init", text_of(&config), "--out", text_of(&out), "--seed", "1"];
    let keys = ["model.norm_type=1", "model.recompute_x=true", "data.load_async=true"];
    let flags: Vec<&str> = keys.iter().flat_map(|key| ["--set", key]).collect();
    let run = blt(&[&start[..], &flags].concat()).ok();
    let expected = "warning: keys without effect here: data.load_async, model.norm_type, \
                    model.recompute_x\n";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    assert_eq!(run.stderr.matches("warning: ").count(), 1, "{}", run.stderr);
}

#[test]
fn configurations_that_contradict_are_refused_by_key() {
    let place = tempfile::tempdir().unwrap();
    let (config, out) = (place.path().join("bad.toml"), place.path().join("out"));
    let init = |text: &str, flags: &[&str]| {
        std::fs::write(&config, text).unwrap();
        let start = ["init", text_of(&config), "--out", text_of(&out), "--seed", "1"];
        let done = blt(&[&start, flags].concat());
        assert!(!out.exists(), "nothing is written");
        done
    };
    init("[model]\ndim_globl = 32", &[]).fails(1, &["dim_globl", "dim_global"]);
    init("[modle]\n", &[]).fails(1, &["modle", "model"]);
    init(TINY, &["--set", "model.dropout=0.1"]).fails(2, &["dropout"]);
    init(TINY, &["--set", "model.n_heads_global=3"]).fails(2, &["3"]);
    init(TINY, &["--set", "model.patching_mode=\"\""]).fails(2, &["patching_mode"]);
    init(TINY, &["--set", "model.share_encoder_decoder_emb=true"]).fails(2, &["share_encoder"]);
    init("not toml", &[]).fails(1, &["bad.toml"]);
    let arguments = ["init", "no.toml", "--out", text_of(&out), "--seed", "1"];
    blt(&arguments).fails(1, &["no.toml"]);
    let train = |flags: &[&str]| blt_cpu(&[&["train", text_of(&config)], flags].concat());
    std::fs::write(&config, "[optim]\nlearning_rate = 1.0\n").unwrap();
    train(&[]).fails(1, &["optim.learning_rate"]);
    std::fs::write(&config, TINY).unwrap();
    train(&[]).fails(1, &["data.sources", "hint: "]);
    train(&["--set", "optim.lr=fast"]).fails(2, &["--set: optim.lr", "hint: "]);
}

#[test]
fn an_entropy_model_can_be_made_alone_or_inside() {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("config.toml");
    let entropy = "[entropy_model]\ndim = 16\nn_layers = 1\nn_heads = 2\nmax_seqlen = 64\n\
                   sliding_window = 16\nmultiple_of = 8\n";
    let make = |name: &str, text: &str| {
        std::fs::write(&config, text).unwrap();
        let out = place.path().join(name);
        blt(&["init", text_of(&config), "--out", text_of(&out), "--seed", "1"]).ok();
        out
    };
    let alone = make("alone", entropy);
    let card = blt_cpu(&["info", text_of(&alone), "--json"]).json();
    assert_eq!(card["model"]["model_type"], "blt_patcher");
    let scored = |model: &Path| {
        let start = ["patch", "--mode", "entropy", "--json", "--text", "Hello"];
        blt_cpu(&[&start[..], &["--model", text_of(model)]].concat()).json()
    };
    assert_eq!(scored(&alone)["entropies"].as_array().unwrap().len(), 7);
    let inside = make("inside", &format!("{TINY}\n{entropy}"));
    assert_eq!(scored(&inside)["entropies"].as_array().unwrap().len(), 7);
    // A lone entropy model is evaluated and generates too.
    let file = place.path().join("text.txt");
    std::fs::write(&file, "some text").unwrap();
    let found =
        blt_cpu(&["eval", "--model", text_of(&alone), "--data", text_of(&file), "--json"]).json();
    assert_eq!((found["bytes"].as_u64(), found["bytes_per_patch"].as_f64()), (Some(10), Some(1.0)));
    blt_cpu(&["generate", "--model", text_of(&alone), "--prompt", "a", "-n", "2"]).ok();
}
