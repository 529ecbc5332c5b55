//! Passes over a graph between autodiff and lowering: dead code, fusion.

use super::graph::{Graph, Source, TensorId};
use super::op::Op;

/// Drops every node that neither an output nor a gradient of the Store depends on.
pub fn remove_dead_code(graph: &mut Graph) {
    let mut live = vec![false; graph.tensors.len()];
    for &(_, tensor) in &graph.outputs {
        live[tensor.0] = true;
    }
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        let stored = |id: &TensorId| matches!(graph.tensors[id.0].source, Source::Accumulated(_));
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

/// Moves an addition into the epilogue of the matmul that computes one of its sides, where that
/// matmul feeds nothing else: `x + y Wᵀ` is one dispatch, and so are the `2 x + ..` of a
/// cross-attention and the sums of gradients.
pub fn fuse_residuals(graph: &mut Graph) {
    let mut index = 0;
    while index < graph.nodes.len() {
        if let Some((matmul, other, scale)) = residual_of(graph, index) {
            let add = graph.nodes[index].clone();
            let mut fused = graph.nodes[matmul].clone();
            let Op::Matmul { residual_scale, .. } = &mut fused.op else {
                unreachable!("residual_of names a matmul")
            };
            *residual_scale = scale;
            fused.inputs.push(other);
            fused.outputs = add.outputs;
            graph.nodes[index] = fused;
            graph.nodes.remove(matmul);
        } else {
            index += 1;
        }
    }
}

/// If node `index` is an addition that a matmul can do: the matmul, the other side, its scale.
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
        let plain =
            |op: &Op| matches!(op, Op::Matmul { residual_scale, .. } if *residual_scale == 0.0);
        let matmul = graph.nodes[..index].iter().position(|node| node.outputs.contains(&side))?;
        plain(&graph.nodes[matmul].op).then_some((matmul, other, other_scale))
    })
}

/// How many nodes and outputs use a tensor.
fn used(graph: &Graph, tensor: TensorId) -> usize {
    let by_nodes = graph.nodes.iter().flat_map(|node| &node.inputs).filter(|&&id| id == tensor);
    let by_host = graph.outputs.iter().filter(|(_, id)| *id == tensor);
    by_nodes.count() + by_host.count()
}
