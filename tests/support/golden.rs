//! The two tiny models whose numbers the golden files hold, and the rule that makes their weights.

use super::Session;
use blt_wgpu::blt::config::{
    BltConfig, CrossAttentionConfig, EntropyConfig, HashEmbeddingConfig, ModelConfig,
    PatchingConfig, Pooling, Semantics, TransformerConfig,
};
use blt_wgpu::blt::parameters::reference_layout;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::engine::Engine;

/// `BOS "Hi, BLT!" EOS BOS "abc" EOS`.
pub const GOLDEN_TOKENS: [u32; 15] = [1, 76, 109, 48, 36, 70, 80, 88, 37, 2, 1, 101, 102, 103, 2];

/// How they fall into patches, the virtual one behind the last included.
const GOLDEN_PATCH_LENGTHS: [u32; 8] = [1, 1, 3, 1, 3, 2, 1, 4];

/// Rows of a hash table of [`golden_blt`].
const ROWS_PER_TABLE: usize = 53;

/// Two documents in one row; logits of rows 0..13 are judged by tokens 1..14, the last is not. A
/// row of the entropy model has no patches.
pub fn golden_row(patches: bool) -> Row {
    let mut targets = GOLDEN_TOKENS[1..].to_vec();
    targets.push(0);
    let mut weights = vec![1.0; targets.len()];
    weights[targets.len() - 1] = 0.0;
    let patch_lengths = if patches { GOLDEN_PATCH_LENGTHS.to_vec() } else { Vec::new() };
    Row { ids: GOLDEN_TOKENS.to_vec(), targets, weights, patch_lengths }
}

fn stack(hidden_size: usize, layer_count: usize, intermediate_size: usize) -> TransformerConfig {
    TransformerConfig {
        hidden_size,
        layer_count,
        head_count: 2,
        kv_head_count: 2,
        head_dim: hidden_size / 2,
        intermediate_size,
        rms_norm_eps: 1e-5,
        rope_theta: 500_000.0,
        max_positions: 64,
        window: None,
    }
}

/// A BLT with 71 tensors: k = 2, cross-attention in encoder and in every decoder layer, three hash
/// tables, window 5.
pub fn golden_blt() -> BltConfig {
    let cross = CrossAttentionConfig {
        head_count: 2,
        kv_head_count: 2,
        head_dim: 8,
        all_layers: false,
        window: None,
    };
    BltConfig {
        semantics: Semantics::Reference,
        encoder: TransformerConfig { window: Some(5), ..stack(16, 1, 48) },
        encoder_cross_attention: Some(cross.clone()),
        global: stack(32, 2, 88),
        decoder: TransformerConfig { window: Some(5), ..stack(16, 2, 48) },
        decoder_cross_attention: Some(CrossAttentionConfig { all_layers: true, ..cross }),
        cross_attention_k: 2,
        pooling: vec![Pooling::Max],
        hash: HashEmbeddingConfig {
            group_sizes: vec![3, 4, 5],
            function_count: 1,
            rows_per_table: ROWS_PER_TABLE,
        },
        patching: PatchingConfig::default(),
        patcher: None,
    }
}

/// An entropy model with 21 tensors and window 4.
pub fn golden_entropy() -> EntropyConfig {
    let transformer =
        TransformerConfig { rope_theta: 10_000.0, window: Some(4), ..stack(24, 2, 64) };
    EntropyConfig { transformer, semantics: Semantics::Reference }
}

/// Gives every tensor the weights of the golden models: the tensors in the order of the
/// reference's names, each with its own stretch of a hash.
pub fn write_golden_weights<E: Engine>(session: &Session<'_, E>) {
    let model = &session.model;
    let mut whole: std::collections::BTreeMap<String, Vec<f32>> = model
        .parameters
        .iter()
        .map(|spec| (spec.name.clone(), vec![0.0; spec.rows * spec.cols]))
        .collect();
    let rows_per_table = match &model.config {
        ModelConfig::Blt(config) => config.hash.rows_per_table,
        ModelConfig::Entropy(_) => 1,
    };
    let tensors = reference_layout(&model.parameters, rows_per_table);
    for (index, tensor) in tensors.iter().enumerate() {
        let first = tensor.first_row * tensor.cols;
        let all = whole.get_mut(&tensor.name).expect("the layout is made of the parameters");
        for (element, value) in all[first..first + tensor.rows * tensor.cols].iter_mut().enumerate()
        {
            *value = golden_weight(index, element, tensor.cols, tensor.one_dimensional);
        }
    }
    for (name, values) in &whole {
        session.write(name, values);
    }
}

/// Element `element` of tensor `tensor`, whose last dimension is `cols` long.
fn golden_weight(tensor: usize, element: usize, cols: usize, one_dimensional: bool) -> f32 {
    let step = 0x9E37_79B1_u32.wrapping_mul(tensor as u32 + 1);
    let mut x = (element as u32).wrapping_add(1).wrapping_add(step);
    x ^= x >> 16;
    x = x.wrapping_mul(0x85EB_CA6B);
    x ^= x >> 13;
    x = x.wrapping_mul(0xC2B2_AE35);
    x ^= x >> 16;
    let unit = f64::from(x >> 8) / f64::from(1 << 24) * 2.0 - 1.0;
    let weight = match one_dimensional {
        true => 1.0 + 0.25 * unit,
        false => unit * (3.0 / cols as f64).sqrt(),
    };
    weight as f32
}
