//! Autodiff: a function from a graph to the same graph with the backward pass appended.
//!
//! Gradients flow from seeds, given tensors with given gradients, to every trainable parameter that
//! they depend on. What reaches a parameter is added to the tensor [`gradient_name`] of the Store;
//! everything else stays in computed tensors. One rule an op, in [`rule`]; nothing is taped when a
//! plan runs.

use super::graph::{Graph, Source, TensorId};
use super::op::{AttentionShape, Op};
use crate::error::{Error, Result};
use crate::kernels::Element;
use std::collections::BTreeMap;

/// The name in the Store of the gradient of a parameter.
pub fn gradient_name(parameter: &str) -> String {
    format!("{parameter}.gradient")
}

/// A tensor and the gradient of the loss with respect to it.
pub type Seed = (TensorId, TensorId);

/// Appends the backward pass. Returns the gradient of every tensor in `wanted` (none where the
/// seeds do not depend on it).
///
/// # Errors
/// If a gradient is asked of an op that has none, such as an entropy.
pub fn differentiate(
    graph: &mut Graph,
    seeds: &[Seed],
    wanted: &[TensorId],
) -> Result<Vec<Option<TensorId>>> {
    assert!(!graph.fixed_order, "a graph of fixed order has no gradients");
    graph.backward(|graph| append(graph, seeds, wanted))
}

fn append(graph: &mut Graph, seeds: &[Seed], wanted: &[TensorId]) -> Result<Vec<Option<TensorId>>> {
    let forward_count = graph.nodes.len();
    let mut backward = Backward::new(graph, wanted);
    for &(tensor, gradient) in seeds {
        backward.contribute(tensor, gradient, 1.0);
    }
    check_parameters(graph)?;
    for index in (0..forward_count).rev() {
        let node = graph.nodes[index].clone();
        let douts = node
            .outputs
            .iter()
            .map(|&output| backward.gradient(graph, output))
            .collect::<Result<Vec<_>>>()?;
        if douts.iter().all(Option::is_none) {
            continue;
        }
        let label = format!("{}.backward", node.label);
        graph.scoped(label, |graph| rule(graph, &mut backward, &node, &douts))?;
    }
    wanted.iter().map(|&tensor| backward.gradient(graph, tensor)).collect()
}

impl Graph {
    /// The gradient of the summed, weighted nats of [`Graph::cross_entropy`] with respect to its
    /// logits: the seed of a training step.
    pub fn cross_entropy_seed(&mut self, nats: TensorId) -> Seed {
        let made = |node: &&super::graph::Node| node.outputs.contains(&nats);
        let node = self.nodes.iter().find(made).expect("nats come from a node");
        assert_eq!(node.op, Op::CrossEntropy, "the loss is a cross-entropy");
        let inputs = node.inputs.clone();
        let label = format!("{}.backward", node.label);
        let shape = self.shape(inputs[0]);
        let node = |graph: &mut Self| graph.node(Op::CrossEntropyGrad, &inputs, &[shape]);
        let seed = self.scoped(label, |graph| graph.backward(node));
        (inputs[0], seed[0])
    }
}

/// That parameters are read only by ops whose lowering adds to a gradient in the Store.
fn check_parameters(graph: &Graph) -> Result<()> {
    for node in &graph.nodes {
        for (index, &input) in node.inputs.iter().enumerate() {
            let trainable = Source::trainable(&graph.tensor(input).source);
            let adds = match node.op {
                Op::Matmul { .. } => index < 2,
                Op::RmsNorm { .. } | Op::ByteEmbedding => index == 1,
                Op::HashEmbedding { .. } => index == 2,
                Op::GatherRows => index == 0,
                _ => false,
            };
            if trainable && !adds {
                return Err(no_gradient(&node.op, "cannot read a trainable parameter there"));
            }
        }
    }
    Ok(())
}

/// Gradients on their way: for every tensor the contributions that have arrived.
struct Backward {
    contributions: BTreeMap<TensorId, Vec<(TensorId, f32)>>,
    /// Whether a tensor depends on something whose gradient is wanted.
    needed: Vec<bool>,
}

impl Backward {
    fn new(graph: &Graph, wanted: &[TensorId]) -> Self {
        let mut needed: Vec<bool> = graph
            .tensors
            .iter()
            .map(|tensor| matches!(tensor.source, Source::Stored { trainable: true, .. }))
            .collect();
        for &TensorId(index) in wanted {
            needed[index] = true;
        }
        for node in &graph.nodes {
            if node.inputs.iter().any(|input| needed[input.0]) {
                for output in &node.outputs {
                    needed[output.0] = true;
                }
            }
        }
        Self { contributions: BTreeMap::new(), needed }
    }

