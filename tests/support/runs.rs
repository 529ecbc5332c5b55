//! Runs of tiny models on a few KB of text.

use std::fs;
use std::path::Path;

use blt_wgpu::blt::config::{ReferenceEntropyKeys, ReferenceModelKeys};
use blt_wgpu::random::Random;
use blt_wgpu::train::config::{ModelKeys, RunConfig};

pub const ENTROPY: &str = r#"
    train_entropy_model = true
    [data]
    sources = ["train.jsonl"]
    valid = ["valid.txt"]
    batch_size = 2
    seq_len = 64
    shuffle_buffer = 4
    [entropy_model]
    dim = 32
    n_layers = 1
    n_heads = 2
    max_seqlen = 128
    sliding_window = 16
    multiple_of = 16
"#;

pub const BLT: &str = r#"
    [data]
    sources = ["train.jsonl"]
    valid = ["valid.txt"]
    batch_size = 2
    seq_len = 16
    max_encoder_seq_length = 96
    shuffle_buffer = 4
    [data.patcher_args]
    patching_mode = "space"
    [model]
    dim_global = 32
    dim_local_encoder = 16
    dim_local_decoder = 16
    n_layers_global = 1
    n_layers_local_encoder = 1
    n_layers_local_decoder = 2
    n_heads_global = 2
    n_heads_local_encoder = 2
    n_heads_local_decoder = 2
    cross_attn_encoder = true
    cross_attn_decoder = true
    cross_attn_all_layers_decoder = true
    cross_attn_init_by_pooling = true
    cross_attn_k = 2
    cross_attn_nheads = 2
    encoder_hash_byte_group_size = [3, 4]
    encoder_hash_byte_group_vocab = 61
    encoder_hash_byte_group_nb_functions = 1
    local_attention_window_len = 16
    multiple_of = 16
"#;

/// Sentences of a small grammar: there is something to learn, and little.
pub fn sentences(seed: u64, count: usize) -> Vec<String> {
    let mut random = Random::new(seed, 1);
    let mut pick = |words: &[&'static str]| words[random.below(words.len() as u64) as usize];
    let sentence = |_| {
        let subject = pick(&["the cat", "the old dog", "a bird", "nobody"]);
        let verb = pick(&["sees", "follows", "does not like"]);
        format!("{subject} {verb} {}.", pick(&["the house", "a tree", "them", "the sea"]))
    };
    (0..count).map(sentence).collect()
}

/// A directory with texts to train on and to score.
pub fn texts() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let line = |text: String| serde_json::json!({ "text": text }).to_string() + "\n";
    let train: String = sentences(1, 120).into_iter().map(line).collect();
    fs::write(dir.path().join("train.jsonl"), train).unwrap();
    fs::write(dir.path().join("valid.txt"), sentences(2, 12).join(" ")).unwrap();
    dir
}

/// The run `name` in `dir`, with `--set`s.
pub fn config(base: &str, dir: &Path, name: &str, sets: &[&str]) -> RunConfig {
    let keys = ModelKeys {
        model: ReferenceModelKeys::known_keys(),
        entropy_model: ReferenceEntropyKeys::known_keys(),
    };
    let fixed = ["optim.lr=0.01", "optim.warmup=2", "logging.freq=1", "eval.every=0", "steps=12"];
    let sets: Vec<_> = fixed.iter().chain(sets).collect();
    let (mut config, _) = RunConfig::from_toml(base, &sets, keys).unwrap();
    config.data.root_dir = Some(dir.to_path_buf());
    config.dump_dir = dir.join(name);
    config
}
