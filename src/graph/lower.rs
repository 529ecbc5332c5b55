//! Lowering: from a graph to a Recording for given capacities over a Store's layout.

mod norms;
mod products;
mod sums;
mod tables;

use super::compile::CompileOptions;
use super::graph::{Graph, Node, Source, TensorId};
use super::lifetimes::{Slots, assign_slots};
use super::op::{AttentionShape, Op, PoolKind, Reach};
use super::recording::{BufferId, Dispatch, Input, Output, Recording, Region, Transient};
use super::store::{Placement, StoreLayout};
use crate::error::Result;
use crate::kernels::{
    Counts, Element, Extent, Halves, Kernel, Situation, attention, decode, dense, embedding, loss,
    norm, patch, reduce,
};
use crate::packed::WeightType;
use bytemuck::NoUninit;
use sums::Waiting;

/// The dispatches of a graph after all passes, with a slot for every tensor and its outputs.
///
/// # Errors
/// If the layout lacks a tensor that the graph reads.
pub(super) fn lower(
    graph: &Graph,
    name: &str,
    layout: &StoreLayout,
    capacity: Counts,
    options: &CompileOptions,
) -> Result<Recording> {
    let slots = assign_slots(graph, &capacity);
    let mut recording = Recording::new(name, capacity);
    recording.transients = slots.slots.clone();
    let mut lower = Lower {
        graph,
        layout,
        slots,
        recording,
        options,
        label: String::new(),
        fixed_order: false,
        waiting: Waiting::default(),
        scratch: None,
        nothing: [None; 2],
    };
    lower.declare_inputs();
    for node in &graph.nodes {
        lower.label =
            if node.label.is_empty() { node.op.name().into() } else { node.label.clone() };
        lower.fixed_order = node.fixed_order;
        lower.node(node)?;
    }
    lower.sum_pieces();
    for (name, tensor) in &graph.outputs {
        let (rows, cols, _) = graph.shape(*tensor);
        let region = lower.region(*tensor)?;
        lower.recording.outputs.push(Output { name: name.clone(), rows, cols, region });
    }
    Ok(lower.recording)
}

struct Lower<'a> {
    graph: &'a Graph,
    layout: &'a StoreLayout,
    slots: Slots,
    recording: Recording,
    options: &'a CompileOptions,
    label: String,
    /// Whether the node that is being lowered needs the kernels of one fixed order.
    fixed_order: bool,
    waiting: Waiting,
    /// The transient slot for what lives no longer than a pair of dispatches.
    scratch: Option<usize>,
    /// What is bound where nothing is written.
    nothing: [Option<Region>; 2],
}

