//! What changes from step to step and every kernel may read: one small uniform.

use super::{Counts, Extent};
use bytemuck::{Pod, Zeroable};

/// The `Step` uniform of `shaders/shared/step.wgsl`, 64 bytes, uploaded before each replay.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    /// How long each axis is in this step.
    pub counts: Counts,
    /// What every target's nats are multiplied by: one over the target count of the whole
    /// optimiser step, so that micro-batches add up to the large batch.
    pub loss_weight: f32,
    /// Learning rate of this optimiser step.
    pub learning_rate: f32,
    /// Seed of everything random in this step.
    pub seed: u32,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: [u32; 5],
}

const _: () = assert!(size_of::<Step>() == 64);

impl Step {
    /// A step with these counts and nothing else set.
    pub fn of(counts: Counts) -> Self {
        Self { counts, loss_weight: 1.0, learning_rate: 0.0, seed: 0, reserved: [0; 5] }
    }

    /// The length of an extent in this step.
    pub fn length(&self, extent: Extent) -> usize {
        extent.length(&self.counts)
    }
}
