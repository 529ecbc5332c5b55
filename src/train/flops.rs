//! Floating-point operations of a model on a batch, as the paper counts them (spec §21): two for
//! every multiply-add of matrix products and of attention, nothing for the rest.
//!
//! They are counted on the forward pass that the model has, with the keys that its queries really
//! see, not by a formula: sizes of the feed-forward layers, shared heads and windows are exact. The
//! backward pass is twice the forward pass, whatever is computed again.

use crate::blt::config::ModelConfig;
use crate::blt::{Batch, LoadedModel, evaluation_graph};
use crate::engine::{Engine, InputValues};
use crate::error::Result;
use crate::graph::{BufferId, Dispatch, Recording, compile};
use crate::kernels::attention::attention;
use crate::kernels::dense::matmul;
use crate::kernels::{Axis, Counts};

/// Forward and backward passes over the forward pass.
pub const TRAINING_FACTOR: u64 = 3;

/// Counts the operations of one model.
pub struct ForwardWork {
    recording: Recording,
}

impl ForwardWork {
    /// For a model as it lies in its Store.
    ///
    /// # Errors
    /// If the shapes of the configuration contradict each other.
    pub fn new<E: Engine>(model: &LoadedModel<E>) -> Result<Self> {
        let graph = evaluation_graph(&model.config)?;
        let capacity = Counts::default().with(Axis::Bytes, 1).with(Axis::Patches, 1);
        Ok(Self { recording: compile(graph, "forward", &model.layout, capacity)? })
    }

    /// Operations of a forward pass over a batch.
    pub fn flops(&self, batch: &Batch) -> u64 {
        let mut pairs = Vec::new();
        let of = |dispatch| self.dispatch_flops(dispatch, batch, &mut pairs);
        self.recording.dispatches.iter().map(of).sum()
    }

    /// `pairs` are queries and the keys that they see, by the input that says which, so that
    /// layers that share a table count it once.
    fn dispatch_flops(
        &self,
        dispatch: &Dispatch,
        batch: &Batch,
        pairs: &mut Vec<(usize, u64)>,
    ) -> u64 {
        if dispatch.kernel.name == matmul::KERNEL.name {
            let params: matmul::Params = bytemuck::pod_read_unaligned(&dispatch.params);
            let [m, n, k] = [params.m, params.n, params.k].map(|it| it.length(&batch.counts));
            return 2 * (m * n * k) as u64 * u64::from(params.batch_count.max(1));
        }
        if dispatch.kernel.name != attention::KERNEL.name {
            return 0;
        }
        let params: attention::Params = bytemuck::pod_read_unaligned(&dispatch.params);
        let mut bindings = attention::KERNEL.bindings.iter();
        let index = bindings.position(|it| it.name == "key_range").expect("attention has ranges");
        let BufferId::Input(input) = dispatch.regions[index].buffer else {
            unreachable!("ranges of an evaluation are inputs")
        };
        let known = pairs.iter().find(|(known, _)| *known == input).map(|(_, count)| *count);
        let count = known.unwrap_or_else(|| {
            let count = self.range_sum(batch, input);
            pairs.push((input, count));
            count
        });
        let factors = u64::from(params.query_factor) * u64::from(params.key_factor);
        4 * count * factors * u64::from(params.head_count) * u64::from(params.head_dim)
    }

    /// The lengths of all ranges of an input together.
    fn range_sum(&self, batch: &Batch, input: usize) -> u64 {
        let name = &self.recording.inputs[input].name;
        let Some(InputValues::U(ranges)) = batch.inputs.get(name) else {
            unreachable!("a batch has the ranges of its model")
        };
        ranges.chunks_exact(2).map(|range| u64::from(range[1].saturating_sub(range[0]))).sum()
    }
}

