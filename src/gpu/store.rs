//! The Store on a device: one buffer an arena.

use super::buffers;
use super::context::Context;
use crate::error::Result;
use crate::graph::{ArenaId, StoreLayout};
use crate::kernels::Element;

/// Persistent buffers on a device; a clone shares them.
#[derive(Clone)]
pub struct GpuStore {
    pub(super) arenas: Vec<GpuArena>,
}

/// One persistent buffer.
#[derive(Clone)]
pub(super) struct GpuArena {
    pub name: String,
    pub buffer: wgpu::Buffer,
    pub element: Element,
    /// Number of elements.
    pub length: usize,
}

impl GpuStore {
    /// Zero-filled buffers for every arena.
    ///
    /// # Errors
    /// If an arena exceeds a limit or the device has not the memory.
    pub(super) async fn new(context: &Context, layout: &StoreLayout) -> Result<Self> {
        let limits = context.caps().limits;
        let mut arenas = Vec::new();
        for arena in layout.arenas() {
            let (name, element, length) = (&arena.name, arena.element, arena.length);
            limits.check_binding(name, buffers::binding_bytes(element, length))?;
            limits.check_buffer(name, buffers::size_bytes(element, length))?;
            let made = context.scoped(name, || buffers::create(context, name, element, length));
            arenas.push(GpuArena { name: name.clone(), buffer: made.await?, element, length });
        }
        Ok(Self { arenas })
    }

    /// The buffer of an arena, of which elements `offset .. offset + length` are meant. Halves are
    /// made by kernels out of f32 and are never written or read by the host.
    pub(super) fn range(&self, arena: ArenaId, offset: usize, length: usize) -> &wgpu::Buffer {
        let arena = &self.arenas[arena.0];
        let end = offset + length;
        assert!(arena.element != Element::F16, "{} holds halves", arena.name);
        assert!(end <= arena.length, "{}: {offset}..{end} of {}", arena.name, arena.length);
        &arena.buffer
    }
}

/// Most elements of an arena: a binding and, with its tail, a buffer, and what 32 bits count. A
/// multiple of the alignment of tensors.
pub(super) fn max_binding_elements(context: &Context) -> usize {
    let limits = context.caps().limits;
    let buffer_bytes = limits.buffer_bytes.saturating_sub(buffers::TAIL_BYTES);
    let bytes = limits.storage_binding_bytes.min(buffer_bytes).min(u32::MAX.into());
    let elements = bytes as usize / Element::F32.bytes();
    elements / crate::graph::ALIGNMENT * crate::graph::ALIGNMENT
}
