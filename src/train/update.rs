//! The `update` Recording: finite check, unscale, norm, clip, AdamW, clear; in mixed precision
//! then the copies of the weights in f16, and the loss scale follows the gradients.
//!
//! It runs once after the micro-batches of an optimiser step. Whether the step is applied at all,
//! and with which multiplier, is decided on the device; the host sends a learning rate and reads
//! nothing.

use crate::blt::{GRADIENTS, HALVES, MOMENT1, MOMENT2, TRAIN_STATE, WEIGHTS, halve};
use crate::graph::{ArenaId, BufferId, Dispatch, Recording, Region, StoreLayout};
use crate::kernels::{Counts, Element, Halves, Kernel, optim};
use bytemuck::NoUninit;

/// Constants of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
    /// Largest norm of all gradients together; 0 clips nothing.
    pub clip: f32,
}

impl Default for AdamW {
    /// The values of the paper (spec §16.1).
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 }
    }
}

/// Elements whose squares one workgroup sums.
const NORM_GROUP_ELEMENTS: usize = 16_384;
/// Groups a piece of the partial sums is a multiple of, so that pieces start at aligned offsets.
const NORM_GROUP_MULTIPLE: usize = 32;

/// The update of all weights of a layout.
pub fn update_recording(layout: &StoreLayout, adamw: &AdamW) -> Recording {
    let mut recording = Recording::new("update", Counts::default());
    let gradients = layout.arenas_of(GRADIENTS);
    let arena = |id: ArenaId| Region {
        buffer: BufferId::Arena(id),
        offset: 0,
        length: layout.arenas()[id.0].length,
    };
    let group_count = |id: ArenaId| {
        let count = layout.arenas()[id.0].length.div_ceil(NORM_GROUP_ELEMENTS);
        count.next_multiple_of(NORM_GROUP_MULTIPLE)
    };
    let partial_count: usize = gradients.iter().map(|&id| group_count(id)).sum();
    let partial = recording.add_transient(Element::F32, 2 * partial_count);
    let mut first = 0;
    for &id in &gradients {
        let piece = Region { offset: 2 * first, length: 2 * group_count(id), ..partial };
        let params = optim::grad_norm::Params {
            length: arena(id).length as u32,
            group_elements: NORM_GROUP_ELEMENTS as u32,
            group_count: group_count(id) as u32,
            ..bytemuck::Zeroable::zeroed()
        };
        push(&mut recording, &optim::grad_norm::KERNEL, &params, vec![arena(id), piece]);
        first += group_count(id);
    }
    let state = layout.get(TRAIN_STATE).expect("training places its state");
    let shard = state.shards[0];
    let state = Region {
        buffer: BufferId::Arena(shard.arena),
        offset: shard.offset,
        length: state.length(),
    };
    let params = optim::update_decision::Params {
        partial_count: partial_count as u32,
        clip: adamw.clip,
        beta1: adamw.beta1,
        beta2: adamw.beta2,
        dynamic_loss_scale: (!layout.arenas_of(HALVES).is_empty()).into(),
        growth_interval: 1000,
        min_loss_scale: 1.0,
        max_loss_scale: 65_536.0,
    };
    push(&mut recording, &optim::update_decision::KERNEL, &params, vec![partial, state]);
    let classes = [WEIGHTS, GRADIENTS, MOMENT1, MOMENT2].map(|class| layout.arenas_of(class));
    let [weights, gradients, moments1, moments2] = &classes;
    let arenas = weights.iter().zip(gradients).zip(moments1).zip(moments2);
    for (((&weight, &gradient), &moment1), &moment2) in arenas {
        let params = optim::adamw::Params {
            length: arena(weight).length as u32,
            beta1: adamw.beta1,
            beta2: adamw.beta2,
            eps: adamw.eps,
            weight_decay: adamw.weight_decay,
            learning_rate_scale: 1.0,
            ..bytemuck::Zeroable::zeroed()
        };
        let regions = [weight, gradient, moment1, moment2].map(arena);
        let regions = std::iter::once(state).chain(regions).collect();
        push(&mut recording, &optim::adamw::KERNEL, &params, regions);
    }
    recording.dispatches.extend(halve(layout));
    recording.check();
    recording
}

fn push(
    recording: &mut Recording,
    kernel: &'static Kernel,
    params: &impl NoUninit,
    regions: Vec<Region>,
) {
    recording.dispatches.push(Dispatch {
        kernel,
        variant: 0,
        fixed_order: false,
        halves: Halves::NONE,
        params: bytemuck::bytes_of(params).to_vec(),
        regions,
        label: "update".into(),
    });
}
