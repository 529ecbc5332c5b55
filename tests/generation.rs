//! Greedy texts of `transformers`, generated here: `tests/fixtures/greedy.json`.

mod support;

use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::checkpoint::ModelDirectory;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{ByteEvent, ModelSource, Recompute, Source};
use blt_wgpu::text::EOS_ID;
use pollster::block_on;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Every id is allowed there, and its own ends are read over.
fn sampler() -> Sampler {
    let options = SamplingOptions { allow_special: true, ..SamplingOptions::default() };
    Sampler::new(options, 0).unwrap()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

struct Text {
    name: String,
    prompt: Vec<u32>,
    ids: Vec<u32>,
}

fn texts() -> Vec<Text> {
    let text = std::fs::read_to_string(fixtures().join("greedy.json")).unwrap();
    let texts: Value = serde_json::from_str(&text).unwrap();
    let ids = |value: &Value| -> Vec<u32> {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let texts = texts.as_object().unwrap().iter();
    texts
        .map(|(name, text)| {
            // Nobody's rounding can choose otherwise.
            assert!(text["least_gap"].as_f64().unwrap() > 2e-4, "{name}");
            Text { name: name.clone(), prompt: ids(&text["prompt"]), ids: ids(&text["ids"]) }
        })
        .collect()
}

fn open<E: Engine>(engine: &E, name: &str) -> LoadedDirectory<E> {
    let directory = ModelDirectory::open(fixtures().join(name)).unwrap();
    block_on(LoadedDirectory::load(engine, &directory, false)).unwrap()
}

#[track_caller]
fn check(text: &Text, source: &mut impl Source, count: usize) {
    source.begin(&text.prompt, 0).unwrap();
    let mut ids = text.prompt.clone();
    while ids.len() < text.prompt.len() + count {
        ids.push(block_on(source.step()).unwrap().id);
        // Its end is not ours: we stop there, and go on with the text as a prompt.
        if ids.last() == Some(&EOS_ID) {
            source.begin(&ids, 0).unwrap();
        }
    }
    assert_eq!(ids[text.prompt.len()..], text.ids[..count], "{}", text.name);
}

/// What of a configuration makes it another shape: sizes of its four stacks, cross-attention,
/// hashes, windows, and whether entropies cut.
fn shape_of(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures().join(name).join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let of_stack = |stack: &str| {
        let keys = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"];
        Value::from(keys.map(|key| config[stack][key].clone()).to_vec())
    };
    let stacks = ["encoder_config", "global_config", "decoder_config"].map(of_stack);
    let keys = [
        "cross_attn_k",
        "encoder_hash_byte_group_size",
        "encoder_hash_byte_group_nb_functions",
        "local_attention_window_len",
        "patch_in_forward",
    ];
    stacks.into_iter().chain(keys.map(|key| config[key].clone())).collect()
}

/// Seven different models: one to four vectors a patch, one to three hash functions, windows and
/// none, and both rules of patches that `transformers` generates by.
#[test]
fn the_models_of_greedy_texts_are_of_different_shapes() {
    let shapes: Vec<_> = texts().iter().map(|text| shape_of(&text.name)).collect();
    assert_eq!(shapes.len(), 7);
    for (index, shape) in shapes.iter().enumerate() {
        assert!(!shape.contains(&Value::Null) || shape[6] == Value::Null, "{shape:?}");
        for other in &shapes[index + 1..] {
            let differing = shape.iter().zip(other).filter(|(a, b)| a != b).count();
            assert!(differing >= 3, "{shape:?} and {other:?} differ in {differing} ways");
        }
    }
    let all = |at: usize| shapes.iter().map(|shape| shape[at].to_string()).collect::<Vec<_>>();
    let has = |at: usize, values: &[&str]| {
        values.iter().for_each(|value| assert!(all(at).iter().any(|it| it == value), "{value}"));
    };
    has(3, &["1", "2", "3", "4"]);
    has(5, &["1", "2", "3"]);
    has(6, &["512", "7", "11", "null"]);
    has(7, &["true", "false"]);
}

#[test]
fn greedy_texts_are_those_of_transformers() {
    let engine = HostEngine::<f32>::default();
    let texts = texts();
    assert_eq!(texts.len(), 7);
    for text in &texts {
        assert_eq!(text.ids.len(), 200, "{}", text.name);
        let directory = open(&engine, &text.name);
        let mut source = block_on(ModelSource::new(&engine, &directory, sampler())).unwrap();
        assert!(matches!(source, ModelSource::Cached(_)));
        check(text, &mut source, 200);
        let mut source = Recompute::new(&engine, &directory, sampler()).unwrap();
        check(text, &mut source, 40);
    }
}

/// What a model made of a byte is there for who asks, and asking changes no byte.
#[test]
fn predictions_are_kept_on_request() {
    let engine = HostEngine::<f32>::default();
    let text = &texts()[0];
    let directory = open(&engine, &text.name);
    let events = |keeps: bool| {
        let mut source = block_on(ModelSource::new(&engine, &directory, sampler())).unwrap();
        source.keep_logits(keeps);
        source.begin(&text.prompt, 0).unwrap();
        (0..20).map(|_| ByteEvent::of(&block_on(source.step()).unwrap())).collect::<Vec<_>>()
    };
    let (bare, kept) = (events(false), events(true));
    for (index, (bare, kept)) in bare.iter().zip(&kept).enumerate() {
        assert_eq!((bare.id, bare.patch_entropy), (kept.id, kept.patch_entropy));
        assert_eq!((bare.probability, bare.entropy), (None, None), "byte {index}");
        // The likeliest of 260 by what a model knows.
        assert!(kept.probability.unwrap() > 1.0 / 260.0, "byte {index}");
        assert!(kept.entropy.unwrap() > 0.0, "byte {index}");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn greedy_texts_of_a_gpu_are_those_of_transformers() {
    let Some(engine) = support::gpu_engine("generation") else { return };
    for text in texts() {
        let directory = open(&engine, &text.name);
        let mut source = block_on(ModelSource::new(&engine, &directory, sampler())).unwrap();
        check(&text, &mut source, 40);
    }
}