    fn needs(&self, tensor: TensorId) -> bool {
        self.needed.get(tensor.0).copied().unwrap_or(false)
    }

    /// Adds `scale * gradient` to the gradient of `tensor`, which is no parameter: those are read
    /// by ops that add to their gradient themselves.
    fn contribute(&mut self, tensor: TensorId, gradient: TensorId, scale: f32) {
        if self.needs(tensor) {
            self.contributions.entry(tensor).or_default().push((gradient, scale));
        }
    }

    /// The sum of all contributions to a tensor, as one tensor. Those that whoever makes them can
    /// add to another come late, so that fusion leaves no sum by itself, and those of norms last,
    /// since the gradient of a norm can be written in f16 as well.
    fn gradient(&mut self, graph: &mut Graph, tensor: TensorId) -> Result<Option<TensorId>> {
        let Some(contributions) = self.contributions.get_mut(&tensor) else { return Ok(None) };
        contributions.sort_by_key(|&(gradient, scale)| {
            let maker = graph.nodes.iter().rfind(|node| node.outputs[0] == gradient);
            match maker.map(|node| &node.op) {
                Some(Op::RmsNormGrad { .. }) if scale == 1.0 => 2,
                Some(Op::Matmul { .. } | Op::PatchPoolGrad { .. }) if scale == 1.0 => 1,
                _ => 0,
            }
        });
        let (mut sum, mut scale) = contributions[0];
        for &(gradient, beta) in &contributions[1..] {
            (sum, scale) = (graph.add(sum, scale, gradient, beta)?, 1.0);
        }
        if scale != 1.0 {
            sum = graph.add(sum, scale, sum, 0.0)?;
        }
        *contributions = vec![(sum, 1.0)];
        Ok(Some(sum))
    }
}

/// Where the gradient of an input goes.
enum Target {
    /// Nobody needs it.
    Nowhere,
    /// Into the Store: the input is a parameter of this name.
    Store(String),
    /// Into a new tensor.
    Fresh,
}

fn target(graph: &Graph, backward: &Backward, input: TensorId) -> Target {
    match &graph.tensor(input).source {
        Source::Stored { name, trainable: true } => Target::Store(name.clone()),
        _ if backward.needs(input) => Target::Fresh,
        _ => Target::Nowhere,
    }
}

/// Appends the node that computes the gradient of `input`: added to the Store if it is a parameter,
/// contributed otherwise.
fn emit(graph: &mut Graph, backward: &mut Backward, input: TensorId, op: Op, inputs: &[TensorId]) {
    let shape = graph.shape(input);
    match target(graph, backward, input) {
        Target::Nowhere => {}
        Target::Fresh => {
            let gradient = graph.node(op, inputs, &[shape])[0];
            backward.contribute(input, gradient, 1.0);
        }
        Target::Store(name) => {
            let gradient = graph.node(op, inputs, &[shape])[0];
            accumulate(graph, gradient, &name);
        }
    }
}

/// Makes an output of a node add to the gradient of a parameter.
fn accumulate(graph: &mut Graph, output: TensorId, name: &str) {
    graph.tensors[output.0].source = Source::Accumulated(gradient_name(name));
}

