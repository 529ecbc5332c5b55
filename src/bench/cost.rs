//! The work of a dispatch with the rows that are really there.
//!
//! How many keys a query sees stands in the index tables and not in the parameters, so the estimate
//! of a plan guesses; here the tables of a batch are counted.

use crate::engine::{InputValues, Inputs};
use crate::graph::{BufferId, Dispatch, Recording};
use crate::kernels::attention::{attention, attention_key_grad, attention_query_grad};
use crate::kernels::{Access, Cost, Element, Step};

/// The work of a dispatch of `recording` in one step.
pub(super) fn cost(
    dispatch: &Dispatch,
    recording: &Recording,
    step: &Step,
    inputs: &Inputs,
) -> Cost {
    let params = with_seen_keys(dispatch, recording, step, inputs);
    let params = params.as_ref().map_or(&dispatch.params[..], bytemuck::bytes_of);
    let cost = (dispatch.kernel.cost)(params, &step.counts);
    // Kernels count four bytes an element.
    let scaled = |bytes: u64, written| (bytes as f64 * size_of_halves(dispatch, written)) as u64;
    Cost {
        flops: cost.flops,
        read_bytes: scaled(cost.read_bytes, false),
        written_bytes: scaled(cost.written_bytes, true),
    }
}

/// The parameters of an attention with the mean number of keys that its queries see.
fn with_seen_keys(
    dispatch: &Dispatch,
    recording: &Recording,
    step: &Step,
    inputs: &Inputs,
) -> Option<attention::Params> {
    let of_attention = [&attention::KERNEL, &attention_query_grad::KERNEL];
    let name = dispatch.kernel.name;
    if name != attention_key_grad::KERNEL.name && of_attention.iter().all(|it| it.name != name) {
        return None;
    }
    let ranges = ranges(dispatch, recording, inputs)?;
    let mut params: attention::Params = bytemuck::pod_read_unaligned(&dispatch.params);
    let entries = ranges.chunks_exact(2).map(|pair| u64::from(pair[1].saturating_sub(pair[0])));
    let factors = u64::from(params.query_factor) * u64::from(params.key_factor);
    let pair_count = entries.sum::<u64>() * factors;
    let query_count = step.length(params.queries).max(1) as u64;
    // One at least: zero means that nobody knows.
    params.keys_per_query = (pair_count as f64 / query_count as f64).round().max(1.0) as u32;
    Some(params)
}

/// The bytes of the bindings that are read, or written, over what they were in f32.
fn size_of_halves(dispatch: &Dispatch, written: bool) -> f64 {
    let (mut bytes, mut full_bytes) = (0, 0);
    for (index, region) in dispatch.regions.iter().enumerate() {
        if (dispatch.kernel.bindings[index].access != Access::Read) == written {
            bytes += region.length * dispatch.kernel.element(index, dispatch.halves).bytes();
            full_bytes += region.length * Element::F32.bytes();
        }
    }
    if full_bytes == 0 { 1.0 } else { bytes as f64 / full_bytes as f64 }
}

/// The table of ranges that a dispatch reads.
fn ranges<'a>(dispatch: &Dispatch, recording: &Recording, inputs: &'a Inputs) -> Option<&'a [u32]> {
    let mut bindings = dispatch.kernel.bindings.iter();
    let index = bindings.position(|it| it.name == "key_range" || it.name == "query_range")?;
    let BufferId::Input(input) = dispatch.regions[index].buffer else { return None };
    match inputs.get(&recording.inputs[input].name)? {
        InputValues::U(values) => Some(values),
        InputValues::F(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::BenchShape;
    use crate::blt::LoadedModel;
    use crate::blt::training_graph;
    use crate::cpu::HostEngine;
    use crate::graph::compile;

    #[test]
    fn attention_counts_the_pairs_of_the_batch() {
        let text = include_str!("../../tests/support/tiny.toml");
        let shape = BenchShape::from_toml("tiny", text).unwrap();
        let (engine, batch) = (HostEngine::<f32>::default(), shape.batch(0).unwrap());
        let config = shape.model.config.clone();
        let model = pollster::block_on(LoadedModel::create(&engine, config, true)).unwrap();
        let graph = training_graph(&model.config).unwrap();
        let recording = compile(graph, "micro", &model.layout, batch.counts).unwrap();
        let step = Step::of(batch.counts);
        let flops = |kernel: &str, label: &str| {
            let found = recording.dispatches.iter().find(|dispatch| {
                dispatch.kernel.name == kernel && dispatch.label.starts_with(label)
            });
            cost(found.unwrap(), &recording, &step, &batch.inputs).flops
        };
        // 2 rows of 17 patches, each sees itself and those before: 9 on average; 4 heads of 32.
        let latent = "model.global_transformer.layers.0";
        assert_eq!(flops("attention", latent), 4 * 2 * 17 * 9 * 4 * 32);
        assert_eq!(flops("attention_query_grad", latent), (6 * 9 + 2) * 2 * 17 * 4 * 32);
        assert_eq!(flops("attention_key_grad", latent), 8 * 2 * 17 * 9 * 4 * 32);
        // 2 x 64 bytes, each sees the 2 vectors of one patch; 2 heads of 32.
        let decoder = "model.local_decoder.cross_attn_layers.0";
        assert_eq!(flops("attention", decoder), 4 * 2 * 64 * 2 * 2 * 32);
    }
}
