//! Where the memory of a model on a device goes.

use super::{GRADIENTS, HALVES, MOMENT1, MOMENT2, WEIGHTS};
use crate::graph::{Recording, StoreLayout};

/// Bytes of a Store and of the plans over it.
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
            memory.add(PlanBytes::of(recording));
        }
        memory
    }

    /// Counts a plan too.
    pub fn add(&mut self, plan: PlanBytes) {
        self.activations += plan.transients;
        self.inputs += plan.inputs;
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

/// What a plan adds to its Store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanBytes {
    /// Transient buffers.
    pub transients: usize,
    pub inputs: usize,
}

impl PlanBytes {
    /// Of the plan of a Recording.
    pub fn of(recording: &Recording) -> Self {
        Self { transients: recording.transient_bytes(), inputs: recording.input_bytes() }
    }
}