/// Operations of an entropy model for one byte in the middle of a long text, where every layer sees
/// its whole window; `None` for another model.
///
/// # Errors
/// As [`ForwardWork::new`].
pub fn entropy_flops_per_byte<E: Engine>(model: &LoadedModel<E>) -> Result<Option<u64>> {
    let ModelConfig::Entropy(config) = &model.config else { return Ok(None) };
    let transformer = &config.transformer;
    let window = transformer.window.unwrap_or(transformer.max_positions);
    let work = ForwardWork::new(model)?;
    let counts = Counts::default().with(Axis::Bytes, 1);
    let flops = work.recording.dispatches.iter().map(|dispatch| {
        if dispatch.kernel.name == matmul::KERNEL.name {
            dispatch.cost(&counts).flops
        } else if dispatch.kernel.name == attention::KERNEL.name {
            let params: attention::Params = bytemuck::pod_read_unaligned(&dispatch.params);
            4 * window as u64 * u64::from(params.head_count) * u64::from(params.head_dim)
        } else {
            0
        }
    });
    Ok(Some(flops.sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::BenchShape;
    use crate::blt::parameters::ParameterSpec;
    use crate::blt::{TextSize, forward_flops};
    use crate::cpu::HostEngine;

    const BYTES: u64 = 2 * 64;
    const PATCHES: u64 = 2 * 17;
    const QUERIES: u64 = 2 * PATCHES;

    /// How many rows a matrix is multiplied with.
    fn row_count(spec: &ParameterSpec) -> u64 {
        let has = |part: &str| spec.name.contains(part);
        if has("norm") || has("embed_tokens") || has("hash_tok_embedding") {
            return 0;
        }
        if has("global_transformer") || has("patch_embedding_projection") {
            return PATCHES;
        }
        // Queries of the encoder's cross-attention are patches, those of the decoder's bytes.
        let asks = has("q_proj") || has("o_proj");
        if has("cross_attn") && asks == has("local_encoder") { QUERIES } else { BYTES }
    }

    #[test]
    fn every_matrix_and_every_pair_counts() {
        let text = include_str!("../../tests/support/tiny.toml");
        let shape = BenchShape::from_toml("tiny", text).unwrap();
        let (engine, batch) = (HostEngine::<f32>::default(), shape.batch(0).unwrap());
        let config = shape.model.config.clone();
        let model = pollster::block_on(LoadedModel::create(&engine, config, false)).unwrap();
        let matrices: u64 = model
            .parameters
            .iter()
            .map(|spec| 2 * (spec.rows * spec.cols) as u64 * row_count(spec))
            .sum();
        // Two rows of 64 bytes see up to 16, two of 17 patches see all before, in two layers; every
        // byte is in one patch of two vectors on either side, but the first, which has none before.
        let windows = 2 * (16 * 17 / 2 + 48 * 16) * 64;
        let latent = 2 * (2 * 17 * 9) * 128;
        let crossing = BYTES * 2 * 64;
        let attention = 4 * (2 * windows + latent + 2 * crossing);
        let got = ForwardWork::new(&model).unwrap().flops(&batch);
        assert_eq!(got, matrices + attention, "{matrices} and {attention}");
    }

    /// The formula and the plan, for what a configuration can say of layers, heads and widths.
    #[test]
    fn formulas_count_what_plans_do() {
        let text = include_str!("../../tests/support/tiny.toml");
        for changes in [
            &[][..],
            &[("cross_attn_k = 2", "cross_attn_k = 4"), ("dim_global = 128", "dim_global = 96")],
            &[("n_layers_local_encoder = 1", "n_layers_local_encoder = 2")],
            &[("cross_attn_all_layers_decoder = true", "cross_attn_all_layers_decoder = false")],
            &[("n_layers_local_decoder = 1", "n_layers_local_decoder = 3")],
            &[
                ("cross_attn_k = 2", "cross_attn_k = 2\ncross_attn_all_layers_encoder = true"),
                ("n_layers_local_encoder = 1", "n_layers_local_encoder = 2"),
            ],
            &[("n_heads_global = 4", "n_heads_global = 4\nn_kv_heads_global = 2")],
            &[("window_len = 16", "window_len = 100")],
        ] {
            let mut text = text.to_owned();
            for (from, to) in changes {
                assert!(text.contains(from), "{from}");
                text = text.replace(from, to);
            }
            let shape = BenchShape::from_toml("tiny", &text).unwrap();
            let (engine, batch) = (HostEngine::<f32>::default(), shape.batch(0).unwrap());
            let config = shape.model.config.clone();
            let size = TextSize { bytes: BYTES as usize / 2, patches: PATCHES as usize / 2 };
            let parts = forward_flops(&config, size);
            assert!(parts.values().all(|flops| *flops > 0), "{parts:?}");
            let model = pollster::block_on(LoadedModel::create(&engine, config, false)).unwrap();
            let planned = ForwardWork::new(&model).unwrap().flops(&batch);
            assert_eq!(2 * parts.values().sum::<u64>(), planned, "{changes:?}: {parts:?}");
        }
    }

    #[test]
    fn an_entropy_model_sees_its_window() {
        let text = include_str!("../../tests/support/tiny.toml");
        let shape = BenchShape::from_toml("tiny", text).unwrap();
        let ModelConfig::Blt(blt) = &shape.model.config else { panic!("it is a BLT") };
        let entropy = blt.patcher.clone().unwrap_or_else(|| {
            let keys = toml::from_str::<toml::Table>(text).unwrap()["entropy_model"].clone();
            let keys = keys.as_table().unwrap().clone();
            let keys = crate::blt::config::ReferenceEntropyKeys::from_table(keys).unwrap();
            keys.into_config().unwrap().config
        });
        let engine = HostEngine::<f32>::default();
        let config = ModelConfig::Entropy(entropy);
        let model = pollster::block_on(LoadedModel::create(&engine, config, false)).unwrap();
        // Four projections, three matrices of 96, the head, and 16 keys.
        let expected = 2 * (4 * 32 * 32 + 3 * 32 * 96 + 260 * 32) + 4 * 16 * 32;
        assert_eq!(entropy_flops_per_byte(&model).unwrap(), Some(expected));
        // Of 64 bytes the first 16 see fewer.
        let text = TextSize { bytes: 64, patches: 0 };
        let parts = forward_flops(&model.config, text);
        let unseen = 4 * 32 * (16 * 15 / 2);
        assert_eq!(parts.values().sum::<u64>(), 64 * expected - unseen);
    }
}
