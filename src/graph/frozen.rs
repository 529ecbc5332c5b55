//! Gradients that nobody wants: those of frozen parameters.
//!
//! A gradient that is added to the Store keeps alive what computes it. Once it is not, the pass that
//! removes dead code takes away its kernel, and with it whatever flowed towards frozen parameters
//! alone: where a whole stack below is frozen, so is its backward pass.

use std::collections::BTreeSet;

use super::autodiff::gradient_name;
use super::graph::{Graph, Source, TensorId};
use super::op::Op;

/// Adds the gradients of these parameters to nothing.
pub(super) fn drop_gradients(graph: &mut Graph, frozen: &BTreeSet<String>) {
    if frozen.is_empty() {
        return;
    }
    let names: BTreeSet<_> = frozen.iter().map(|name| gradient_name(name)).collect();
    let mut is_dropped = vec![false; graph.tensors.len()];
    for (tensor, is_dropped) in graph.tensors.iter_mut().zip(&mut is_dropped) {
        if matches!(&tensor.source, Source::Accumulated(name) if names.contains(name)) {
            tensor.source = Source::Computed;
            *is_dropped = true;
        }
    }
    // The gradient of a gain is a by-product of that of what it scales.
    for node in &mut graph.nodes {
        if let Op::RmsNormGrad { with_gain, .. } = &mut node.op
            && *with_gain
            && let Some(&TensorId(gain)) = node.outputs.get(1)
            && is_dropped[gain]
        {
            *with_gain = false;
            node.outputs.truncate(1);
        }
    }
}
