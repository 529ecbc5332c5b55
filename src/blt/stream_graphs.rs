//! The graphs of generation with caches: whole texts that fill the caches, and steps of one byte a
//! stream (spec §14.3). Where they are read the layout is that of the models, the entropy model's
//! tensors under [`PATCHER_PREFIX`](super::parameters::PATCHER_PREFIX), and of the caches.

use super::caches::{CacheShape, Caches, Pass};
use super::config::{EntropyConfig, ModelConfig};
use super::entropy_model::entropy_pass;
use super::inputs;
use super::model::blt_pass;
use super::programs::ENTROPY_PREFIX;
use crate::error::Result;
use crate::graph::{Graph, RowCount, TensorId};
use crate::kernels::Axis;
use crate::kernels::decode::choose::choice_words;

/// Reads whole texts, the inputs of a [`Batch`](super::Batch), and leaves in the caches what comes
/// after them needs.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn seed_graph(config: &ModelConfig, shape: CacheShape) -> Result<Graph> {
    let mut graph = Graph::default();
    graph.expect_rows(RowCount::Some);
    model_pass(&mut graph, config, Caches { shape, pass: Pass::Seed })?;
    Ok(graph)
}

/// One byte of every stream, and the patches that close with them in [`Pass::Close`], then the id
/// that follows, and where entropies cut, the entropy after it: outputs `logits` [bytes, 260],
/// `chosen` and `status` [bytes, 1], see [`Graph::choose`], and `entropies` [bytes, 1] in nats, to
/// the bit those of a whole text.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn step_graph(
    config: &ModelConfig,
    patcher: Option<(&EntropyConfig, &str)>,
    shape: CacheShape,
    pass: Pass,
) -> Result<Graph> {
    let mut graph = Graph::default();
    graph.expect_rows(RowCount::Few);
    let logits = model_pass(&mut graph, config, Caches { shape, pass })?;
    graph.output("logits", logits);
    let words = choice_words(graph.tensor(logits).cols);
    let choice = inputs::integers(&mut graph, "choice", Axis::Bytes, words);
    let [chosen, status] = graph.choose(logits, choice);
    graph.output("chosen", chosen);
    graph.output("status", status);
    if let Some((config, prefix)) = patcher {
        entropies(&mut graph, config, prefix, chosen, Caches { shape, pass: Pass::Open })?;
    }
    Ok(graph)
}

/// Whole texts through the entropy model: output `entropies` [bytes, 1] in nats, in fixed order.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn seed_entropies_graph(
    config: &EntropyConfig,
    prefix: &str,
    shape: CacheShape,
) -> Result<Graph> {
    let mut graph = Graph::default();
    let ids = inputs::ids(&mut graph);
    entropies(&mut graph, config, prefix, ids, Caches { shape, pass: Pass::Seed })?;
    Ok(graph)
}

fn entropies(
    graph: &mut Graph,
    config: &EntropyConfig,
    prefix: &str,
    ids: TensorId,
    caches: Caches,
) -> Result<()> {
    graph.fix_order();
    let logits = entropy_pass(graph, config, prefix, ids, caches)?;
    let entropies = graph.entropy(logits);
    graph.output("entropies", entropies);
    Ok(())
}

fn model_pass(graph: &mut Graph, config: &ModelConfig, caches: Caches) -> Result<TensorId> {
    match config {
        ModelConfig::Blt(config) => blt_pass(graph, config, Some(caches)),
        ModelConfig::Entropy(config) => {
            // As `forward_graph` computes it.
            graph.fix_order();
            let ids = match caches.pass {
                Pass::Seed => inputs::ids(graph),
                Pass::Open | Pass::Close => inputs::integers(graph, "next_ids", Axis::Bytes, 1),
            };
            entropy_pass(graph, config, ENTROPY_PREFIX, ids, caches)
        }
    }
}
