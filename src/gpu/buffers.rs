//! Storage buffers: how large they are made, how they are bound and how they are written.
//!
//! Every buffer has [`TAIL_BYTES`] behind its last element, so that none is empty, that a tensor
//! without elements at its end still has a place to be bound at, and that bindings can be rounded
//! up to whole vectors of four.

use super::context::Context;
use crate::error::Result;
use crate::kernels::Element;
#[cfg(not(target_arch = "wasm32"))]
use rayon::prelude::*;

/// Unused bytes at the end of every storage buffer.
pub(super) const TAIL_BYTES: u64 = 256;

/// Bytes of a vector of four elements; bindings are as large as a multiple of it.
const VECTOR_BYTES: u64 = 16;

/// Most bytes that are handed to the queue before it is told to send them.
const WRITE_CHUNK_BYTES: usize = 32 << 20;

/// Bytes that one thread copies at once.
#[cfg(not(target_arch = "wasm32"))]
const THREAD_BYTES: usize = 2 << 20;

/// Size of the buffer that holds so many elements.
pub(super) fn size_bytes(element: Element, count: usize) -> u64 {
    bytes(element, count).next_multiple_of(VECTOR_BYTES) + TAIL_BYTES
}

/// Size of a binding that shows so many elements; at least one vector.
pub(super) fn binding_bytes(element: Element, count: usize) -> u64 {
    bytes(element, count.max(1)).next_multiple_of(VECTOR_BYTES)
}

fn bytes(element: Element, count: usize) -> u64 {
    (count * element.bytes()) as u64
}

/// A zero-filled buffer of so many elements. To be called in an error scope.
pub(super) fn create(
    context: &Context,
    label: &str,
    element: Element,
    count: usize,
) -> wgpu::Buffer {
    create_for(context, label, size_bytes(element, count), wgpu::BufferUsages::empty())
}

/// The same for so many integers that are bound as a uniform too.
pub(super) fn create_counts(context: &Context, label: &str, count: usize) -> wgpu::Buffer {
    let size = size_bytes(Element::U32, count);
    create_for(context, label, size, wgpu::BufferUsages::UNIFORM)
}

fn create_for(
    context: &Context,
    label: &str,
    size: u64,
    besides: wgpu::BufferUsages,
) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE
        | wgpu::BufferUsages::COPY_SRC
        | wgpu::BufferUsages::COPY_DST
        | besides;
    let label = Some(label);
    context.device.create_buffer(&wgpu::BufferDescriptor {
        label,
        size,
        usage,
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

/// Consecutive elements of a buffer.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub element: Element,
    /// First element.
    pub offset: usize,
    pub count: usize,
}

impl<'a> Span<'a> {
    /// These elements as a binding.
    pub fn bind(self) -> wgpu::BindingResource<'a> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: self.buffer,
            offset: bytes(self.element, self.offset),
            size: wgpu::BufferSize::new(binding_bytes(self.element, self.count)),
        })
    }
}

/// Overwrites a buffer from its element `offset` of four bytes, ordered with submissions. Large
/// contents are sent in pieces, so that the copies in host memory stay few.
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
        let first = offset as u64 * 4;
        for (index, chunk) in bytes.chunks(WRITE_CHUNK_BYTES).enumerate() {
            let at = first + (index * WRITE_CHUNK_BYTES) as u64;
            write_chunk(&context.queue, buffer, at, chunk);
            if bytes.len() > WRITE_CHUNK_BYTES {
                context.queue.submit([]);
            }
        }
    })
}

/// Hands a queue what it is to write; a browser has one thread, and views of it stay there.
#[cfg(target_arch = "wasm32")]
fn write_chunk(queue: &wgpu::Queue, buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) {
    queue.write_buffer(buffer, at, bytes);
}

/// Hands a queue what it is to write, copied by all threads where it is much.
#[cfg(not(target_arch = "wasm32"))]
fn write_chunk(queue: &wgpu::Queue, buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) {
    if bytes.len() <= THREAD_BYTES {
        return queue.write_buffer(buffer, at, bytes);
    }
    let room = |(index, part): (usize, &[u8])| {
        let at = at + (index * THREAD_BYTES) as u64;
        queue.write_buffer_with(buffer, at, wgpu::BufferSize::new(part.len() as u64)?)
    };
    let rooms: Option<Vec<_>> = bytes.chunks(THREAD_BYTES).enumerate().map(room).collect();
    match rooms {
        Some(mut rooms) => rooms
            .par_iter_mut()
            .zip(bytes.par_chunks(THREAD_BYTES))
            .for_each(|(room, part)| room.copy_from_slice(part)),
        // The error is that of the scope.
        None => queue.write_buffer(buffer, at, bytes),
    }
}

/// Elements of four bytes that go from one buffer into another.
pub(super) struct BufferCopy<'a> {
    pub from: &'a wgpu::Buffer,
    /// First element that is read.
    pub first: usize,
    pub to: &'a wgpu::Buffer,
    /// First element that is written.
    pub at: usize,
    pub length: usize,
}

/// Copies on the device, in one submission, ordered with all others.
///
/// # Errors
/// If the device is lost or out of memory.
pub(super) fn copy(context: &Context, copies: &[BufferCopy<'_>]) -> Result<()> {
    context.scoped_now("copy", || {
        let mut encoder = context.device.create_command_encoder(&Default::default());
        for BufferCopy { from, first, to, at, length } in copies {
            let [first, at, length] = [first, at, length].map(|&it| it as u64 * 4);
            encoder.copy_buffer_to_buffer(from, first, to, at, length);
        }
        context.queue.submit([encoder.finish()]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_fits_its_buffer() {
        for element in [Element::F32, Element::F16] {
            for count in [0, 1, 3, 4, 63, 64, 65] {
                // A tensor of `count` elements behind 128 others, or nothing behind them.
                let end = bytes(element, 128) + binding_bytes(element, count);
                assert!(end <= size_bytes(element, 128 + count));
                assert!(binding_bytes(element, count) >= VECTOR_BYTES);
                assert!(size_bytes(element, count).is_multiple_of(4));
            }
        }
    }
}
