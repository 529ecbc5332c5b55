//! The inputs of a Recording on the device: one buffer, one upload a replay.
//!
//! Each input lies at capacity behind the one before it, at a multiple of the alignment of tensors.

use super::buffers;
use super::context::Context;
use crate::engine::{InputValues, Inputs};
use crate::error::Result;
use crate::graph::{ALIGNMENT, Input, Recording};
use crate::kernels::{Element, Step};
use std::sync::{Mutex, PoisonError};

/// The buffer of all inputs of a plan.
pub(super) struct InputArena {
    pub buffer: wgpu::Buffer,
    /// Where each input starts, in elements.
    pub offsets: Vec<usize>,
    inputs: Vec<Input>,
    /// What is uploaded, kept from replay to replay.
    words: Mutex<Vec<u32>>,
}

impl InputArena {
    /// Room for every input of a recording at its capacity.
    ///
    /// # Errors
    /// If it exceeds a limit or the device has not the memory.
    pub async fn new(context: &Context, recording: &Recording) -> Result<Self> {
        let mut offsets = Vec::new();
        let mut length = 0;
        for input in &recording.inputs {
            offsets.push(length);
            let elements = input.rows.length(&recording.capacity) * input.cols;
            length += elements.next_multiple_of(ALIGNMENT);
        }
        let label = format!("{} inputs", recording.name);
        context.caps().limits.check_buffer(&label, buffers::size_bytes(Element::U32, length))?;
        let create = || buffers::create(context, &label, Element::U32, length);
        let buffer = context.scoped(&label, create).await?;
        let inputs = recording.inputs.clone();
        Ok(Self { buffer, offsets, inputs, words: Mutex::new(vec![0; length]) })
    }

    /// Uploads what is set for this step, as long as its counts say.
    ///
    /// # Errors
    /// If an input is missing or of the wrong size, or the device is lost.
    pub fn upload(&self, context: &Context, step: &Step, inputs: &Inputs) -> Result<()> {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used = 0;
        for (input, &offset) in self.inputs.iter().zip(&self.offsets) {
            let length = step.length(input.rows) * input.cols;
            let range = &mut words[offset..offset + length];
            match inputs.require(&input.name, length)? {
                InputValues::F(values) => range.copy_from_slice(bytemuck::cast_slice(values)),
                InputValues::U(values) => range.copy_from_slice(values),
            }
            used = offset + length;
        }
        if used == 0 {
            return Ok(());
        }
        buffers::write(context, &self.buffer, 0, bytemuck::cast_slice(&words[..used]))
    }
}
