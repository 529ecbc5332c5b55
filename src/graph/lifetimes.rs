//! Lifetimes: tensors that do not live at the same time share a transient buffer.
//!
//! wgpu tracks whole buffers, so a slot is a whole buffer and holds one tensor at a time. Tensors
//! of different element types never share.

use super::graph::{Graph, Source, TensorId};
use super::op::Op;
use super::recording::Transient;
use crate::kernels::{Counts, Element};

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

/// When the tensors that lie in one buffer are used: from the node that makes them to their last
/// reader.
struct Life {
    root: TensorId,
    element: Element,
    length: usize,
    first: usize,
    last: usize,
}

/// Assigns slots, the largest tensors first: the smallest slot of its element type whose other
/// tensors do not live at the same time, among equals the one that is idle for the shortest time
/// before or after, else a new slot. No slot ever grows, and small tensors fill gaps between large
/// ones.
pub(super) fn assign_slots(graph: &Graph, capacity: &Counts) -> Slots {
    let roots = roots(graph);
    let mut lives = lives(graph, &roots, capacity);
    lives.sort_by_key(|life| (std::cmp::Reverse(life.length), life.first));
    let mut slots: Vec<Transient> = Vec::new();
    let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut of_tensor = vec![None; graph.tensors.len()];
    for life in &lives {
        let idle = |slot: usize| {
            let gap = |&(first, last): &(usize, usize)| match (last < life.first, life.last < first)
            {
                (true, _) => Some(life.first - last),
                (_, true) => Some(first - life.last),
                _ => None,
            };
            let gaps: Option<Vec<_>> = taken[slot].iter().map(gap).collect();
            gaps?.into_iter().min()
        };
        let same = (0..slots.len()).filter(|&slot| slots[slot].element == life.element);
        let found = same
            .filter_map(|slot| Some((slots[slot].length, idle(slot)?, slot)))
            .min()
            .map(|(_, _, slot)| slot);
        let slot = found.unwrap_or_else(|| {
            slots.push(Transient { element: life.element, length: life.length });
            taken.push(Vec::new());
            slots.len() - 1
        });
        taken[slot].push((life.first, life.last));
        of_tensor[life.root.0] = Some(slot);
    }
    for index in 0..of_tensor.len() {
        of_tensor[index] = of_tensor[roots[index].0];
    }
    Slots { of_tensor, slots }
}

/// The lives of all computed tensors, by their roots.
fn lives(graph: &Graph, roots: &[TensorId], capacity: &Counts) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut index_of = vec![None; graph.tensors.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for &output in &node.outputs {
            let tensor = graph.tensor(output);
            if roots[output.0] == output && tensor.source == Source::Computed {
                let length = (tensor.rows.length(capacity) * tensor.cols).max(1);
                index_of[output.0] = Some(lives.len());
                let (root, element) = (output, tensor.element);
                lives.push(Life { root, element, length, first: index, last: index });
            }
        }
        for tensor in node.inputs.iter().chain(&node.outputs) {
            if let Some(life) = index_of[roots[tensor.0].0] {
                lives[life].last = index;
            }
        }
    }
    for (_, tensor) in &graph.outputs {
        if let Some(life) = index_of[roots[tensor.0].0] {
            lives[life].last = usize::MAX;
        }
    }
    lives
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Axis, Extent};

    /// Sums of x with itself, `cols` wide each, the first read again by the last node.
    fn chain(cols: &[usize]) -> Graph {
        let mut graph = Graph::default();
        for &cols in cols {
            let x = graph.input(&format!("x{cols}"), Extent::of(Axis::Bytes), cols, Element::F32);
            let mut sum = graph.add(x, 1.0, x, 1.0).unwrap();
            let first = sum;
            for _ in 0..3 {
                sum = graph.add(sum, 1.0, sum, 1.0).unwrap();
            }
            graph.add(first, 1.0, sum, 1.0).unwrap();
        }
        graph
    }

    #[test]
    fn what_does_not_live_at_once_shares_and_no_slot_is_larger_than_its_largest_tensor() {
        let capacity = Counts::default().with(Axis::Bytes, 10);
        let graph = chain(&[4, 64, 8]);
        let Slots { of_tensor, slots } = assign_slots(&graph, &capacity);
        // The first sum, and two that take turns, of the widest chain; the others lie in them.
        assert_eq!(slots.iter().map(|slot| slot.length).collect::<Vec<_>>(), [640; 3]);
        let roots = roots(&graph);
        let lives = lives(&graph, &roots, &capacity);
        for (index, a) in lives.iter().enumerate() {
            for b in &lives[..index] {
                let at_once = a.first <= b.last && b.first <= a.last;
                let shared = of_tensor[a.root.0] == of_tensor[b.root.0];
                assert!(!(at_once && shared), "{:?} and {:?}", a.root, b.root);
            }
        }
    }
}
