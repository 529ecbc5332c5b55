//! A Llama-style block: RMSNorm, self-attention, RMSNorm, SwiGLU (spec §5).

use super::config::TransformerConfig;
use crate::error::Result;
use crate::graph::{AttentionShape, Graph, Reach, TensorId};

/// What the self-attention of a stack reads besides the residual stream.
#[derive(Clone, Copy, Debug)]
pub struct SelfAttentionInputs {
    /// Index of every position in its row [positions, 1].
    pub position: TensorId,
    /// Keys that every query sees [positions, 2].
    pub key_range: TensorId,
    /// Queries that see every key [positions, 2].
    pub query_range: TensorId,
    /// Cosines and sines [max_positions, head_dim], see [`rope_table`].
    pub rope_table: TensorId,
    /// Where keys and values are kept for later passes, if they are.
    pub cache: Option<KvCache>,
}

/// Caches of keys and values, one a layer, [`cache_name`] in the Store: [rows, 2 kv_size], keys
/// rotated already.
#[derive(Clone, Copy, Debug)]
pub struct KvCache {
    /// Rows of each.
    pub rows: usize,
    /// The row that each position goes to [positions, 1], see [`Graph::cache_rows`].
    pub row: TensorId,
    /// Rows behind its own at which a position is written a second time; 0: nowhere.
    pub mirror: usize,
    /// Whether the pass attends to the cache, `key_range` counting its rows, and not to its own
    /// positions alone.
    pub is_read: bool,
}

/// The name in the Store of what an attention called `prefix` keeps.
pub fn cache_name(prefix: &str) -> String {
    format!("cache.{prefix}")
}

/// One block over x [positions, hidden]; parameters are named `{prefix}.self_attn.q_proj.weight`
/// and so on, as in `transformers`. Position matters only through the inputs: the same block serves
/// bytes and patches.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn block(
    graph: &mut Graph,
    x: TensorId,
    prefix: &str,
    config: &TransformerConfig,
    inputs: SelfAttentionInputs,
) -> Result<TensorId> {
    graph.block(|graph| {
        let attended = graph.scoped(format!("{prefix}.self_attn"), |graph| {
            self_attention(graph, x, prefix, config, inputs)
        })?;
        let x = graph.add(x, 1.0, attended, 1.0)?;
        let fed = graph.scoped(format!("{prefix}.mlp"), |graph| mlp(graph, x, prefix, config))?;
        graph.add(x, 1.0, fed, 1.0)
    })
}

fn self_attention(
    graph: &mut Graph,
    x: TensorId,
    prefix: &str,
    config: &TransformerConfig,
    inputs: SelfAttentionInputs,
) -> Result<TensorId> {
    let (hidden, query, kv) = (config.hidden_size, config.query_size(), config.kv_size());
    let gain = graph.parameter(&format!("{prefix}.input_layernorm.weight"), 1, hidden);
    let qkv_name = format!("{prefix}.self_attn.qkv_proj");
    let qkv_weight = graph.parameter(&qkv_name, query + 2 * kv, hidden);
    let out_weight = graph.parameter(&format!("{prefix}.self_attn.o_proj.weight"), hidden, query);
    let normed = graph.rms_norm(x, gain, config.rms_norm_eps as f32)?;
    let qkv = graph.linear(normed, qkv_weight)?;
    let qkv = graph.rope(qkv, inputs.position, inputs.rope_table, query + kv)?;
    let (mut keys_values, mut key_offset) = (qkv, query);
    if let Some(KvCache { rows, row, mirror, is_read }) = inputs.cache {
        let cache = graph.cache(&cache_name(prefix), rows, 2 * kv);
        let cache = graph.cache_rows(qkv, query, row, 1, cache, mirror)?;
        if is_read {
            (keys_values, key_offset) = (cache, 0);
        }
    }
    let shape = AttentionShape {
        head_count: config.head_count,
        kv_head_count: config.kv_head_count,
        head_dim: config.head_dim,
        query_factor: 1,
        key_factor: 1,
        query_offset: 0,
        key_offset,
        value_offset: key_offset + kv,
        reach: Reach::Keys(config.window),
    };
    let attended =
        graph.attention(qkv, keys_values, inputs.key_range, inputs.query_range, shape)?;
    graph.linear(attended, out_weight)
}

fn mlp(
    graph: &mut Graph,
    x: TensorId,
    prefix: &str,
    config: &TransformerConfig,
) -> Result<TensorId> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let gain = graph.parameter(&format!("{prefix}.post_attention_layernorm.weight"), 1, hidden);
    let gate_up_name = format!("{prefix}.mlp.gate_up_proj");
    let gate_up_weight = graph.parameter(&gate_up_name, 2 * inner, hidden);
    let down_weight = graph.parameter(&format!("{prefix}.mlp.down_proj.weight"), hidden, inner);
    let normed = graph.rms_norm(x, gain, config.rms_norm_eps as f32)?;
    let gate_up = graph.linear(normed, gate_up_weight)?;
    let activated = graph.swiglu(gate_up)?;
    graph.linear(activated, down_weight)
}

/// The name in the Store of the rotary table of a stack.
pub fn rope_table_name(config: &TransformerConfig) -> String {
    format!("rope.{}.{}.{}", config.rope_theta, config.head_dim, config.max_positions)
}

/// Cosines and sines of every position, interleaved by pair: [position_count, head_dim] (spec
/// §5.4). Angles are computed in f64: WGSL's own sine is good to 2^-11 only.
pub fn rope_table(config: &TransformerConfig, position_count: usize) -> Vec<f32> {
    let pair_count = config.head_dim / 2;
    let mut table = Vec::with_capacity(position_count * config.head_dim);
    for position in 0..position_count {
        for pair in 0..pair_count {
            let exponent = -2.0 * pair as f64 / config.head_dim as f64;
            let (sin, cos) = (position as f64 * config.rope_theta.powf(exponent)).sin_cos();
            table.extend([cos as f32, sin as f32]);
        }
    }
    table
}
