//! The cross-attention of BLT, between bytes and patches (spec §6).

use super::config::CrossAttentionConfig;
use crate::error::Result;
use crate::graph::{AttentionShape, Graph, Reach, TensorId};

/// What a cross-attention reads besides its two streams, and how rows pair up.
#[derive(Clone, Copy, Debug)]
pub struct CrossAttention {
    /// Ranges of keys for every entry of the query side.
    pub key_range: TensorId,
    /// Ranges of queries for every entry of the key side.
    pub query_range: TensorId,
    /// Query rows an entry: k where patches ask, 1 where bytes ask.
    pub query_factor: usize,
    /// Key rows an entry: k where patches are asked, 1 where bytes are asked.
    pub key_factor: usize,
    /// Keys that a query sees, for estimates.
    pub reach: Reach,
}

/// `2 x + Wo attention(RMSNorm_q(x), RMSNorm_kv(kv))`: x [queries, hidden], kv [keys, hidden].
///
/// The residual counts twice: the block adds its input and so does every place that calls it, in
/// the reference implementation and so in the released weights.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn cross_attention(
    graph: &mut Graph,
    x: TensorId,
    kv: TensorId,
    prefix: &str,
    config: &CrossAttentionConfig,
    eps: f32,
    inputs: CrossAttention,
) -> Result<TensorId> {
    graph.block(|graph| {
        let keys_values = cross_keys_values(graph, kv, prefix, config, eps)?;
        attend_across(graph, x, keys_values, prefix, config, eps, inputs)
    })
}

/// Keys and values [keys, 2 kv_size] of kv [keys, hidden].
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn cross_keys_values(
    graph: &mut Graph,
    kv: TensorId,
    prefix: &str,
    config: &CrossAttentionConfig,
    eps: f32,
) -> Result<TensorId> {
    graph.scoped(prefix, |graph| {
        let hidden = graph.tensor(kv).cols;
        let gain = graph.parameter(&format!("{prefix}.k_norm.weight"), 1, hidden);
        let weight = graph.parameter(&format!("{prefix}.kv_proj"), 2 * config.kv_size(), hidden);
        let normed = graph.rms_norm(kv, gain, eps)?;
        graph.linear(normed, weight)
    })
}

/// The same as [`cross_attention`] from keys and values that are there.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn attend_across(
    graph: &mut Graph,
    x: TensorId,
    keys_values: TensorId,
    prefix: &str,
    config: &CrossAttentionConfig,
    eps: f32,
    inputs: CrossAttention,
) -> Result<TensorId> {
    let build = |graph: &mut Graph| {
        let hidden = graph.tensor(x).cols;
        let query_size = config.query_size();
        let gain = graph.parameter(&format!("{prefix}.q_norm.weight"), 1, hidden);
        let weight = graph.parameter(&format!("{prefix}.q_proj.weight"), query_size, hidden);
        let out_weight = graph.parameter(&format!("{prefix}.o_proj.weight"), hidden, query_size);
        let normed = graph.rms_norm(x, gain, eps)?;
        let queries = graph.linear(normed, weight)?;
        let shape = AttentionShape {
            head_count: config.head_count,
            kv_head_count: config.kv_head_count,
            head_dim: config.head_dim,
            query_factor: inputs.query_factor,
            key_factor: inputs.key_factor,
            query_offset: 0,
            key_offset: 0,
            value_offset: config.kv_size(),
            reach: inputs.reach,
        };
        let (key_range, query_range) = (inputs.key_range, inputs.query_range);
        let attended = graph.attention(queries, keys_values, key_range, query_range, shape)?;
        let projected = graph.linear(attended, out_weight)?;
        graph.add(x, 2.0, projected, 1.0)
    };
    graph.scoped(prefix, build)
}
