//! The graphs that jobs compile: training, evaluation, scoring.

use super::config::ModelConfig;
use super::{blt_logits, entropy_logits, inputs};
use crate::error::Result;
use crate::graph::{Graph, TensorId, differentiate};
use crate::kernels::Element;

/// The tensor [1, 16] of the Store that holds the state of training on the device.
pub const TRAIN_STATE: &str = "train_state";
/// Numbers in it.
pub const TRAIN_STATE_LENGTH: usize = crate::kernels::optim::train_state::LENGTH;
/// The tensor [1, 1] of the Store in which the nats of all training targets add up.
pub const TRAIN_NATS: &str = "train_nats";

/// Logits [bytes, 260] of either model.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn logits(graph: &mut Graph, config: &ModelConfig) -> Result<TensorId> {
    match config {
        ModelConfig::Blt(config) => blt_logits(graph, config),
        ModelConfig::Entropy(config) => entropy_logits(graph, config, ENTROPY_PREFIX),
    }
}

/// What the names of a lone entropy model's tensors begin with: nothing, unlike a patcher's in a
/// BLT.
pub const ENTROPY_PREFIX: &str = "";

fn nats(graph: &mut Graph, logits: TensorId) -> TensorId {
    let [targets, weights] = inputs::targets(graph);
    let state = graph.constant(TRAIN_STATE, 1, TRAIN_STATE_LENGTH, Element::F32);
    graph.cross_entropy(logits, targets, weights, state)
}

/// One micro-batch of training: forward, backward, gradients added to the Store, nats added to
/// [`TRAIN_NATS`].
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn training_graph(config: &ModelConfig) -> Result<Graph> {
    training_graph_in(Graph::default(), config)
}

/// The same where the hash table is updated lazily: its gradients are added to slots.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn lazy_training_graph(config: &ModelConfig) -> Result<Graph> {
    let mut graph = Graph::default();
    graph.use_slots();
    training_graph_in(graph, config)
}

fn training_graph_in(mut graph: Graph, config: &ModelConfig) -> Result<Graph> {
    let logits = logits(&mut graph, config)?;
    let nats = nats(&mut graph, logits);
    graph.accumulate_sum(nats, TRAIN_NATS);
    let seed = graph.cross_entropy_seed(nats);
    differentiate(&mut graph, &[seed], &[])?;
    Ok(graph)
}

/// Evaluation: output `nats` [bytes, 1].
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn evaluation_graph(config: &ModelConfig) -> Result<Graph> {
    let mut graph = Graph::default();
    let logits = logits(&mut graph, config)?;
    let nats = nats(&mut graph, logits);
    graph.output("nats", nats);
    Ok(graph)
}

/// Forward: outputs `logits` [bytes, 260] and `entropies` [bytes, 1], in nats. Those of an entropy
/// model are the ones that [`entropies_graph`] gives, to the bit.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn forward_graph(config: &ModelConfig) -> Result<Graph> {
    let mut graph = Graph::default();
    if matches!(config, ModelConfig::Entropy(_)) {
        graph.fix_order();
    }
    let logits = logits(&mut graph, config)?;
    graph.output("logits", logits);
    let entropies = graph.entropy(logits);
    graph.output("entropies", entropies);
    Ok(graph)
}

/// Scoring: output `entropies` [bytes, 1], in nats, in fixed order: patch boundaries follow from
/// them, so that of a position depends on its own row up to there and on nothing else.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn entropies_graph(config: &ModelConfig) -> Result<Graph> {
    let mut graph = Graph::default();
    graph.fix_order();
    let logits = logits(&mut graph, config)?;
    let entropies = graph.entropy(logits);
    graph.output("entropies", entropies);
    Ok(graph)
}
