//! A device that counts what is created on it, so that a test can see that a replay creates
//! nothing.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a device was asked to create so far, its Context's clones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Created {
    pub buffers: u64,
    pub bind_groups: u64,
    pub pipelines: u64,
    pub query_sets: u64,
}

/// A wgpu device whose methods that create resources are counted here; all others are its own.
#[derive(Clone)]
pub(super) struct CountedDevice {
    device: wgpu::Device,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    buffers: AtomicU64,
    bind_groups: AtomicU64,
    pipelines: AtomicU64,
    query_sets: AtomicU64,
}

impl CountedDevice {
    pub fn new(device: wgpu::Device) -> Self {
        Self { device, counters: Arc::default() }
    }

    pub fn created(&self) -> Created {
        let Counters { buffers, bind_groups, pipelines, query_sets } = &*self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Created {
            buffers: read(buffers),
            bind_groups: read(bind_groups),
            pipelines: read(pipelines),
            query_sets: read(query_sets),
        }
    }

    pub fn create_buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> wgpu::Buffer {
        count(&self.counters.buffers);
        self.device.create_buffer(descriptor)
    }

    pub fn create_bind_group(&self, descriptor: &wgpu::BindGroupDescriptor<'_>) -> wgpu::BindGroup {
        count(&self.counters.bind_groups);
        self.device.create_bind_group(descriptor)
    }

    pub fn create_compute_pipeline(
        &self,
        descriptor: &wgpu::ComputePipelineDescriptor<'_>,
    ) -> wgpu::ComputePipeline {
        count(&self.counters.pipelines);
        self.device.create_compute_pipeline(descriptor)
    }

    pub fn create_query_set(&self, descriptor: &wgpu::QuerySetDescriptor<'_>) -> wgpu::QuerySet {
        count(&self.counters.query_sets);
        self.device.create_query_set(descriptor)
    }
}

impl Deref for CountedDevice {
    type Target = wgpu::Device;

    fn deref(&self) -> &wgpu::Device {
        &self.device
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
