//! Storage buffers: how large they are made, how they are bound and how they are written.
//!
//! Every buffer has [`TAIL_BYTES`] behind its last element, so that none is empty, that a tensor
//! without elements at its end still has a place to be bound at, and that bindings can be rounded
//! up to whole vectors of four.

use super::context::Context;
use crate::error::Result;

/// Unused bytes at the end of every storage buffer.
pub(super) const TAIL_BYTES: u64 = 256;

/// Bytes of a vector of four elements; bindings are as large as a multiple of it.
const VECTOR_BYTES: u64 = 16;

/// Bytes of one element.
const ELEMENT_BYTES: u64 = 4;

/// Most bytes that are handed to the queue before it is told to send them.
const WRITE_CHUNK_BYTES: usize = 32 << 20;

/// Size of the buffer that holds so many elements.
pub(super) fn size_bytes(element_count: usize) -> u64 {
    (element_count as u64 * ELEMENT_BYTES).next_multiple_of(VECTOR_BYTES) + TAIL_BYTES
}

/// Size of a binding that shows so many elements; at least one vector.
pub(super) fn binding_bytes(element_count: usize) -> u64 {
    (element_count.max(1) as u64 * ELEMENT_BYTES).next_multiple_of(VECTOR_BYTES)
}

/// A zero-filled buffer of so many elements. To be called in an error scope.
pub(super) fn create(context: &Context, label: &str, element_count: usize) -> wgpu::Buffer {
    context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: size_bytes(element_count),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// A uniform buffer of this size. To be called in an error scope.
pub(super) fn create_uniform(context: &Context, label: &str, size_bytes: u64) -> wgpu::Buffer {
    context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: size_bytes,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// `element_count` elements of a buffer from `offset`, as a binding.
pub(super) fn bind(
    buffer: &wgpu::Buffer,
    offset: usize,
    element_count: usize,
) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer,
        offset: offset as u64 * ELEMENT_BYTES,
        size: wgpu::BufferSize::new(binding_bytes(element_count)),
    })
}

/// Overwrites a buffer from element `offset`, ordered with submissions. Large contents are sent in
/// pieces, so that the copies in host memory stay few.
///
/// # Errors
/// If the device is lost or out of memory.
pub(super) fn write(
    context: &Context,
    buffer: &wgpu::Buffer,
    offset: usize,
    bytes: &[u8],
) -> Result<()> {
    context.scoped_now("upload", || {
        let first = offset as u64 * ELEMENT_BYTES;
        for (index, chunk) in bytes.chunks(WRITE_CHUNK_BYTES).enumerate() {
            let at = first + (index * WRITE_CHUNK_BYTES) as u64;
            context.queue.write_buffer(buffer, at, chunk);
            if bytes.len() > WRITE_CHUNK_BYTES {
                context.queue.submit([]);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_fits_its_buffer() {
        for count in [0, 1, 3, 4, 63, 64, 65] {
            // A tensor of `count` elements behind 64 others, or nothing behind them.
            assert!(64 * ELEMENT_BYTES + binding_bytes(count) <= size_bytes(64 + count));
            assert!(binding_bytes(count) >= VECTOR_BYTES);
            assert!(size_bytes(count).is_multiple_of(ELEMENT_BYTES));
        }
    }
}
