//! The GPU engine: runs a Recording on Vulkan, Metal, DX12 or a browser's WebGPU.
//!
//! The one module that names wgpu; hosts that bring their own device reach its types through the
//! re-export. A [`Context`] is a device with what it can do ([`Caps`]); a [`GpuEngine`] is an
//! [`Engine`](crate::engine::Engine) over it. Natively, shaders run without bounds checks unless
//! asked, so every id and offset is range-checked before it is uploaded.

mod ahead;
mod buffers;
mod caps;
mod context;
mod counted_device;
mod early_reads;
mod engine;
mod inputs;
mod kernel_run;
mod known_drivers;
mod launch;
mod limits;
mod pace;
mod pipelines;
mod plan;
mod processors;
mod profile;
mod readback;
mod region;
mod scopes;
mod spare_buffers;
mod store;
mod trust;

pub use caps::{Caps, DeviceKind, MatrixShape, SubgroupSizes};
pub use context::{Adapters, Context, ContextOptions, list_adapters};
pub use counted_device::Created;
pub use engine::GpuEngine;
pub use limits::DeviceLimits;
pub use plan::GpuPlan;
pub use profile::Encoded;
pub use region::BufferRegion;
pub use store::GpuStore;
pub use wgpu;
