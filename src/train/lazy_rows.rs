//! The hash table of a trainer that updates it lazily: what runs beside micro-batches and updates.

use std::cell::Cell;

use rayon::prelude::*;

use super::lazy_update::{TOUCHED_ROWS, TOUCHED_SLOTS, catch_up_recording, settle_recording};
use super::ranks::{Coming, Ranks, RowSums};
use super::slots::Slots;
use super::update::AdamW;
use crate::blt::{Batch, HASH_ROWS, HASH_SLOTS, LAST_STEP, LazyTable, LoadedModel, TRAIN_STATE};
use crate::engine::{Engine, InputValues, Inputs};
use crate::error::Result;
use crate::graph::{ArenaId, BufferId, Region};
use crate::kernels::optim::train_state::APPLIED_STEPS;
use crate::kernels::{Axis, Counts, Step};

/// Plans and slots of a lazily updated table.
pub(super) struct LazyRows<E: Engine> {
    catch_up: E::Plan,
    settle: E::Plan,
    /// Whether no row has missed an update.
    is_settled: Cell<bool>,
    slots: Slots,
    table: LazyTable,
}

impl<E: Engine> LazyRows<E> {
    /// For a model whose weights are up to the applied steps of its state; nothing if its table is
    /// not updated lazily.
    ///
    /// # Errors
    /// If the device refuses a shader or is lost.
    pub async fn new(engine: &E, model: &LoadedModel<E>, adamw: &AdamW) -> Result<Option<Self>> {
        let layout = &model.layout;
        let Some(table) = LazyTable::of(layout) else { return Ok(None) };
        let applied = model.read(engine, TRAIN_STATE).await?[APPLIED_STEPS] as u32;
        model.write(engine, LAST_STEP, &vec![f32::from_bits(applied); table.weight.rows])?;
        let recordings = [catch_up_recording, settle_recording];
        let [catch_up, settle] = recordings.map(|recording| recording(layout, &table, adamw));
        Ok(Some(Self {
            catch_up: engine.compile(&model.store, catch_up).await?,
            settle: engine.compile(&model.store, settle).await?,
            is_settled: Cell::new(true),
            slots: Slots::new(table.weight.rows, table.slot_count()),
            table,
        }))
    }

    /// Lets the rows that a micro-batch reads catch up, and gives its inputs with their slots.
    ///
    /// # Errors
    /// If the update touches more rows than it has slots, or the device is lost.
    pub fn before_micro(&mut self, engine: &E, batch: &Batch) -> Result<Inputs> {
        let row_count = batch.counts.get(Axis::HashRows);
        let InputValues::U(rows) = batch.inputs.require(HASH_ROWS, row_count)? else {
            unreachable!("rows are integers")
        };
        let mut inputs = batch.inputs.clone();
        inputs.set_u(HASH_SLOTS, self.slots.deal(rows)?);
        self.catch_up(engine, row_count, &batch.inputs)?;
        Ok(inputs)
    }

    fn catch_up(&self, engine: &E, row_count: usize, inputs: &Inputs) -> Result<()> {
        let counts = Counts::default().with(Axis::HashRows, row_count);
        engine.run(&self.catch_up, &Step::of(counts), inputs)
    }

    /// Begins to sum the gradients of touched rows over the ranks, each of which has touched rows
    /// of its own.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn begin_exchange(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        ranks: &Ranks,
    ) -> Result<Coming<RowSums>> {
        let (rows, cols) = (self.slots.rows(), self.table.weight.cols);
        let slots = self.slots.deal(&rows)?;
        let Region { offset, .. } = self.table.gradient;
        let arena = gradient_arena(&self.table);
        let in_slots = engine.read(&model.store, arena, offset, rows.len() * cols).await?;
        let mut values = vec![0.0; in_slots.len()];
        let of_slot = |&slot: &u32| &in_slots[slot as usize * cols..][..cols];
        let rows_of = values.par_chunks_exact_mut(cols).zip(&slots);
        rows_of.for_each(|(values, slot)| values.copy_from_slice(of_slot(slot)));
        Ok(ranks.begin_sum_rows(rows, values, cols))
    }

    /// Takes the sums: rows that other ranks have touched are touched here too, and catch up.
    ///
    /// # Errors
    /// If all ranks together touch more rows than there are slots, or the device is lost.
    pub fn end_exchange(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        sums: RowSums,
    ) -> Result<()> {
        let RowSums { rows, values } = sums;
        let cols = self.table.weight.cols;
        let slots = self.slots.deal(&rows)?;
        let mut row_of_slot = vec![0; slots.len()];
        for (row, slot) in slots.iter().enumerate() {
            row_of_slot[*slot as usize] = row;
        }
        let mut in_slots = vec![0.0; values.len()];
        let places = in_slots.par_chunks_exact_mut(cols).zip(&row_of_slot);
        places.for_each(|(place, row)| place.copy_from_slice(&values[row * cols..][..cols]));
        let Region { offset, .. } = self.table.gradient;
        engine.write(&model.store, gradient_arena(&self.table), offset, &in_slots)?;
        let row_count = rows.len();
        let mut inputs = Inputs::default();
        inputs.set_u(HASH_ROWS, rows);
        self.catch_up(engine, row_count, &inputs)
    }

    /// Counts and inputs of the update of the micro-batches so far.
    pub fn before_update(&mut self) -> (Counts, Inputs) {
        self.is_settled.set(false);
        let (rows, slots) = self.slots.take();
        let counts = Counts::default().with(Axis::HashRows, rows.len());
        let mut inputs = Inputs::default();
        inputs.set_u(TOUCHED_ROWS, rows);
        inputs.set_u(TOUCHED_SLOTS, slots);
        (counts, inputs)
    }

    /// Lets every row catch up, if any has missed an update.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn settle(&self, engine: &E) -> Result<()> {
        if !self.is_settled.get() {
            engine.run(&self.settle, &Step::of(Counts::default()), &Inputs::default())?;
            self.is_settled.set(true);
        }
        Ok(())
    }
}

fn gradient_arena(table: &LazyTable) -> ArenaId {
    match table.gradient.buffer {
        BufferId::Arena(arena) => arena,
        _ => unreachable!("gradients lie in the Store"),
    }
}
