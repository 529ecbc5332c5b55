//! Packed weights of the Store: who reads them as they lie, and who their numbers.

use super::graph::{Graph, Node, Source, Tensor};
use super::op::Op;
use super::store::StoreLayout;

/// Puts an [`Op::Unpack`] in front of every node that reads a packed weight and cannot do so as it
/// lies: a product of many rows, for which it is little work. A cast of one unpacks it to f16.
pub fn unpack_weights(graph: &mut Graph, layout: &StoreLayout) {
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        if node.op == Op::Cast && is_packed(graph.tensor(node.inputs[0]), layout) {
            node.op = Op::Unpack;
        }
        for index in 0..node.inputs.len() {
            let packed = graph.tensor(node.inputs[index]).clone();
            if !is_packed(&packed, layout) || reads_packed(&node.op, index) {
                continue;
            }
            let numbers = graph.add_tensor(Tensor { source: Source::Computed, ..packed });
            nodes.push(Node {
                op: Op::Unpack,
                inputs: vec![node.inputs[index]],
                outputs: vec![numbers],
                ..node.clone()
            });
            node.inputs[index] = numbers;
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
}

fn is_packed(tensor: &Tensor, layout: &StoreLayout) -> bool {
    let Source::Stored { name, .. } = &tensor.source else { return false };
    layout.get(name).is_some_and(|place| place.weights.is_packed())
}

/// Whether a kernel reads this input of an op in every type.
fn reads_packed(op: &Op, input: usize) -> bool {
    match op {
        Op::Matvec { .. } | Op::MatvecRope { .. } | Op::ByteEmbedding => input == 1,
        Op::HashEmbedding { .. } => input == 2,
        Op::Unpack => true,
        _ => false,
    }
}
