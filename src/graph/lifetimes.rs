//! Lifetimes: tensors that do not live at the same time share a transient buffer.
//!
//! wgpu tracks whole buffers, so a slot is a whole buffer and holds one tensor at a time. Tensors
//! of different element types never share.

use super::graph::{Graph, Source, TensorId};
use super::op::Op;
use super::recording::Transient;
use crate::kernels::Counts;

/// For every tensor the transient slot it lies in, and the slots.
pub(super) struct Slots {
    pub of_tensor: Vec<Option<usize>>,
    pub slots: Vec<Transient>,
}

/// The tensor whose buffer a tensor lies in: a reshape lies in its input's.
pub(super) fn roots(graph: &Graph) -> Vec<TensorId> {
    let mut roots: Vec<_> = (0..graph.tensors.len()).map(TensorId).collect();
    for node in &graph.nodes {
        if node.op == Op::Reshape {
            roots[node.outputs[0].0] = roots[node.inputs[0].0];
        }
    }
    roots
}

/// Assigns slots greedily in the order of the nodes: the smallest free slot that is large enough,
/// else the largest free one, grown, else a new one.
pub(super) fn assign_slots(graph: &Graph, capacity: &Counts) -> Slots {
    let roots = roots(graph);
    let mut last_use = vec![0; graph.tensors.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for tensor in node.inputs.iter().chain(&node.outputs) {
            last_use[roots[tensor.0].0] = index;
        }
    }
    for (_, tensor) in &graph.outputs {
        last_use[roots[tensor.0].0] = usize::MAX;
    }
    let mut slots: Vec<Transient> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut of_tensor = vec![None; graph.tensors.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for &output in &node.outputs {
            let tensor = graph.tensor(output);
            if roots[output.0] != output || tensor.source != Source::Computed {
                continue;
            }
            let length = (tensor.rows.length(capacity) * tensor.cols).max(1);
            let same = free.iter().copied().filter(|&slot| slots[slot].element == tensor.element);
            let large_enough = same.clone().filter(|&slot| slots[slot].length >= length);
            let found = large_enough
                .min_by_key(|&slot| slots[slot].length)
                .or_else(|| same.max_by_key(|&slot| slots[slot].length));
            let slot = found.unwrap_or_else(|| {
                slots.push(Transient { element: tensor.element, length });
                slots.len() - 1
            });
            free.retain(|&other| other != slot);
            slots[slot].length = slots[slot].length.max(length);
            of_tensor[output.0] = Some(slot);
        }
        let mut ended: Vec<_> = node.inputs.iter().chain(&node.outputs).collect();
        ended.sort();
        ended.dedup();
        for tensor in ended {
            let root = roots[tensor.0];
            if let Some(slot) = of_tensor[root.0]
                && last_use[root.0] == index
                && !free.contains(&slot)
            {
                free.push(slot);
            }
        }
    }
    for index in 0..of_tensor.len() {
        of_tensor[index] = of_tensor[roots[index].0];
    }
    Slots { of_tensor, slots }
}
