//! Recompute: what the backward pass computes again instead of finding it in memory.
//!
//! Most of the memory of a training step holds tensors of the forward pass that wait for the
//! backward pass. This pass gives the backward pass nodes of its own for some of them: copies of
//! the nodes that made them, in front of their first reader. The pass runs last, behind fusion, so
//! that a copy is the same dispatch on the same bits and changes no bit of a gradient.

use super::graph::{Graph, Node, Phase, Source, TensorId};
use super::lifetimes::roots;
use super::op::Op;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What the backward pass computes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing: all that it reads is kept.
    #[default]
    None,
    /// What costs one pass over memory and whose inputs are kept anyway: norms, SwiGLU, casts,
    /// rotary embeddings, pooled patches.
    Cheap,
    /// The blocks of the model, of which only the inputs are kept, and what is cheap elsewhere.
    Blocks,
}

impl Recompute {
    /// Every setting with its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("none", Self::None), ("cheap", Self::Cheap), ("blocks", Self::Blocks)];

    /// The name of a setting.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, setting)| *setting == self).map_or("", |(name, _)| name)
    }
}

/// Copies nodes of the forward pass in front of their readers in the backward pass.
pub fn recompute(graph: &mut Graph, what: Recompute) {
    let again = match what {
        Recompute::None => return,
        Recompute::Cheap => Uses::of(graph).cheap(vec![false; graph.nodes.len()]),
        Recompute::Blocks => {
            let uses = Uses::of(graph);
            uses.cheap(uses.blocks())
        }
    };
    let nodes = std::mem::take(&mut graph.nodes);
    let makers = makers(graph, &nodes);
    let mut copies = Copies { graph, nodes: &nodes, makers, again, made: HashMap::new() };
    let mut all = Vec::new();
    for node in &nodes {
        let mut node = node.clone();
        if node.phase == Phase::Backward {
            for input in &mut node.inputs {
                *input = copies.of(*input, &mut all);
            }
        }
        all.push(node);
    }
    graph.nodes = all;
}

/// Copies of tensors, made where they are first asked for.
struct Copies<'a> {
    graph: &'a mut Graph,
    nodes: &'a [Node],
    makers: Vec<Option<usize>>,
    /// The nodes that are copied.
    again: Vec<bool>,
    made: HashMap<TensorId, TensorId>,
}

impl Copies<'_> {
    /// The copy of a tensor, or the tensor itself if it is kept; appends the nodes it takes.
    fn of(&mut self, tensor: TensorId, all: &mut Vec<Node>) -> TensorId {
        if let Some(&copy) = self.made.get(&tensor) {
            return copy;
        }
        let maker = self.makers.get(tensor.0).copied().flatten();
        let Some(maker) = maker.filter(|&maker| self.again[maker]) else { return tensor };
        let mut node = self.nodes[maker].clone();
        for input in &mut node.inputs {
            *input = self.of(*input, all);
        }
        for output in &mut node.outputs {
            let copy = self.graph.add_tensor(self.graph.tensor(*output).clone());
            self.made.insert(*output, copy);
            *output = copy;
        }
        node.phase = Phase::Backward;
        node.label.push_str(".again");
        all.push(node);
        self.made[&tensor]
    }
}

/// Who makes every tensor, by index of node.
fn makers(graph: &Graph, nodes: &[Node]) -> Vec<Option<usize>> {
    let mut makers = vec![None; graph.tensors.len()];
    for (index, node) in nodes.iter().enumerate() {
        for output in &node.outputs {
            makers[output.0] = Some(index);
        }
    }
    makers
}

/// Who makes and who reads what.
struct Uses<'a> {
    graph: &'a Graph,
    makers: Vec<Option<usize>>,
    /// Nodes that read a tensor, in order.
    readers: Vec<Vec<usize>>,
    /// The last node of the backward pass that reads a buffer, by the tensor it belongs to.
    last_read: HashMap<TensorId, usize>,
    roots: Vec<TensorId>,
}

