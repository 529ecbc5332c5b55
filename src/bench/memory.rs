//! The plans of a training step, and where its memory goes: nothing is on the device.

use super::shape::BenchShape;
use super::stepping::table_updates;
use crate::blt::{
    LazyTable, Memory, WeightTypes, lazy_training_graph, store_layout, training_graph,
};
use crate::error::Result;
use crate::graph::{CompileOptions, Recording, StoreLayout, compile_for};
use crate::train::{AdamW, catch_up_recording, update_recording};

/// The Recordings of a training step of a shape, whose rows are full, and the layout of their
/// Store, over bindings of at most `max_elements`.
///
/// # Errors
/// If a tensor exceeds one binding, or the rows are too long for the model.
pub fn training_recordings(
    shape: &BenchShape,
    options: &CompileOptions,
    max_elements: usize,
) -> Result<(StoreLayout, Vec<Recording>)> {
    let (config, batch) = (&shape.model.config, shape.batch(0)?);
    let updates = table_updates(&options.abilities, max_elements, config, &batch.counts);
    let layout = store_layout(
        config,
        Some(updates),
        options.precision,
        &WeightTypes::default(),
        max_elements,
    )?;
    let (lazy_table, adamw) = (LazyTable::of(&layout), AdamW::default());
    let graph = match lazy_table {
        None => training_graph(config)?,
        Some(_) => lazy_training_graph(config)?,
    };
    let mut recordings = vec![
        compile_for(graph, "micro", &layout, batch.counts, options)?,
        update_recording(&layout, &adamw, &options.abilities),
    ];
    recordings.extend(lazy_table.map(|table| catch_up_recording(&layout, &table, &adamw)));
    Ok((layout, recordings))
}

impl Memory {
    /// Of a training step of a shape, see [`training_recordings`].
    ///
    /// # Errors
    /// If a tensor exceeds one binding, or the rows are too long for the model.
    pub fn of_training(
        shape: &BenchShape,
        options: &CompileOptions,
        max_elements: usize,
    ) -> Result<Self> {
        let (layout, recordings) = training_recordings(shape, options, max_elements)?;
        Ok(Self::of(&layout, &recordings))
    }
}
