//! Fusion of what follows a linear layer into its product: the rotary embedding of queries and
//! keys, the activation of a SwiGLU; backwards, the gradient of that activation.
//!
//! A tile of sums is turned or activated in registers, so that the sums do not cross memory twice
//! and a dispatch is saved. It pays where memory is far from the units that compute: on a GPU.
//! Counts do not enter, so that a larger plan computes alike.

use super::graph::{Graph, Node};
use super::op::Op;
use super::passes::used;
use crate::kernels::Abilities;

/// Merges products with the rope or swiglu that reads them, or the gradient of one. Stands behind
/// recompute, which would compute whole products again to get the activation.
pub fn fuse_epilogues(graph: &mut Graph, abilities: &Abilities) {
    if !abilities.hardware {
        return;
    }
    let mut index = 0;
    while index < graph.nodes.len() {
        if let Some((producer, fused)) = fusion_at(graph, index) {
            // Sums that are kept may be read before the epilogue; what a gradient reads besides
            // them may be made only before itself.
            let is_gradient = fused.op == Op::MatmulSwigluGrad;
            let (place, other) = if is_gradient { (index, producer) } else { (producer, index) };
            graph.nodes[place] = fused;
            graph.nodes.remove(other);
        } else {
            index += 1;
        }
    }
}

/// If node `index` can be an epilogue: the product it reads, and the node that does both.
fn fusion_at(graph: &Graph, index: usize) -> Option<(usize, Node)> {
    let node = &graph.nodes[index];
    let sums = match node.op {
        Op::Rope { .. } | Op::Swiglu if !node.fixed_order => node.inputs[0],
        Op::SwigluGrad => node.inputs[1],
        _ => return None,
    };
    let producer = graph.nodes[..index].iter().position(|other| other.outputs[0] == sums)?;
    let product = &graph.nodes[producer];
    let transpose_b = node.op != Op::SwigluGrad;
    let linear = Op::Matmul { transpose_a: false, transpose_b, residual_scale: 0.0 };
    let depth = graph.tensor(product.inputs[0]).cols;
    if product.op != linear || !depth.is_multiple_of(4) {
        return None;
    }
    let only_reader = used(graph, sums) == 1;
    let (op, inputs, outputs) = match node.op {
        Op::Rope { rotated_cols, head_dim, sign } => {
            let cols = [graph.tensor(sums).cols, rotated_cols, head_dim];
            if sign != 1.0 || !only_reader || !cols.iter().all(|cols| cols.is_multiple_of(4)) {
                return None;
            }
            let op = Op::MatmulRope { rotated_cols, head_dim };
            (op, [&product.inputs[..], &node.inputs[1..]].concat(), node.outputs.clone())
        }
        Op::SwigluGrad => {
            if !only_reader || !graph.tensor(sums).cols.is_multiple_of(4) {
                return None;
            }
            let inputs = [&product.inputs[..], &node.inputs[..1]].concat();
            (Op::MatmulSwigluGrad, inputs, node.outputs.clone())
        }
        _ => {
            if !graph.tensor(node.outputs[0]).cols.is_multiple_of(4) {
                return None;
            }
            let kept = if only_reader { None } else { Some(sums) };
            let outputs = node.outputs.iter().copied().chain(kept).collect();
            (Op::MatmulSwiglu, product.inputs.clone(), outputs)
        }
    };
    Some((producer, Node { op, inputs, outputs, ..product.clone() }))
}