/// The rule of every op: from the gradients of its outputs to those of its inputs.
fn rule(
    graph: &mut Graph,
    backward: &mut Backward,
    node: &super::graph::Node,
    douts: &[Option<TensorId>],
) -> Result<()> {
    let inputs = &node.inputs;
    let Some(dout) = douts[0] else {
        return Err(no_gradient(&node.op, "of a by-product"));
    };
    match &node.op {
        Op::Matmul { transpose_a, transpose_b, residual_scale } => {
            assert!(*residual_scale == 0.0, "fusion comes after autodiff");
            let (a, b, ta, tb) = (inputs[0], inputs[1], *transpose_a, *transpose_b);
            let matmul = |transpose_a, transpose_b| Op::Matmul {
                transpose_a,
                transpose_b,
                residual_scale: 0.0,
            };
            match ta {
                false => emit(graph, backward, a, matmul(false, !tb), &[dout, b]),
                true => emit(graph, backward, a, matmul(tb, true), &[b, dout]),
            }
            match tb {
                false => emit(graph, backward, b, matmul(!ta, false), &[a, dout]),
                true => emit(graph, backward, b, matmul(true, ta), &[dout, a]),
            }
        }
        Op::Add { alpha, beta } => {
            backward.contribute(inputs[0], dout, *alpha);
            backward.contribute(inputs[1], dout, *beta);
        }
        Op::Reshape => {
            let cols = graph.tensor(inputs[0]).cols;
            let gradient = graph.reshape(dout, cols)?;
            backward.contribute(inputs[0], gradient, 1.0);
        }
        Op::RmsNorm { .. } => rms_norm_rule(graph, backward, node, dout),
        Op::Rope { rotated_cols, head_dim, sign } => {
            let op = Op::Rope { rotated_cols: *rotated_cols, head_dim: *head_dim, sign: -sign };
            emit(graph, backward, inputs[0], op, &[dout, inputs[1], inputs[2]]);
        }
        Op::Attention(shape) => attention_rule(graph, backward, node, dout, *shape),
        Op::Swiglu => emit(graph, backward, inputs[0], Op::SwigluGrad, &[inputs[0], dout]),
        Op::ByteEmbedding => {
            let lists = [inputs[2], inputs[3], inputs[4], dout];
            emit(graph, backward, inputs[1], Op::ScatterAdd, &lists);
        }
        Op::HashEmbedding { .. } => {
            backward.contribute(inputs[0], dout, 1.0);
            let lists = [inputs[3], inputs[4], inputs[5], dout];
            emit(graph, backward, inputs[2], Op::ScatterAdd, &lists);
        }
        Op::GatherRows => {
            let lists = [inputs[2], inputs[3], inputs[4], dout];
            emit(graph, backward, inputs[0], Op::ScatterAdd, &lists);
        }
        Op::PatchPool { kinds } => {
            let op = Op::PatchPoolGrad { kinds: kinds.clone(), residual_scale: 0.0 };
            let grad_inputs = [inputs[0], node.outputs[0], dout, inputs[1]];
            emit(graph, backward, inputs[0], op, &grad_inputs);
        }
        op => return Err(no_gradient(op, "has no rule")),
    }
    Ok(())
}

fn rms_norm_rule(
    graph: &mut Graph,
    backward: &mut Backward,
    node: &super::graph::Node,
    dout: TensorId,
) {
    let (x, gain, inverse_rms) = (node.inputs[0], node.inputs[1], node.outputs[1]);
    let op = |with_gain| Op::RmsNormGrad { residual_scale: 0.0, with_gain };
    let inputs = [dout, x, gain, inverse_rms];
    let Target::Store(name) = target(graph, backward, gain) else {
        return emit(graph, backward, x, op(false), &inputs);
    };
    let shapes = [graph.shape(x), graph.shape(gain)];
    let outputs = graph.node(op(true), &inputs, &shapes);
    accumulate(graph, outputs[1], &name);
    backward.contribute(x, outputs[0], 1.0);
}

fn attention_rule(
    graph: &mut Graph,
    backward: &mut Backward,
    node: &super::graph::Node,
    dout: TensorId,
    shape: AttentionShape,
) {
    let (q, kv) = (node.inputs[0], node.inputs[1]);
    let (out, log_sum_exp) = (node.outputs[0], node.outputs[1]);
    let width = shape.head_count * shape.head_dim;
    let kv_width = 2 * shape.kv_head_count * shape.head_dim;
    let delta = (graph.tensor(q).rows, shape.head_count, Element::F32);
    let inputs = [q, kv, node.inputs[2], node.inputs[3], out, log_sum_exp, dout];
    if q == kv {
        assert_eq!(graph.tensor(q).cols, width + kv_width, "heads cover the columns of qkv");
        let outputs = [graph.shape(q), delta];
        let gradients = graph.node(Op::AttentionGrad(shape), &inputs, &outputs);
        backward.contribute(q, gradients[0], 1.0);
    } else {
        assert_eq!(graph.tensor(q).cols, width, "heads cover the columns of q");
        assert_eq!(graph.tensor(kv).cols, kv_width, "heads cover the columns of kv");
        let outputs = [graph.shape(q), graph.shape(kv), delta];
        let gradients = graph.node(Op::AttentionGrad(shape), &inputs, &outputs);
        backward.contribute(q, gradients[0], 1.0);
        backward.contribute(kv, gradients[1], 1.0);
    }
}

fn no_gradient(op: &Op, what: &str) -> Error {
    Error::input(op.name(), format!("{what}: no gradient flows through it"))
}