impl<'a> Uses<'a> {
    fn of(graph: &'a Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.tensors.len()];
        let (mut last_read, roots) = (HashMap::new(), roots(graph));
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                readers[input.0].push(index);
                if node.phase == Phase::Backward {
                    last_read.insert(roots[input.0], index);
                }
            }
        }
        Self { graph, makers: makers(graph, &graph.nodes), readers, last_read, roots }
    }

    /// The nodes of `again`, and all others that are cheap and whose inputs are there when they are
    /// needed, kept or copied.
    fn cheap(&self, mut again: Vec<bool>) -> Vec<bool> {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let Some(needed) = self.first_need(node) else { continue };
            let made_again = |input: &TensorId| self.makers[input.0].is_some_and(|it| again[it]);
            let kept = |input: &TensorId| {
                let last = self.last_read.get(&self.roots[input.0]);
                self.graph.tensor(*input).source != Source::Computed
                    || last.is_some_and(|&last| last >= needed)
            };
            let cheap = match node.op {
                Op::RmsNorm { .. } | Op::Swiglu | Op::Cast | Op::Rope { .. } => true,
                Op::PatchPool { .. } => true,
                // It is nothing but another name of its input.
                Op::Reshape => node.inputs.iter().all(made_again),
                _ => false,
            };
            if cheap && self.may_be_copied(node) {
                again[index] |= node.inputs.iter().all(|it| made_again(it) || kept(it));
            }
        }
        again
    }

    /// The nodes inside of blocks, all but those whose results other blocks read. The block that
    /// the backward pass begins with stays as it is: its tensors are read as soon as they are made.
    fn blocks(&self) -> Vec<bool> {
        let nodes = &self.graph.nodes;
        let block = |node: &Node| match node.phase {
            Phase::Forward { block } => block,
            Phase::Backward => None,
        };
        let mut backward = nodes.iter().filter(|node| node.phase == Phase::Backward);
        let first = backward.find_map(|node| {
            node.inputs.iter().find_map(|input| block(&nodes[self.makers[input.0]?]))
        });
        let inside = |node: &Node| {
            let own = block(node);
            let mut readers = node.outputs.iter().flat_map(|output| &self.readers[output.0]);
            let stays = |reader: &usize| {
                nodes[*reader].phase == Phase::Backward || block(&nodes[*reader]) == own
            };
            own.is_some() && own != first && self.may_be_copied(node) && readers.all(stays)
        };
        nodes.iter().map(inside).collect()
    }

    /// Where the backward pass first reads what a node of the forward pass makes.
    fn first_need(&self, node: &Node) -> Option<usize> {
        let readers = node.outputs.iter().flat_map(|output| &self.readers[output.0]).copied();
        let is_backward = |&reader: &usize| self.graph.nodes[reader].phase == Phase::Backward;
        let first = readers.filter(is_backward).min();
        first.filter(|_| node.phase != Phase::Backward)
    }

    /// Whether a second run of a node changes nothing but its own outputs, which nobody else reads.
    fn may_be_copied(&self, node: &Node) -> bool {
        let own = |output: &TensorId| {
            let is_output = self.graph.outputs.iter().any(|(_, tensor)| tensor == output);
            self.graph.tensor(*output).source == Source::Computed && !is_output
        };
        node.outputs.iter().all(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{differentiate, remove_dead_code};
    use crate::kernels::{Axis, Element, Extent};

    /// Three blocks `x + W2 swiglu(W1 rms_norm(x))` and their backward pass from the last sum.
    fn graph() -> Graph {
        let mut graph = Graph::default();
        let input = graph.input("x", Extent::of(Axis::Bytes), 8, Element::F32);
        let gradient = graph.input("dx", Extent::of(Axis::Bytes), 8, Element::F32);
        let embedding = graph.parameter("embedding", 8, 8);
        let mut x = graph.linear(input, embedding).unwrap();
        for index in 0..3 {
            let gain = graph.parameter(&format!("gain{index}"), 1, 8);
            let [inner, outer] = [("inner", 24, 8), ("outer", 8, 12)]
                .map(|(name, rows, cols)| graph.parameter(&format!("{name}{index}"), rows, cols));
            x = graph.block(|graph| {
                let normed = graph.rms_norm(x, gain, 1e-5).unwrap();
                let gate_up = graph.linear(normed, inner).unwrap();
                let fed = graph.swiglu(gate_up).unwrap();
                let out = graph.linear(fed, outer).unwrap();
                graph.add(x, 1.0, out, 1.0).unwrap()
            });
        }
        differentiate(&mut graph, &[(x, gradient)], &[]).unwrap();
        remove_dead_code(&mut graph);
        graph
    }

    /// The names of the ops that run a second time, in order.
    fn again(what: Recompute) -> (Graph, Vec<&'static str>) {
        let mut graph = graph();
        recompute(&mut graph, what);
        let copies = graph.nodes.iter().filter(|node| node.label.ends_with(".again"));
        let names = copies.map(|node| node.op.name()).collect();
        (graph, names)
    }

    #[test]
    fn cheap_ops_run_again_where_their_inputs_are_kept() {
        assert_eq!(again(Recompute::None).0, graph());
        let (changed, names) = again(Recompute::Cheap);
        assert_eq!(names, ["swiglu", "rms_norm"].repeat(3));
        assert_eq!(changed.nodes.len(), graph().nodes.len() + 6);
    }

    #[test]
    fn blocks_run_again_but_for_their_last_product_and_the_one_that_comes_first() {
        let (_, names) = again(Recompute::Blocks);
        let block = ["rms_norm", "matmul", "swiglu"];
        assert_eq!(names, [&["swiglu", "rms_norm"][..], &block, &block].concat());
    }

    #[test]
    fn every_tensor_is_made_before_it_is_read_and_once() {
        for (_, what) in Recompute::NAMES {
            let (graph, _) = again(what);
            let mut made = vec![false; graph.tensors.len()];
            for node in &graph.nodes {
                for input in &node.inputs {
                    let computed = graph.tensor(*input).source == Source::Computed;
                    assert!(made[input.0] || !computed, "{what:?}: {} {input:?}", node.op.name());
                }
                for output in &node.outputs {
                    assert!(!std::mem::replace(&mut made[output.0], true), "{what:?}: {output:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_host_reads_is_not_made_again() {
        let mut graph = graph();
        let swiglu = graph.nodes.iter().find(|node| node.op == Op::Swiglu).unwrap().outputs[0];
        graph.output("fed", swiglu);
        recompute(&mut graph, Recompute::Cheap);
        let copies = graph.nodes.iter().filter(|node| node.label.ends_with(".again"));
        assert_eq!(copies.count(), 5);
    }
}
