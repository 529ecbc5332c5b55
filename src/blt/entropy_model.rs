//! The entropy model: a plain byte language model whose next-byte entropy decides where patches
//! begin (spec §13).

use super::caches::{Caches, Pass};
use super::config::{EntropyConfig, VOCABULARY_SIZE};
use super::inputs;
use super::model::byte_cache;
use crate::error::Result;
use crate::graph::{Graph, TensorId};
use crate::kernels::{Axis, Element, Extent};
use crate::nn::{KvCache, SelfAttentionInputs, block, rope_table_name};

/// Logits [bytes, 260] of the id after every byte; parameters are named `{prefix}embed_tokens..`.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn entropy_logits(graph: &mut Graph, config: &EntropyConfig, prefix: &str) -> Result<TensorId> {
    let ids = inputs::ids(graph);
    let lists = inputs::lists(graph, "byte_rows", Axis::ByteRows, Extent::of(Axis::Bytes));
    let ranges = inputs::ranges(graph, "byte", Axis::Bytes, Axis::Bytes);
    let position = inputs::byte_position(graph);
    entropy_stack(graph, config, prefix, Stack { ids, lists, ranges, position, cache: None })
}

/// The same where caches stand for the texts so far, or where whole texts fill them: then inputs
/// have the names of a batch, else names that begin with `next_`.
pub(super) fn entropy_pass(
    graph: &mut Graph,
    config: &EntropyConfig,
    prefix: &str,
    ids: TensorId,
    caches: Caches,
) -> Result<TensorId> {
    let is_seed = caches.pass == Pass::Seed;
    let (lists, ranges) = match is_seed {
        true => (
            inputs::lists(graph, "byte_rows", Axis::ByteRows, Extent::of(Axis::Bytes)),
            inputs::ranges(graph, "byte", Axis::Bytes, Axis::Bytes),
        ),
        false => ([ids; 3], [inputs::key_range(graph, "next", Axis::Bytes); 2]),
    };
    let [position, row] = match is_seed {
        true => ["byte_position", "byte_cache_row"],
        false => ["next_position", "next_cache_row"],
    }
    .map(|name| inputs::integers(graph, name, Axis::Bytes, 1));
    let cache = Some(byte_cache(&config.transformer, row, caches));
    entropy_stack(graph, config, prefix, Stack { ids, lists, ranges, position, cache })
}

/// What the stack reads besides its parameters.
struct Stack {
    ids: TensorId,
    lists: [TensorId; 3],
    ranges: [TensorId; 2],
    position: TensorId,
    cache: Option<KvCache>,
}

fn entropy_stack(
    graph: &mut Graph,
    config: &EntropyConfig,
    prefix: &str,
    inputs: Stack,
) -> Result<TensorId> {
    let transformer = &config.transformer;
    let hidden = transformer.hidden_size;
    let table = graph.parameter(&format!("{prefix}embed_tokens.weight"), VOCABULARY_SIZE, hidden);
    let mut x = graph.byte_embedding(inputs.ids, table, inputs.lists);
    let attention = SelfAttentionInputs {
        position: inputs.position,
        key_range: inputs.ranges[0],
        query_range: inputs.ranges[1],
        cache: inputs.cache,
        rope_table: graph.constant(
            &format!("{prefix}{}", rope_table_name(transformer)),
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
