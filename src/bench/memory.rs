//! The plans of a training step, and where its memory goes: nothing is on the device.

use super::shape::BenchShape;
use super::stepping::table_updates;
use crate::blt::{
    GRADIENTS, HALVES, LazyTable, MOMENT1, MOMENT2, WEIGHTS, WeightTypes, lazy_training_graph,
    store_layout, training_graph,
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
        update_recording(&layout, &adamw),
    ];
    recordings.extend(lazy_table.map(|table| catch_up_recording(&layout, &table, &adamw)));
    Ok((layout, recordings))
}

/// Bytes of a training step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Weights in f32.
    pub weights: usize,
    /// Copies of weights in f16.
    pub halves: usize,
    pub gradients: usize,
    /// Both moments of AdamW.
    pub moments: usize,
    /// Everything else in the Store: rotary tables, training state.
    pub constants: usize,
    /// Transient buffers of the plans: activations and their gradients.
    pub activations: usize,
    pub inputs: usize,
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

    /// Of a Store and plans over it.
    pub fn of<'a>(
        layout: &StoreLayout,
        recordings: impl IntoIterator<Item = &'a Recording>,
    ) -> Self {
        let mut memory = Self::default();
        let is_moment = |class: &str| [MOMENT1, MOMENT2].iter().any(|it| class.starts_with(it));
        for arena in layout.arenas() {
            let class = arena.name.rsplit_once('.').map_or(&*arena.name, |(class, _)| class);
            let of = match class {
                HALVES => &mut memory.halves,
                class if is_moment(class) => &mut memory.moments,
                class if class.starts_with(WEIGHTS) => &mut memory.weights,
                class if class.starts_with(GRADIENTS) => &mut memory.gradients,
                _ => &mut memory.constants,
            };
            *of += arena.length * arena.element.bytes();
        }
        for recording in recordings {
            memory.activations += recording.transient_bytes();
            memory.inputs += recording.input_bytes();
        }
        memory
    }

    /// Its parts with their names.
    pub fn parts(&self) -> [(&'static str, usize); 7] {
        [
            ("weights", self.weights),
            ("halves", self.halves),
            ("gradients", self.gradients),
            ("moments", self.moments),
            ("constants", self.constants),
            ("activations", self.activations),
            ("inputs", self.inputs),
        ]
    }

    /// All of it.
    pub fn total(&self) -> usize {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }
}
