//! The `update` Recording: finite check, unscale, norm, clip, AdamW, clear; in mixed precision
//! then the copies of the weights in f16, and the loss scale follows the gradients.
//!
//! It runs once after the micro-batches of an optimiser step. Whether the step is applied at all,
//! and with which multiplier, is decided on the device; the host sends a learning rate and reads
//! nothing. A lazily updated hash table has its own part of it, see
//! [`lazy_update`](super::lazy_update).

use super::groups::{Piece, Pieces};
use super::lazy_update;
use crate::blt::{GRADIENTS, HALVES, LazyTable, MOMENT1, MOMENT2, TRAIN_STATE, WEIGHTS, halve};
use crate::graph::{ArenaId, BufferId, Dispatch, Recording, Region, StoreLayout};
use crate::kernels::{Abilities, Axis, Counts, Element, Halves, Kernel, optim};
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
pub(super) const NORM_GROUP_ELEMENTS: usize = 16_384;
/// Groups a piece of the partial sums is a multiple of, so that pieces start at aligned offsets.
const NORM_GROUP_MULTIPLE: usize = 32;

/// The update of all weights of a layout, in the usual way.
pub fn update_recording(layout: &StoreLayout, adamw: &AdamW, abilities: &Abilities) -> Recording {
    update_recording_in(layout, adamw, &Pieces::default(), abilities)
}

/// The update of all weights of a layout, piece by piece.
pub fn update_recording_in(
    layout: &StoreLayout,
    adamw: &AdamW,
    pieces: &Pieces,
    abilities: &Abilities,
) -> Recording {
    let lazy = LazyTable::of(layout);
    let slot_count = lazy.as_ref().map_or(0, LazyTable::slot_count);
    let mut recording =
        Recording::new("update", Counts::default().with(Axis::HashRows, slot_count));
    let arenas = |class: &str| match &lazy {
        Some(_) => layout.arenas_of(&format!("{class}.dense")),
        None => layout.arenas_of(class),
    };
    let touched = lazy.clone().map(|table| lazy_update::Touched::new(&mut recording, table));

    // The norm: partial sums for every piece that is not frozen, in the order of the weights.
    let weights = layout.arenas_of(WEIGHTS);
    let normed: Vec<_> = weights
        .iter()
        .enumerate()
        .flat_map(|(index, &id)| {
            let pieces = pieces.of_arena(layout, id, adamw).into_iter();
            pieces.filter(|piece| !piece.rates.is_frozen).map(move |piece| (index, piece))
        })
        .collect();
    let partial_count: usize = normed.iter().map(|(_, piece)| norm_group_count(piece.length)).sum();
    let partial = recording.add_transient(Element::F32, 2 * partial_count);
    let gradients = arenas(GRADIENTS);
    let mut first = 0;
    for (index, piece) in normed {
        let group_count = norm_group_count(piece.length);
        let sums = Region { offset: 2 * first, length: 2 * group_count, ..partial };
        first += group_count;
        match (gradients.get(index), &touched) {
            (Some(&gradient), _) => {
                let gradient = part(gradient, &piece);
                let length = gradient.length as u32;
                let elements = NORM_GROUP_ELEMENTS as u32;
                let params = optim::grad_norm::Params::new(length, elements, group_count as u32);
                push(&mut recording, &optim::grad_norm::KERNEL, &params, vec![gradient, sums]);
            }
            (None, Some(touched)) => touched.norm(&mut recording, layout, weights[index], sums),
            (None, None) => unreachable!("every arena of weights has gradients"),
        }
    }

    let state = train_state(layout);
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

    let classes = [WEIGHTS, GRADIENTS, MOMENT1, MOMENT2].map(arenas);
    for index in 0..classes[0].len() {
        for piece in pieces.of_arena(layout, classes[0][index], adamw) {
            if piece.rates.is_frozen {
                continue;
            }
            let regions = classes.each_ref().map(|class| part(class[index], &piece));
            let params = optim::adamw::Params {
                length: piece.length as u32,
                beta1: adamw.beta1,
                beta2: adamw.beta2,
                eps: adamw.eps,
                weight_decay: piece.rates.weight_decay,
                learning_rate_scale: piece.rates.learning_rate_scale,
                ..bytemuck::Zeroable::zeroed()
            };
            let regions = std::iter::once(state).chain(regions).collect();
            push(&mut recording, &optim::adamw::KERNEL, &params, regions);
        }
    }
    if let Some(touched) = touched {
        // All shards of the table are one tensor, with the same rates.
        let table = weights.last().expect("the table has weights");
        let rates = pieces.of_arena(layout, *table, adamw)[0].rates;
        assert!(!rates.is_frozen, "a frozen table is not updated lazily");
        touched.step(&mut recording, state, adamw, &rates);
    }
    recording.dispatches.extend(halve(layout));
    recording.choose_variants(abilities);
    recording.check();
    recording
}

/// The state of training in the Store.
pub(super) fn train_state(layout: &StoreLayout) -> Region {
    let state = layout.get(TRAIN_STATE).expect("training places its state");
    let shard = state.shards[0];
    let buffer = BufferId::Arena(shard.arena);
    Region { buffer, offset: shard.offset, length: state.length() }
}

/// Groups of partial sums for so many gradients.
fn norm_group_count(length: usize) -> usize {
    length.div_ceil(NORM_GROUP_ELEMENTS).next_multiple_of(NORM_GROUP_MULTIPLE)
}

fn part(id: ArenaId, piece: &Piece) -> Region {
    Region { buffer: BufferId::Arena(id), offset: piece.offset, length: piece.length }
}

/// Appends a dispatch.
pub(super) fn push(
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
