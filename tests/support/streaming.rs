//! Small models of every shape, and texts that they generate.

use super::{Session, golden_blt, golden_entropy, write_golden_weights};
use blt_wgpu::blt::config::{
    BltConfig, EntropyConfig, HashEmbeddingConfig, ModelConfig, PatchingMode, Pooling, Semantics,
};
use blt_wgpu::blt::{LoadedDirectory, LoadedModel};
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{Added, StreamId, Streams};
use pollster::block_on;

/// A model with the golden weights on an engine.
pub fn loaded<E: Engine>(engine: &E, config: ModelConfig) -> LoadedModel<E> {
    let model = block_on(LoadedModel::create(engine, config, false)).unwrap();
    let session = Session { engine, model };
    write_golden_weights(&session);
    session.model
}

/// A BLT with its entropy model.
pub fn directory<E: Engine>(engine: &E, mut config: BltConfig) -> LoadedDirectory<E> {
    let entropy = entropy();
    config.attach_patcher(entropy.clone());
    let entropy = EntropyConfig { semantics: config.semantics, ..entropy };
    LoadedDirectory {
        model: loaded(engine, ModelConfig::Blt(config)),
        patcher: Some(loaded(engine, ModelConfig::Entropy(entropy))),
    }
}

pub const POSITIONS: usize = 400;

pub fn entropy() -> EntropyConfig {
    let mut config = golden_entropy();
    config.transformer.max_positions = POSITIONS;
    config
}

/// The golden model with more positions; its patches are 2 to 3 bytes long.
pub fn blt(mode: PatchingMode) -> BltConfig {
    let mut config = golden_blt();
    for stack in [&mut config.encoder, &mut config.global, &mut config.decoder] {
        stack.max_positions = POSITIONS;
    }
    config.patching.mode = mode;
    config.patching.threshold = match mode {
        PatchingMode::Entropy => 5.1,
        _ => 0.02,
    };
    config.patching.threshold_add = (mode == PatchingMode::Combined).then_some(0.01);
    config.patching.patch_size = 3;
    config
}

pub fn greedy() -> Sampler {
    let options = SamplingOptions { allow_special: true, ..SamplingOptions::default() };
    Sampler::new(options, 0).unwrap()
}

pub fn ids(text: &str) -> Vec<u32> {
    blt_wgpu::text::encode(text.as_bytes(), true, false)
}

/// Goes on for so many ids.
pub fn generate<E: Engine>(streams: &mut Streams<'_, E>, id: StreamId, count: usize) -> Vec<Added> {
    let mut added = Vec::new();
    while added.len() < count && !streams.has_ended(id) {
        for (stream, step) in block_on(streams.step()).unwrap() {
            if stream == id {
                added.push(step.unwrap());
            }
        }
    }
    added
}

/// Models that differ in what they keep, and how they cut.
pub fn shapes() -> Vec<(&'static str, BltConfig)> {
    let of = |change: fn(&mut BltConfig)| {
        let mut config = blt(PatchingMode::Entropy);
        change(&mut config);
        config
    };
    vec![
        ("as transformers computes", of(|it| it.semantics = Semantics::Transformers)),
        ("no windows", of(|it| (it.encoder.window, it.decoder.window) = (None, None))),
        (
            "no windows, other positions",
            of(|it| {
                (it.encoder.window, it.decoder.window) = (None, None);
                it.decoder.max_positions += 50;
            }),
        ),
        (
            "windows of more than half of the positions",
            of(|it| {
                for stack in [&mut it.encoder, &mut it.decoder] {
                    (stack.window, stack.max_positions) = (Some(60), 110);
                }
            }),
        ),
        (
            "wide cross-attention",
            of(|it| {
                it.encoder_cross_attention.as_mut().unwrap().window = Some(3);
                it.decoder_cross_attention.as_mut().unwrap().window = Some(2);
            }),
        ),
        (
            "cross-attention at every layer of the encoder",
            of(|it| {
                it.encoder.layer_count = 3;
                it.encoder_cross_attention.as_mut().unwrap().all_layers = true;
            }),
        ),
        (
            "the same, pooled at every layer",
            of(|it| {
                it.semantics = Semantics::Transformers;
                it.encoder.layer_count = 2;
                it.encoder_cross_attention.as_mut().unwrap().all_layers = true;
            }),
        ),
        (
            "cross-attention at one layer of the decoder",
            of(|it| it.decoder_cross_attention.as_mut().unwrap().all_layers = false),
        ),
        (
            "no cross-attention",
            of(|it| {
                (it.encoder_cross_attention, it.decoder_cross_attention) = (None, None);
                it.pooling = vec![Pooling::Mean, Pooling::Min];
            }),
        ),
        (
            "states side by side",
            of(|it| {
                (it.encoder_cross_attention, it.decoder_cross_attention) = (None, None);
                it.pooling = Vec::new();
            }),
        ),
        ("no hashes", of(|it| it.hash = HashEmbeddingConfig::none())),
        ("short patches", of(|it| it.patching.max_patch_length = Some(2))),
        (
            "shared keys",
            of(|it| {
                for stack in [&mut it.encoder, &mut it.global, &mut it.decoder] {
                    stack.kv_head_count = 1;
                }
            }),
        ),
    ]
}
