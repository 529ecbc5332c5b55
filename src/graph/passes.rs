//! Passes over a graph between autodiff and lowering: dead code, fusion.

use super::graph::{Graph, Node, Source, Tensor, TensorId};
use super::lifetimes::roots;
use super::op::Op;
use crate::kernels::Element;

/// Drops every node that neither an output nor a gradient or cache of the Store depends on.
pub fn remove_dead_code(graph: &mut Graph) {
    let mut live = vec![false; graph.tensors.len()];
    for &(_, tensor) in &graph.outputs {
        live[tensor.0] = true;
    }
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        let stored = |id: &TensorId| {
            let source = &graph.tensors[id.0].source;
            matches!(source, Source::Accumulated(_) | Source::Stored { .. })
        };
        if node.outputs.iter().any(|output| live[output.0] || stored(output)) {
            for input in &node.inputs {
                live[input.0] = true;
            }
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
}

/// Moves an addition into the epilogue of the matmul, or of the gradient of a norm or of pooling,
/// that computes one of its sides, where that feeds nothing else: `x + y Wᵀ` is one dispatch, and
/// so are the `2 x + ..` of a cross-attention and the sums of gradients along a residual stream.
pub fn fuse_residuals(graph: &mut Graph) {
    let mut index = 0;
    while index < graph.nodes.len() {
        if let Some((producer, other, scale)) = residual_of(graph, index) {
            let add = graph.nodes[index].clone();
            let mut fused = graph.nodes[producer].clone();
            *residual_scale(&mut fused.op).expect("residual_of names such a node") = scale;
            fused.inputs.push(other);
            fused.outputs[0] = add.outputs[0];
            graph.nodes[index] = fused;
            graph.nodes.remove(producer);
        } else {
            index += 1;
        }
    }
}

/// The factor of what an op adds to its result, if it can; zero while it adds nothing.
fn residual_scale(op: &mut Op) -> Option<&mut f32> {
    match op {
        Op::Matmul { residual_scale, .. }
        | Op::RmsNormGrad { residual_scale, .. }
        | Op::PatchPoolGrad { residual_scale, .. } => Some(residual_scale),
        _ => None,
    }
}

/// If node `index` is an addition that the producer of one side can do: that node, the other side,
/// its scale.
fn residual_of(graph: &Graph, index: usize) -> Option<(usize, TensorId, f32)> {
    let node = &graph.nodes[index];
    let Op::Add { alpha, beta } = node.op else { return None };
    let (a, b) = (node.inputs[0], node.inputs[1]);
    if a == b {
        return None;
    }
    let candidates = [(b, beta, a, alpha), (a, alpha, b, beta)];
    candidates.into_iter().find_map(|(side, scale, other, other_scale)| {
        if scale != 1.0 || other_scale == 0.0 || used(graph, side) != 1 {
            return None;
        }
        let makes = |node: &Node| node.outputs.contains(&side);
        let producer = graph.nodes[..index].iter().position(makes)?;
        let adds_nothing = residual_scale(&mut graph.nodes[producer].op.clone()) == Some(&mut 0.0);
        adds_nothing.then_some((producer, other, other_scale))
    })
}

/// Lets whoever makes what is cast write f16: the gradient of a norm as well, the gradient of a
/// cross-entropy instead, where nothing else reads it. A name of what is written remains of the
/// cast. Not so a product with a residual: on matrix units its sums begin with it and end in f32.
pub fn fuse_casts(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let Some(producer) = producer_of_cast(graph, index) else { continue };
        let made = graph.tensor(graph.nodes[producer].outputs[0]).clone();
        let half = graph.add_tensor(Tensor { element: Element::F16, ..made });
        match &mut graph.nodes[producer] {
            Node { op: Op::RmsNormGrad { .. }, outputs, .. } => outputs.push(half),
            Node { outputs, .. } => outputs[0] = half,
        }
        (graph.nodes[index].op, graph.nodes[index].inputs) = (Op::Reshape, vec![half]);
    }
}

/// If node `index` is a cast that can be left to the node that makes what is cast: that node.
fn producer_of_cast(graph: &Graph, index: usize) -> Option<usize> {
    let node = &graph.nodes[index];
    if node.op != Op::Cast {
        return None;
    }
    let (input, root) = (node.inputs[0], roots(graph)[node.inputs[0].0]);
    let producer = graph.nodes[..index].iter().position(|other| other.outputs[0] == root)?;
    let can = match graph.nodes[producer].op {
        Op::RmsNormGrad { with_gain, .. } => {
            graph.nodes[producer].outputs.len() == 1 + usize::from(with_gain)
        }
        Op::CrossEntropyGrad => input == root && used(graph, input) == 1,
        _ => false,
    };
    can.then_some(producer)
}

/// How many nodes and outputs use a tensor.
pub(super) fn used(graph: &Graph, tensor: TensorId) -> usize {
    let by_nodes = graph.nodes.iter().flat_map(|node| &node.inputs).filter(|&&id| id == tensor);
    let by_host = graph.outputs.iter().filter(|(_, id)| *id == tensor);
    by_nodes.count() + by_host.count()
}
