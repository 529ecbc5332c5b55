//! Buffers of the runtime for a host's own pipelines: what is drawn need not pass the processor.

use super::buffers;
use super::engine::GpuEngine;
use super::plan::GpuPlan;
use super::store::GpuStore;
use crate::error::{Error, Result};
use crate::graph::Placement;
use crate::kernels::{Element, Step};

/// Consecutive elements of four bytes in a buffer of the device.
///
/// The buffer lives as long as the region does; what lies in it is the runtime's. It can be bound
/// as storage and copied from, and must not be written.
#[derive(Clone, Debug)]
pub struct BufferRegion {
    pub buffer: wgpu::Buffer,
    /// A multiple of 256, the alignment of storage bindings.
    pub offset_bytes: u64,
    /// Bytes of the elements that are meant.
    pub size_bytes: u64,
}

impl BufferRegion {
    /// The region as a storage binding, its size rounded up to 16 bytes; for no elements at all it
    /// shows 16 bytes that mean nothing.
    pub fn binding(&self) -> wgpu::BindingResource<'_> {
        let count = self.size_bytes as usize / Element::F32.bytes();
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset_bytes,
            size: wgpu::BufferSize::new(buffers::binding_bytes(Element::F32, count)),
        })
    }

    /// Encodes a copy of the region to the start of another buffer, which has `COPY_DST`.
    pub fn copy_to(&self, encoder: &mut wgpu::CommandEncoder, target: &wgpu::Buffer) {
        let Self { buffer, offset_bytes, size_bytes } = self;
        encoder.copy_buffer_to_buffer(buffer, *offset_bytes, target, 0, *size_bytes);
    }

    fn of(buffer: &wgpu::Buffer, offset: usize, length: usize) -> Self {
        let bytes = |count: usize| (count * Element::F32.bytes()) as u64;
        Self { buffer: buffer.clone(), offset_bytes: bytes(offset), size_bytes: bytes(length) }
    }
}

impl GpuEngine {
    /// Where an output of a plan lies, as long as the counts of `step` say.
    ///
    /// What is submitted to the queue behind a replay of the plan, and before the next one begins,
    /// finds the values of that replay there. While a replay is under way other tensors of the plan
    /// may lie in the same place: what has to stay is copied on the device.
    ///
    /// # Errors
    /// If there is no such output, or the counts exceed the capacity of the plan.
    pub fn output_region(&self, plan: &GpuPlan, name: &str, step: &Step) -> Result<BufferRegion> {
        let (buffer, offset, length) = plan.output(name, step)?;
        Ok(BufferRegion::of(buffer, offset, length))
    }

    /// Where a tensor of a Store lies, in elements as they are stored: packed weights as words.
    ///
    /// It is there as long as the region is. What is submitted finds what every replay and every
    /// write before has left in it.
    ///
    /// # Errors
    /// [`Error::Input`] if the tensor is cut into shards, or of f16.
    pub fn tensor_region(&self, store: &GpuStore, place: &Placement) -> Result<BufferRegion> {
        let [shard] = place.shards.as_slice() else {
            let problem = format!("expected one shard, it lies in {}", place.shards.len());
            return Err(Error::input("region of a tensor", problem));
        };
        let arena = &store.arenas[shard.arena.0];
        if arena.element == Element::F16 {
            return Err(Error::input("region of a tensor", "expected 4 bytes an element, got f16"));
        }
        let length = shard.rows * place.row_length();
        Ok(BufferRegion::of(store.range(shard.arena, shard.offset, length), shard.offset, length))
    }
}
