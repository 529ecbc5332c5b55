//! Mixed precision: which tensors of a graph become f16.
//!
//! Operands of matrix products are f16, sums are f32. What lies between a product and the next
//! kernel - norm outputs, q, k, v, attention outputs, feed-forward products, their gradients - is
//! kept in f16 wherever whoever makes it and all who read it can. Residual streams, pooled
//! vectors, logits, statistics and what adds up in the Store stay f32: adding and pooling take no
//! f16, and so no rule here names them. Weights are read from copies in f16, [`half_name`], where
//! the Store has them, as it has for training; elsewhere a replay casts them.

use super::graph::{Graph, Node, Source, Tensor, TensorId};
use super::lifetimes::roots;
use super::op::Op;
use super::store::StoreLayout;
use crate::kernels::Element;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How numbers are kept on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    #[default]
    F32,
    /// Operands of matrix products in f16; weights, sums and residual streams in f32.
    Mixed,
}

/// The name in the Store of the copy in f16 of a parameter.
pub fn half_name(parameter: &str) -> String {
    format!("{parameter}.half")
}

/// Makes everything f16 that may be, and casts the remaining operands of matrix products.
pub fn use_halves(graph: &mut Graph, layout: &StoreLayout) {
    mark(graph);
    let mut casts = HashMap::new();
    let has_copy = |name: &str| layout.get(&half_name(name)).is_some();
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        if matches!(node.op, Op::Matmul { .. }) {
            for index in 0..2 {
                let place = (&node, index);
                node.inputs[index] = operand(graph, &mut nodes, &mut casts, place, has_copy);
            }
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
}

/// Sets the element type of every computed tensor that all its neighbours take as f16.
fn mark(graph: &mut Graph) {
    let roots = roots(graph);
    let computed =
        |tensor: &Tensor| tensor.source == Source::Computed && tensor.element == Element::F32;
    let mut able: Vec<bool> = graph.tensors.iter().map(computed).collect();
    for node in graph.nodes.iter().filter(|node| node.op != Op::Reshape) {
        for (index, output) in node.outputs.iter().enumerate() {
            able[roots[output.0].0] &= makes_halves(node, index);
        }
        for (index, input) in node.inputs.iter().enumerate() {
            able[roots[input.0].0] &= takes_halves(&node.op, index);
        }
    }
    for (_, tensor) in &graph.outputs {
        able[roots[tensor.0].0] = false;
    }
    for (index, tensor) in graph.tensors.iter_mut().enumerate() {
        if able[roots[index].0] && tensor.source == Source::Computed {
            tensor.element = Element::F16;
        }
    }
}

/// An operand of a product as f16: itself, the copy of a parameter, or a cast, made once.
fn operand(
    graph: &mut Graph,
    nodes: &mut Vec<Node>,
    casts: &mut HashMap<TensorId, TensorId>,
    (product, index): (&Node, usize),
    has_copy: impl Fn(&str) -> bool,
) -> TensorId {
    let id = product.inputs[index];
    let tensor = graph.tensor(id).clone();
    if tensor.element == Element::F16 {
        return id;
    }
    if let Some(&cast) = casts.get(&id) {
        return cast;
    }
    let parameter = match &tensor.source {
        Source::Stored { name, trainable: true } if has_copy(name) => Some(half_name(name)),
        _ => None,
    };
    let source = match parameter {
        Some(name) => Source::Stored { name, trainable: false },
        None => Source::Computed,
    };
    let made = source == Source::Computed;
    let half = graph.add_tensor(Tensor { element: Element::F16, source, ..tensor });
    if made {
        let (label, phase) = (product.label.clone(), product.phase);
        nodes.push(Node {
            op: Op::Cast,
            inputs: vec![id],
            outputs: vec![half],
            label,
            phase,
            fixed_order: false,
        });
    }
    casts.insert(id, half);
    half
}

/// Whether an op can write this output as f16. Nothing clamps what is beyond its range.
fn makes_halves(node: &Node, output: usize) -> bool {
    match node.op {
        Op::Matmul { .. }
        | Op::RmsNorm { .. }
        | Op::Rope { .. }
        | Op::Attention(_)
        | Op::Swiglu
        | Op::SwigluGrad => output == 0,
        // The last output is the row sums of the backward pass.
        Op::AttentionGrad(_) => output + 1 < node.outputs.len(),
        _ => false,
    }
}

/// Whether an op reads this input as f16.
fn takes_halves(op: &Op, input: usize) -> bool {
    match op {
        Op::Matmul { .. } | Op::Attention(_) | Op::SwigluGrad => input < 2,
        Op::RmsNormGrad { .. } | Op::Rope { .. } | Op::Swiglu => input == 0,
        // q, kv, out, dout.
        Op::AttentionGrad(_) => [0, 1, 4, 6].contains(&input),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Axis, Extent};

    /// `x + W2 swiglu(W1 rms_norm(x))`.
    fn block() -> (Graph, TensorId) {
        let mut graph = Graph::default();
        let x = graph.input("x", Extent::of(Axis::Bytes), 8, Element::F32);
        let x = graph.add(x, 1.0, x, 1.0).unwrap();
        let gain = graph.parameter("gain", 1, 8);
        let normed = graph.rms_norm(x, gain, 1e-5).unwrap();
        let [inner, outer] = [("inner", 24, 8), ("outer", 8, 12)]
            .map(|(name, rows, cols)| graph.parameter(name, rows, cols));
        let gate_up = graph.linear(normed, inner).unwrap();
        let fed = graph.swiglu(gate_up).unwrap();
        let out = graph.linear(fed, outer).unwrap();
        let sum = graph.add(x, 1.0, out, 1.0).unwrap();
        graph.output("sum", sum);
        (graph, normed)
    }

    /// A Store of the block's weights, perhaps with copies in f16.
    fn layout(has_copies: bool) -> StoreLayout {
        let tensors = [("gain", 1, 8), ("inner", 24, 8), ("outer", 8, 12), ("more", 8, 8)];
        let tensors = tensors.map(|(name, rows, cols)| (name.to_owned(), rows, cols));
        let mut layout = StoreLayout::default();
        layout.place("weights", Element::F32, &[(None, tensors.to_vec())], 1 << 20).unwrap();
        if has_copies {
            layout.place_like_as("halves", "weights", Element::F16, half_name);
        }
        layout
    }

    fn elements(graph: &Graph, op: &str) -> Vec<Element> {
        let nodes = graph.nodes.iter().filter(|node| node.op.name() == op);
        nodes.map(|node| graph.tensor(node.outputs[0]).element).collect()
    }

    #[test]
    fn operands_are_f16_and_the_residual_stream_is_not() {
        let (mut graph, _) = block();
        use_halves(&mut graph, &layout(true));
        assert_eq!(elements(&graph, "rms_norm"), [Element::F16]);
        assert_eq!(elements(&graph, "matmul"), [Element::F16, Element::F32]);
        assert_eq!(elements(&graph, "swiglu"), [Element::F16]);
        assert_eq!(elements(&graph, "add"), [Element::F32; 2]);
        assert!(elements(&graph, "cast").is_empty());
        let stored: Vec<_> = graph
            .nodes
            .iter()
            .filter(|node| node.op.name() == "matmul")
            .map(|node| graph.tensor(node.inputs[1]).source.clone())
            .collect();
        let half = |name| Source::Stored { name: half_name(name), trainable: false };
        assert_eq!(stored, [half("inner"), half("outer")]);
    }

    #[test]
    fn what_somebody_needs_in_f32_is_cast_once_for_the_products() {
        let (mut graph, normed) = block();
        graph.output("normed", normed);
        let more = graph.parameter("more", 8, 8);
        let out = graph.linear(normed, more).unwrap();
        graph.output("out", out);
        use_halves(&mut graph, &layout(true));
        assert_eq!(elements(&graph, "rms_norm"), [Element::F32]);
        assert_eq!(elements(&graph, "cast"), [Element::F16]);
        let casts = graph.nodes.iter().position(|node| node.op == Op::Cast).unwrap();
        let cast = graph.nodes[casts].outputs[0];
        let readers = graph.nodes.iter().filter(|node| node.inputs.contains(&cast)).count();
        assert_eq!(readers, 2);
    }

    #[test]
    fn weights_without_copies_are_cast_where_they_are_read() {
        let (mut graph, _) = block();
        use_halves(&mut graph, &layout(false));
        let casts = graph.nodes.iter().filter(|node| node.op == Op::Cast);
        let read: Vec<_> = casts.map(|node| graph.tensor(node.inputs[0]).source.clone()).collect();
        let stored = |name: &str| Source::Stored { name: name.into(), trainable: true };
        assert_eq!(read, [stored("inner"), stored("outer")]);
        assert_eq!(elements(&graph, "cast"), [Element::F16; 2]);
    }
}