impl Lower<'_> {
    fn declare_inputs(&mut self) {
        let used = |id: usize| {
            let nodes = self.graph.nodes.iter();
            let by_nodes = nodes.flat_map(|node| &node.inputs).any(|input| input.0 == id);
            by_nodes || self.graph.outputs.iter().any(|(_, tensor)| tensor.0 == id)
        };
        let used: Vec<bool> = (0..self.graph.tensors.len()).map(used).collect();
        for (tensor, used) in self.graph.tensors.iter().zip(used) {
            if let (Source::Input(name), true) = (&tensor.source, used) {
                let (rows, cols, element) = (tensor.rows, tensor.cols, tensor.element);
                self.recording.inputs.push(Input { name: name.clone(), element, rows, cols });
            }
        }
    }

    /// All of a tensor as one region.
    fn region(&self, id: TensorId) -> Result<Region> {
        let tensor = self.graph.tensor(id);
        let length = tensor.rows.length(&self.recording.capacity) * tensor.cols;
        match &tensor.source {
            Source::Input(name) => {
                let inputs = &self.recording.inputs;
                let index = inputs.iter().position(|input| input.name == *name);
                let index = index.expect("every input that is used was declared");
                Ok(Region { buffer: BufferId::Input(index), offset: 0, length })
            }
            Source::Stored { name, .. } | Source::Accumulated(name) => {
                let place = self.layout.require(name)?;
                assert_eq!(place.shards.len(), 1, "{name} is sharded; only tables may be");
                let same = place.rows * place.cols == length;
                assert!(same, "{name} has another shape in the store");
                Ok(shard_region(place, 0))
            }
            Source::Computed => {
                let slot = self.slots.of_tensor[id.0].expect("computed tensors have a slot");
                Ok(Region { buffer: BufferId::Transient(slot), offset: 0, length })
            }
        }
    }

    /// Appends a dispatch over whole tensors.
    fn dispatch(
        &mut self,
        kernel: &'static Kernel,
        params: &impl NoUninit,
        tensors: &[TensorId],
    ) -> Result<()> {
        let regions = tensors.iter().map(|&id| self.region(id)).collect::<Result<Vec<_>>>()?;
        self.push(kernel, params, self.halves(tensors), regions);
        Ok(())
    }

    /// Which of the tensors of a dispatch are f16.
    fn halves(&self, tensors: &[TensorId]) -> Halves {
        let half = |&index: &usize| self.graph.tensor(tensors[index]).element == Element::F16;
        let halves: Vec<usize> = (0..tensors.len()).filter(half).collect();
        Halves::of(&halves)
    }

    /// A place to bind where a kernel writes nothing; another one for another index.
    fn nothing(&mut self, index: usize) -> Region {
        // The second is bound where variants for wide lanes have eight numbers an element.
        let length = [1, 8][index];
        let add = || self.recording.add_transient(Element::F32, length);
        *self.nothing[index].get_or_insert_with(add)
    }

    /// Numbers that no dispatch but the next one reads.
    fn scratch(&mut self, length: usize) -> Region {
        let transients = &mut self.recording.transients;
        let slot = *self.scratch.get_or_insert_with(|| {
            transients.push(Transient { element: Element::F32, length });
            transients.len() - 1
        });
        transients[slot].length = transients[slot].length.max(length);
        Region { buffer: BufferId::Transient(slot), offset: 0, length }
    }

    fn dispatch_regions(
        &mut self,
        kernel: &'static Kernel,
        params: &impl NoUninit,
        regions: Vec<Region>,
    ) {
        self.push(kernel, params, Halves::NONE, regions);
    }

    fn push(
        &mut self,
        kernel: &'static Kernel,
        params: &impl NoUninit,
        halves: Halves,
        regions: Vec<Region>,
    ) {
        let params = bytemuck::bytes_of(params).to_vec();
        let abilities = &self.options.abilities;
        let fixed_order = self.fixed_order;
        let situation = Situation { params: &params, halves, abilities };
        let variant = match fixed_order {
            true => kernel.choose_in_fixed_order(&situation),
            false => self.options.tuned.choose(kernel, &situation),
        };
        let label = self.label.clone();
        let dispatch = Dispatch { kernel, variant, fixed_order, halves, params, regions, label };
        self.recording.dispatches.push(dispatch);
    }

    fn rows(&self, id: TensorId) -> Extent {
        self.graph.tensor(id).rows
    }

    fn cols(&self, id: TensorId) -> u32 {
        self.graph.tensor(id).cols as u32
    }

    /// How a tensor of the Store is packed.
    fn weights(&self, id: TensorId) -> WeightType {
        match &self.graph.tensor(id).source {
            Source::Stored { name, .. } => self.layout.get(name).map(|place| place.weights),
            Source::Input(_) | Source::Accumulated(_) | Source::Computed => None,
        }
        .unwrap_or(WeightType::F32)
    }

    fn accumulates(&self, id: TensorId) -> bool {
        matches!(self.graph.tensor(id).source, Source::Accumulated(_))
    }

    fn node(&mut self, node: &Node) -> Result<()> {
        let (inputs, outputs) = (&node.inputs, &node.outputs);
        let out = outputs[0];
        match &node.op {
            Op::Reshape => Ok(()),
            Op::Unpack => {
                let (rows, cols) = (self.rows(out), self.cols(out));
                let weight_type = self.weights(inputs[0]).number();
                let params = dense::unpack::Params { rows, cols, weight_type };
                self.dispatch(&dense::unpack::KERNEL, &params, &[inputs[0], out])
            }
            Op::Cast => {
                let params = dense::copy::Params::new(self.rows(out), self.cols(out));
                self.dispatch(&dense::copy::KERNEL, &params, &[inputs[0], out])
            }
            Op::Matmul { .. } => self.matmul(node),
            Op::MatmulRope { rotated_cols, head_dim } => {
                self.matmul_rope(node, *rotated_cols, *head_dim)
            }
            Op::MatvecRope { .. } => self.matvec_rope(node),
            Op::Matvec { norm_eps, is_gated, residual_scale } => {
                self.matvec(node, *norm_eps, *is_gated, *residual_scale)
            }
            Op::MatmulSwiglu => self.matmul_swiglu(node),
            Op::MatmulSwigluGrad => self.matmul_swiglu_grad(node),
            Op::Add { alpha, beta } => {
                let params = dense::add::Params::new(self.rows(out), self.cols(out), *alpha, *beta);
                self.dispatch(&dense::add::KERNEL, &params, &[inputs[0], inputs[1], out])
            }
            Op::RmsNorm { eps } => {
                let (rows, cols) = (self.rows(out), self.cols(out));
                let params = norm::rms_norm::Params { rows, cols, eps: *eps };
                let tensors = [inputs[0], inputs[1], out, outputs[1]];
                self.dispatch(&norm::rms_norm::KERNEL, &params, &tensors)
            }
            Op::RmsNormGrad { residual_scale, with_gain } => {
                self.rms_norm_grad(node, *residual_scale, *with_gain)
            }
            Op::Rope { rotated_cols, head_dim, sign } => {
                let (rows, cols) = (self.rows(out), self.cols(out));
                let (rotated, head_dim) = (*rotated_cols as u32, *head_dim as u32);
                let params = attention::rope::Params::new(rows, cols, rotated, head_dim, *sign);
                let tensors = [inputs[0], inputs[1], inputs[2], out];
                self.dispatch(&attention::rope::KERNEL, &params, &tensors)
            }
            Op::Attention(shape) if self.fixed_order => {
                let params = self.attention_params(inputs, *shape);
                let tensors = [inputs[0], inputs[1], inputs[2], out];
                self.dispatch(&attention::attention_row::KERNEL, &params, &tensors)
            }
            Op::Attention(shape) => {
                let params = self.attention_params(inputs, *shape);
                let tensors = [inputs[0], inputs[1], inputs[2], out, outputs[1]];
                self.dispatch(&attention::attention::KERNEL, &params, &tensors)
            }
            Op::AttentionGrad(shape) => self.attention_grad(node, *shape),
            Op::Swiglu => {
                let params = dense::swiglu::Params::new(self.rows(out), self.cols(out));
                self.dispatch(&dense::swiglu::KERNEL, &params, &[inputs[0], out])
            }
            Op::SwigluGrad => {
                let params = dense::swiglu::Params::new(self.rows(out), self.cols(inputs[1]));
                self.dispatch(&dense::swiglu_grad::KERNEL, &params, &[inputs[0], inputs[1], out])
            }
            Op::HashIds { table_count, rows_per_table } => {
                let (tables, rows) = (*table_count as u32, *rows_per_table as u32);
                let params = embedding::hash_ids::Params::new(self.rows(out), tables, rows);
                let tensors = [inputs[0], inputs[1], inputs[2], out];
                self.dispatch(&embedding::hash_ids::KERNEL, &params, &tensors)
            }
            Op::ByteEmbedding => {
                let (rows, cols, weights) =
                    (self.rows(out), self.cols(out), self.weights(inputs[1]));
                let params = embedding::byte_embedding::Params::new(rows, cols, weights);
                let tensors = [inputs[0], inputs[1], out];
                self.dispatch(&embedding::byte_embedding::KERNEL, &params, &tensors)
            }
            Op::HashEmbedding { table_count, rows_per_table } => {
                self.hash_embedding(node, *table_count as u32, *rows_per_table as u32)
            }
            Op::ScatterAdd => self.scatter_add(node),
            Op::GatherRows => {
                let params = embedding::gather_rows::Params::new(self.rows(out), self.cols(out));
                let tensors = [inputs[0], inputs[1], out];
                self.dispatch(&embedding::gather_rows::KERNEL, &params, &tensors)
            }
            Op::CacheRows { cols, x_offset, factor, mirror } => {
                let params = decode::cache_rows::Params {
                    rows: self.rows(inputs[0]),
                    factor: *factor as u32,
                    cols: *cols as u32,
                    x_stride: self.cols(inputs[0]),
                    x_offset: *x_offset as u32,
                    mirror: *mirror as u32,
                    reserved: 0,
                };
                self.dispatch(&decode::cache_rows::KERNEL, &params, &[inputs[0], inputs[1], out])
            }
            Op::RopeCache { rotated_cols, head_dim, x_offset, mirror } => {
                let params = decode::rope_cache::Params {
                    rows: self.rows(out),
                    cols: self.cols(out),
                    rotated_cols: *rotated_cols as u32,
                    head_dim: *head_dim as u32,
                    x_offset: *x_offset as u32,
                    mirror: *mirror as u32,
                    reserved: 0,
                };
                let [x, position, table, index, cache] = inputs[..] else {
                    unreachable!("rope_cache has five inputs")
                };
                let tensors = [x, position, table, index, out, cache];
                self.dispatch(&decode::rope_cache::KERNEL, &params, &tensors)
            }
            Op::PatchPool { kinds } => {
                for (index, kind) in kinds.iter().enumerate() {
                    let params = self.pool_params(inputs[0], inputs[1], kinds.len(), index, *kind);
                    let tensors = [inputs[0], inputs[1], out];
                    self.dispatch(&patch::patch_pool::KERNEL, &params, &tensors)?;
                }
                Ok(())
            }
            Op::PatchPoolGrad { kinds, residual_scale } => {
                let residual = inputs.get(4).copied().unwrap_or(inputs[0]);
                for (index, kind) in kinds.iter().enumerate() {
                    let mut params =
                        self.pool_params(inputs[0], inputs[3], kinds.len(), index, *kind);
                    params.accumulate = (index > 0).into();
                    params.residual_scale = if index == 0 { *residual_scale } else { 0.0 };
                    let tensors = [inputs[0], inputs[1], inputs[2], inputs[3], residual, out];
                    self.dispatch(&patch::patch_pool_grad::KERNEL, &params, &tensors)?;
                }
                Ok(())
            }
            Op::CrossEntropy => {
                let (rows, classes) = (self.rows(out), self.cols(inputs[0]));
                let params = loss::cross_entropy::Params::new(rows, classes);
                let tensors = [inputs[0], inputs[1], inputs[2], out];
                self.dispatch(&loss::cross_entropy::KERNEL, &params, &tensors)
            }
            Op::CrossEntropyGrad => {
                let params = loss::cross_entropy::Params::new(self.rows(out), self.cols(out));
                let tensors = [inputs[0], inputs[1], inputs[2], inputs[3], out];
                self.dispatch(&loss::cross_entropy_grad::KERNEL, &params, &tensors)
            }
            Op::Choose => {
                let (rows, classes) = (self.rows(out), self.cols(inputs[0]));
                let params = decode::choose::Params { rows, classes, reserved: 0 };
                let tensors = [inputs[0], inputs[1], out, outputs[1]];
                self.dispatch(&decode::choose::KERNEL, &params, &tensors)
            }
            Op::Entropy => {
                let params = loss::entropy::Params::new(self.rows(out), self.cols(inputs[0]));
                self.dispatch(&loss::entropy::KERNEL, &params, &[inputs[0], out])
            }
            Op::Sum => {
                let mut params = reduce::sum::Params::new(self.rows(inputs[0]));
                params.accumulate = self.accumulates(out).into();
                self.dispatch(&reduce::sum::KERNEL, &params, &[inputs[0], out])
            }
        }
    }

    fn attention_params(
        &self,
        inputs: &[TensorId],
        shape: AttentionShape,
    ) -> attention::attention::Params {
        let (q, kv) = (inputs[0], inputs[1]);
        attention::attention::Params {
            queries: self.rows(q),
            keys: self.rows(kv),
            head_count: shape.head_count as u32,
            kv_head_count: shape.kv_head_count as u32,
            head_dim: shape.head_dim as u32,
            query_factor: shape.query_factor as u32,
            key_factor: shape.key_factor as u32,
            query_stride: self.cols(q),
            query_offset: shape.query_offset as u32,
            kv_stride: self.cols(kv),
            key_offset: shape.key_offset as u32,
            value_offset: shape.value_offset as u32,
            scale: 1.0 / (shape.head_dim as f32).sqrt(),
            keys_per_query: self.keys_per_query(inputs, shape) as u32,
            few_keys: shape.reach.is_few().into(),
            zero: 0,
            reserved: [0; 2],
        }
    }

    fn keys_per_query(&self, inputs: &[TensorId], shape: AttentionShape) -> usize {
        let length = |id: TensorId| self.rows(id).length(&self.recording.capacity);
        match shape.reach {
            Reach::Keys(count) => count.unwrap_or(0),
            Reach::Shares(count) => {
                let entries = length(inputs[0]) / shape.query_factor;
                (count * length(inputs[1])).div_ceil(entries.max(1))
            }
        }
    }

    fn attention_grad(&mut self, node: &Node, shape: AttentionShape) -> Result<()> {
        let [q, kv, key_range, query_range, out, log_sum_exp, dout] = node.inputs[..] else {
            unreachable!("attention_grad has seven inputs")
        };
        let dq = node.outputs[0];
        let dkv = if q == kv { dq } else { node.outputs[1] };
        let delta = *node.outputs.last().expect("attention_grad has outputs");
        let params = self.attention_params(&node.inputs, shape);
        let tensors = [q, kv, key_range, dout, log_sum_exp, out, delta, dq];
        self.dispatch(&attention::attention_query_grad::KERNEL, &params, &tensors)?;
        let tensors = [q, kv, query_range, dout, log_sum_exp, delta, dkv];
        self.dispatch(&attention::attention_key_grad::KERNEL, &params, &tensors)
    }

    fn pool_params(
        &self,
        x: TensorId,
        range: TensorId,
        kind_count: usize,
        index: usize,
        kind: PoolKind,
    ) -> patch::patch_pool::Params {
        let cols = self.cols(x);
        patch::patch_pool::Params {
            patches: self.rows(range),
            cols,
            kind: kind as u32,
            out_stride: cols * kind_count as u32,
            out_offset: cols * index as u32,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

fn shard_region(place: &Placement, index: usize) -> Region {
    let shard = &place.shards[index];
    let length = shard.rows * place.row_length();
    Region { buffer: BufferId::Arena(shard.arena), offset: shard.offset, length }
}
