//! Linear layers of graphs that expect few rows: a step of generation.
//!
//! A product of few rows takes as long as reading its weight. So every workgroup may norm the rows
//! again, which saves a dispatch and its wait, and gates what it has made.

use super::graph::{Graph, RowCount, Source};
use super::op::Op;
use super::passes::{remove_dead_code, used};
use crate::kernels::Element;

/// Turns linear layers over weights of the Store into [`Op::Matvec`], together with the norms in
/// front of them and the activations behind them, and rotates what goes into a cache on its way.
pub fn fuse_few_rows(graph: &mut Graph) {
    if graph.rows != RowCount::Few {
        return;
    }
    for index in 0..graph.nodes.len() {
        take_layer(graph, index);
    }
    // Norms that nobody reads any more.
    remove_dead_code(graph);
    join(graph, Outputs::Taken, layer_of_activation);
    join(graph, Outputs::Added, rope_that_keeps);
    join(graph, Outputs::Taken, layer_of_rope);
    join(graph, Outputs::Added, layer_that_keeps);
}

/// What becomes of the outputs of a node whose work another does.
#[derive(Clone, Copy)]
enum Outputs {
    /// They stand in the place of that node's own, which nobody else reads.
    Taken,
    /// They stand behind them.
    Added,
}

/// Lets each node for which `pair` finds another that can do its work, and the op that does both,
/// go into that one. The first input of the node is what the other makes.
fn join(graph: &mut Graph, outputs: Outputs, pair: impl Fn(&Graph, usize) -> Option<(usize, Op)>) {
    let mut index = 0;
    while index < graph.nodes.len() {
        let Some((producer, op)) = pair(graph, index) else {
            index += 1;
            continue;
        };
        let node = graph.nodes.remove(index);
        let both = &mut graph.nodes[producer];
        both.op = op;
        both.inputs.extend(&node.inputs[1..]);
        match outputs {
            Outputs::Taken => both.outputs = node.outputs,
            Outputs::Added => both.outputs.extend(node.outputs),
        }
    }
}

/// If node `index` keeps what a layer of few rows makes, to its last column: that layer, and the op
/// that does both.
fn layer_that_keeps(graph: &Graph, index: usize) -> Option<(usize, Op)> {
    let node = &graph.nodes[index];
    let Op::CacheRows { cols, x_offset, factor, mirror } = node.op else { return None };
    let sums = node.inputs[0];
    let producer = graph.nodes[..index].iter().position(|other| other.outputs[0] == sums)?;
    let Op::Matvec { norm_eps, is_gated: false, residual_scale: 0.0 } = graph.nodes[producer].op
    else {
        return None;
    };
    let is_whole = x_offset + cols == graph.tensor(sums).cols;
    let is_even = x_offset.is_multiple_of(2) && cols.is_multiple_of(2);
    let (rotated_cols, head_dim) = (0, 2);
    let op = Op::MatvecRope { norm_eps, rotated_cols, head_dim, x_offset, factor, mirror };
    (is_whole && is_even).then_some((producer, op))
}

/// If node `index` rotates and keeps what a layer of few rows makes for it alone: that layer, and
/// the op that does both.
fn layer_of_rope(graph: &Graph, index: usize) -> Option<(usize, Op)> {
    let node = &graph.nodes[index];
    let Op::RopeCache { rotated_cols, head_dim, x_offset, mirror } = node.op else { return None };
    let sums = node.inputs[0];
    let producer = graph.nodes[..index].iter().position(|other| other.outputs[0] == sums)?;
    let Op::Matvec { norm_eps, is_gated: false, residual_scale } = graph.nodes[producer].op else {
        return None;
    };
    let is_even = graph.tensor(sums).cols.is_multiple_of(2);
    let op = Op::MatvecRope { norm_eps, rotated_cols, head_dim, x_offset, factor: 1, mirror };
    (residual_scale == 0.0 && is_even && used(graph, sums) == 1).then_some((producer, op))
}

/// If node `index` keeps what a rope has rotated, to its last column: that rope, and the op that
/// does both.
fn rope_that_keeps(graph: &Graph, index: usize) -> Option<(usize, Op)> {
    let node = &graph.nodes[index];
    let Op::CacheRows { cols, x_offset, factor: 1, mirror } = node.op else { return None };
    let x = node.inputs[0];
    let producer = graph.nodes[..index].iter().position(|other| other.outputs[0] == x)?;
    let Op::Rope { rotated_cols, head_dim, sign } = graph.nodes[producer].op else { return None };
    let is_whole = x_offset + cols == graph.tensor(x).cols && x_offset.is_multiple_of(2);
    let op = Op::RopeCache { rotated_cols, head_dim, x_offset, mirror };
    (is_whole && sign == 1.0).then_some((producer, op))
}

/// Makes a layer of few rows of node `index`, if it is a linear layer in f32.
fn take_layer(graph: &mut Graph, index: usize) {
    let node = &graph.nodes[index];
    let Op::Matmul { transpose_a: false, transpose_b: true, residual_scale } = node.op else {
        return;
    };
    let is_stored = matches!(graph.tensor(node.inputs[1]).source, Source::Stored { .. });
    let mut tensors = node.inputs.iter().chain(&node.outputs);
    let is_f32 = tensors.all(|&id| graph.tensor(id).element == Element::F32);
    let is_computed = graph.tensor(node.outputs[0]).source == Source::Computed;
    if !(is_stored && is_f32 && is_computed) {
        return;
    }
    let mut inputs = node.inputs.clone();
    let makes = |node: &&super::graph::Node| node.outputs[0] == inputs[0];
    let mut norm_eps = None;
    if let Some(norm) = graph.nodes[..index].iter().find(makes)
        && let Op::RmsNorm { eps } = norm.op
    {
        norm_eps = Some(eps);
        inputs[0] = norm.inputs[0];
        inputs.insert(2, norm.inputs[1]);
    }
    let node = &mut graph.nodes[index];
    node.op = Op::Matvec { norm_eps, is_gated: false, residual_scale };
    node.inputs = inputs;
}

/// If node `index` activates what a layer of few rows makes for it alone: that layer, and the op
/// that does both.
fn layer_of_activation(graph: &Graph, index: usize) -> Option<(usize, Op)> {
    let node = &graph.nodes[index];
    if node.op != Op::Swiglu || used(graph, node.inputs[0]) != 1 {
        return None;
    }
    let makes = |other: &super::graph::Node| other.outputs[0] == node.inputs[0];
    let producer = graph.nodes[..index].iter().position(makes)?;
    match graph.nodes[producer].op {
        Op::Matvec { norm_eps, residual_scale, .. } if residual_scale == 0.0 => {
            Some((producer, Op::Matvec { norm_eps, is_gated: true, residual_scale }))
        }
        _ => None,
    }
}
