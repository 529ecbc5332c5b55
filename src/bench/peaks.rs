//! The measures of a device: which kernel over which sizes shows what it can do at best.

use super::isolate::{Context, Isolated, call};
use crate::device::Device;
use crate::engine::{Engine, Inputs};
use crate::error::Result;
use crate::graph::{Recording, StoreLayout};
use crate::kernels::bench::stream_copy::StreamParams;
use crate::kernels::bench::{fma_f16, fma_f32, matrix_f16, stream_copy, stream_read, stream_write};
use crate::kernels::dense::fill;
use crate::kernels::{Counts, Element, Extent, Halves, Kernel, Step};
use bytemuck::NoUninit;

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peak {
    Copy,
    Read,
    Write,
    FmaF32,
    FmaF16,
    MatrixF16,
    /// A dispatch that does nothing worth mentioning.
    Launch,
}

/// A peak on a device, ready to be timed.
pub(super) struct Measure {
    pub kernel: &'static Kernel,
    pub variant: usize,
    pub isolated: Isolated,
    /// In billions of `unit` times seconds; of a launch, launches.
    pub work: f64,
    pub unit: &'static str,
    /// What the sizes are, for the row.
    pub shape: String,
}

/// Bytes of each buffer of a stream, if the device binds so many: more than caches hold.
const STREAM_BYTES: usize = 256 << 20;

impl Peak {
    pub const ALL: [Self; 7] = [
        Self::Copy,
        Self::Read,
        Self::Write,
        Self::FmaF32,
        Self::FmaF16,
        Self::MatrixF16,
        Self::Launch,
    ];

    /// Kernel and variant that measure it.
    pub fn kernel(self) -> (&'static Kernel, usize) {
        match self {
            Self::Copy => (&stream_copy::KERNEL, 0),
            Self::Read => (&stream_read::KERNEL, 0),
            Self::Write => (&stream_write::KERNEL, 0),
            Self::FmaF32 => (&fma_f32::KERNEL, 0),
            Self::FmaF16 => (&fma_f16::KERNEL, 1),
            Self::MatrixF16 => (&matrix_f16::KERNEL, 1),
            Self::Launch => (&fill::KERNEL, 0),
        }
    }

    /// Why the device has no such peak, if it has none.
    pub fn missing(self, device: &Device) -> Option<String> {
        let (kernel, variant) = self.kernel();
        device.why_not(kernel.variants[variant].needs)
    }

    /// The measure of it on a device.
    ///
    /// # Errors
    /// Never for these kernels; as [`Context::isolate`].
    pub fn measure(self, device: &Device) -> Result<Measure> {
        let (kernel, variant) = self.kernel();
        let sizes = Sizes::of(device);
        let vectors = Extent::fixed(sizes.stream_vectors);
        let mut stream = StreamParams::new(vectors, sizes.stream_vectors);
        stream.group_count = stream.group_count.min(sizes.stream_groups);
        let elements = sizes.stream_vectors * 4;
        let mut shape = format!("{} MiB", elements >> 18);
        let mut plan = Recording::new("peak", Counts::default());
        let kernel_variant = (kernel, variant);
        match self {
            Self::Copy => {
                add(&mut plan, kernel_variant, &stream, &[elements; 2]);
            }
            Self::Write => {
                add(&mut plan, kernel_variant, &stream, &[elements]);
            }
            Self::Read => {
                let lengths = [elements, stream_read::sum_count(&stream)];
                add(&mut plan, kernel_variant, &stream, &lengths);
            }
            Self::FmaF32 | Self::FmaF16 => {
                let (invocations, steps) = (sizes.invocations, sizes.chain_steps);
                let params = fma_f32::ChainParams::new(Extent::fixed(invocations), steps);
                shape = format!("{invocations} x 32 chains of {steps}");
                add(&mut plan, kernel_variant, &params, &[invocations; 2]);
            }
            Self::MatrixF16 => {
                let (slots, steps) = (sizes.matrix_slots, sizes.matrix_steps);
                let params = matrix_f16::Params::new(Extent::fixed(slots), steps);
                let side = matrix_f16::SIDE * matrix_f16::MATRIX;
                shape = format!("{slots} x 16 sums of {steps} products 16 x 16 x 16");
                let lengths = [side, side, slots * matrix_f16::MATRIX];
                add(&mut plan, kernel_variant, &params, &lengths);
            }
            Self::Launch => {
                shape = "1 element".into();
                let params = fill::Params::new(Extent::fixed(1), 1, 1.0);
                add(&mut plan, kernel_variant, &params, &[1]);
            }
        }
        let cost = plan.cost(&Counts::default());
        let bytes = cost.read_bytes + cost.written_bytes;
        let (work, unit) = match self {
            Self::Copy | Self::Read | Self::Write => (bytes as f64 / 1e9, "GB/s"),
            Self::FmaF32 | Self::FmaF16 | Self::MatrixF16 => (cost.flops as f64 / 1e9, "GFLOP/s"),
            Self::Launch => (1.0, "dispatches/s"),
        };
        let context = Context {
            recording: &plan,
            layout: &StoreLayout::default(),
            model: None,
            step: Step::of(Counts::default()),
            inputs: &Inputs::default(),
        };
        Ok(Measure { kernel, variant, isolated: context.isolate_once(0)?, work, unit, shape })
    }
}

/// Appends a dispatch over buffers of these lengths.
fn add(
    recording: &mut Recording,
    (kernel, variant): (&'static Kernel, usize),
    params: &impl NoUninit,
    lengths: &[usize],
) {
    let regions = lengths.iter().map(|&it| recording.add_transient(Element::F32, it));
    let regions = regions.collect();
    recording.dispatches.push(call(kernel, variant, Halves::NONE, params, regions));
}

/// How much work keeps a device busy for long enough, and for no longer.
struct Sizes {
    stream_vectors: usize,
    /// Most workgroups of a stream.
    stream_groups: u32,
    invocations: usize,
    chain_steps: u32,
    matrix_slots: usize,
    matrix_steps: u32,
}

impl Sizes {
    fn of(device: &Device) -> Self {
        let elements = (STREAM_BYTES / 4).min(device.max_binding_elements());
        let stream_vectors = elements / 4;
        // A processor has few threads: it reads rows of a small grid one after the other.
        let (invocations, stream_groups) = match device {
            Device::Cpu(_) => (1 << 14, 1),
            #[cfg(feature = "gpu")]
            Device::Gpu(_) if device.computes_on_processor() => (1 << 14, 64),
            #[cfg(feature = "gpu")]
            Device::Gpu(_) => (1 << 20, u32::MAX),
        };
        Self {
            stream_vectors,
            stream_groups,
            invocations,
            chain_steps: 512,
            matrix_slots: 1 << 14,
            matrix_steps: 512,
        }
    }
}
