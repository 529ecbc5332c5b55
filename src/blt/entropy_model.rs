//! The entropy model: a plain byte language model whose next-byte entropy decides where patches
//! begin (spec §13).

use super::config::EntropyConfig;
use super::inputs;
use crate::error::Result;
use crate::graph::{Graph, TensorId};
use crate::kernels::{Axis, Element, Extent};
use crate::nn::{SelfAttentionInputs, block, rope_table_name};

/// Rows of the byte embedding and columns of the logits.
const VOCABULARY_SIZE: usize = 260;

/// Logits [bytes, 260] of the id after every byte; parameters are named `{prefix}embed_tokens..`.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn entropy_logits(graph: &mut Graph, config: &EntropyConfig, prefix: &str) -> Result<TensorId> {
    let transformer = &config.transformer;
    let hidden = transformer.hidden_size;
    let ids = inputs::ids(graph);
    let table = graph.parameter(&format!("{prefix}embed_tokens.weight"), VOCABULARY_SIZE, hidden);
    let lists = inputs::lists(graph, "byte_rows", Axis::ByteRows, Extent::of(Axis::Bytes));
    let mut x = graph.byte_embedding(ids, table, lists);
    let [key_range, query_range] = inputs::ranges(graph, "byte", Axis::Bytes, Axis::Bytes);
    let attention = SelfAttentionInputs {
        position: inputs::byte_position(graph),
        key_range,
        query_range,
        rope_table: graph.constant(
            &rope_table_name(transformer),
            transformer.max_positions,
            transformer.head_dim,
            Element::F32,
        ),
    };
    for layer in 0..transformer.layer_count {
        x = block(graph, x, &format!("{prefix}layers.{layer}"), transformer, attention)?;
    }
    graph.scoped(format!("{prefix}lm_head"), |graph| {
        let gain = graph.parameter(&format!("{prefix}norm.weight"), 1, hidden);
        let normed = graph.rms_norm(x, gain, transformer.rms_norm_eps as f32)?;
        let head = graph.parameter(&format!("{prefix}lm_head.weight"), VOCABULARY_SIZE, hidden);
        graph.linear(normed, head)
    })
}
