//! Recordings of a lazily updated hash table: its part of `update`, `catch_up` and `settle`.
//!
//! `catch_up` runs before a micro-batch, over the rows that it reads. `update` norms and steps the
//! rows that its micro-batches have touched, records the step for all others, and lets a part of
//! the table replay what it has missed. `settle` lets all of it, before anybody but a micro-batch
//! reads the weights.

use super::groups::Rates;
use super::update::{AdamW, NORM_GROUP_ELEMENTS, push, train_state};
use crate::blt::{HASH_ROWS, LazyTable, RECORD_COUNT};
use crate::graph::{ArenaId, BufferId, Input, Recording, Region, StoreLayout};
use crate::kernels::lazy::{adamw_rows, catch_up_rows, grad_norm_rows, step_record, sweep_rows};
use crate::kernels::{Axis, Counts, Element, Extent};

/// The input of `update` with the touched rows of the table, increasing.
pub const TOUCHED_ROWS: &str = "touched.rows";
/// The input of `update` with the slot of the gradient of each of them.
pub const TOUCHED_SLOTS: &str = "touched.slots";

/// The rows that micro-batches read catch up with the applied steps.
pub fn catch_up_recording(layout: &StoreLayout, table: &LazyTable, adamw: &AdamW) -> Recording {
    let counts = Counts::default().with(Axis::HashRows, table.slot_count());
    let mut recording = Recording::new("catch_up", counts);
    let rows = input(&mut recording, HASH_ROWS);
    let state = train_state(layout);
    for (first_row, row_count, shard) in shards(table) {
        let params = catch_up_rows::Params {
            touched: Extent::of(Axis::HashRows),
            cols: table.weight.cols as u32,
            first_row,
            row_count,
            record_count: RECORD_COUNT as u32,
            beta1: adamw.beta1,
            beta2: adamw.beta2,
            eps: adamw.eps,
            ..bytemuck::Zeroable::zeroed()
        };
        let mut regions = vec![state, table.records, rows, table.last_step];
        regions.extend(shard);
        push(&mut recording, &catch_up_rows::KERNEL, &params, regions);
    }
    recording.check();
    recording
}

/// All rows catch up with the applied steps. It may be cut between shards.
pub fn settle_recording(layout: &StoreLayout, table: &LazyTable, adamw: &AdamW) -> Recording {
    let mut recording = Recording::new("settle", Counts::default());
    sweep(&mut recording, table, train_state(layout), adamw, 1);
    recording.cuts = (1..recording.dispatches.len()).collect();
    recording.check();
    recording
}

/// The part of `update` that knows which rows were touched.
pub(super) struct Touched {
    table: LazyTable,
    rows: Region,
    slots: Region,
}

impl Touched {
    /// Declares the inputs.
    pub fn new(recording: &mut Recording, table: LazyTable) -> Self {
        let rows = input(recording, TOUCHED_ROWS);
        let slots = input(recording, TOUCHED_SLOTS);
        Self { table, rows, slots }
    }

    /// Partial sums of the gradients of one shard of the table, whose weights lie in `arena`.
    pub fn norm(
        &self,
        recording: &mut Recording,
        layout: &StoreLayout,
        arena: ArenaId,
        partial: Region,
    ) {
        let shard = self.table.weight.shards.iter().find(|shard| shard.arena == arena);
        let shard = shard.expect("weights without gradients of their own are those of the table");
        let params = grad_norm_rows::Params {
            touched: Extent::of(Axis::HashRows),
            cols: self.table.weight.cols as u32,
            first_row: shard.first_row as u32,
            row_count: shard.rows as u32,
            length: layout.arenas()[arena.0].length as u32,
            group_elements: NORM_GROUP_ELEMENTS as u32,
            group_count: (partial.length / 2) as u32,
        };
        let regions = vec![self.rows, self.slots, self.table.gradient, partial];
        push(recording, &grad_norm_rows::KERNEL, &params, regions);
    }

    /// The step of touched rows, its record, and the sweep.
    pub fn step(&self, recording: &mut Recording, state: Region, adamw: &AdamW, rates: &Rates) {
        let table = &self.table;
        let params = step_record::Params {
            record_count: RECORD_COUNT as u32,
            weight_decay: rates.weight_decay,
            learning_rate_scale: rates.learning_rate_scale,
            reserved: 0,
        };
        push(recording, &step_record::KERNEL, &params, vec![state, table.records]);
        for (first_row, row_count, shard) in shards(table) {
            let params = adamw_rows::Params {
                touched: Extent::of(Axis::HashRows),
                cols: table.weight.cols as u32,
                first_row,
                row_count,
                beta1: adamw.beta1,
                beta2: adamw.beta2,
                eps: adamw.eps,
                weight_decay: rates.weight_decay,
                learning_rate_scale: rates.learning_rate_scale,
                ..bytemuck::Zeroable::zeroed()
            };
            let mut regions = vec![state, self.rows, self.slots, table.gradient, table.last_step];
            regions.extend(shard);
            push(recording, &adamw_rows::KERNEL, &params, regions);
        }
        sweep(recording, table, state, adamw, RECORD_COUNT);
    }
}

fn sweep(
    recording: &mut Recording,
    table: &LazyTable,
    state: Region,
    adamw: &AdamW,
    part_count: usize,
) {
    for (first_row, row_count, shard) in shards(table) {
        let params = sweep_rows::Params {
            table_rows: table.weight.rows as u32,
            part_count: part_count as u32,
            cols: table.weight.cols as u32,
            first_row,
            row_count,
            record_count: RECORD_COUNT as u32,
            beta1: adamw.beta1,
            beta2: adamw.beta2,
            eps: adamw.eps,
            ..bytemuck::Zeroable::zeroed()
        };
        let mut regions = vec![state, table.records, table.last_step];
        regions.extend(shard);
        push(recording, &sweep_rows::KERNEL, &params, regions);
    }
}

/// First row, rows, and weights and moments of every shard.
fn shards(table: &LazyTable) -> impl Iterator<Item = (u32, u32, [Region; 3])> {
    let places = [&table.weight, &table.moment1, &table.moment2];
    table.weight.shards.iter().enumerate().map(move |(index, shard)| {
        let regions = places.map(|place| Region {
            buffer: BufferId::Arena(place.shards[index].arena),
            offset: place.shards[index].offset,
            length: shard.rows * place.cols,
        });
        (shard.first_row as u32, shard.rows as u32, regions)
    })
}

/// Declares an input with a number for every touched row.
fn input(recording: &mut Recording, name: &str) -> Region {
    let (rows, cols) = (Extent::of(Axis::HashRows), 1);
    recording.inputs.push(Input { name: name.into(), element: Element::U32, rows, cols });
    let buffer = BufferId::Input(recording.inputs.len() - 1);
    Region { buffer, offset: 0, length: rows.length(&recording.capacity) }
}
