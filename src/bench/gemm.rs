//! Products of square matrices: what every library is asked first.

use super::isolate::{Context, Isolated, call};
use super::work::work;
use crate::device::Device;
use crate::engine::{Engine, Inputs};
use crate::error::Result;
use crate::graph::{Precision, Recording, StoreLayout};
use crate::kernels::dense::matmul;
use crate::kernels::{Cost, Counts, Element, Extent, Halves, Situation, Step};

/// A product [side, side] by [side, side], the second stored transposed as in a linear layer; in
/// mixed precision of operands in f16 with sums in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gemm {
    pub side: usize,
    pub precision: Precision,
}

/// A product, ready to be timed.
pub(super) struct GemmMeasure {
    pub variant: usize,
    /// As tables show it: `matrix.f16`.
    pub variant_name: String,
    pub shape: String,
    pub cost: Cost,
    pub isolated: Isolated,
}

impl Gemm {
    /// The products of a precision that a device is asked for: small ones where it computes on the
    /// processor.
    pub fn all(device: &Device, precision: Precision) -> Vec<Self> {
        let sides: &[usize] = match (device.computes_on_processor(), precision) {
            (true, _) => &[512],
            (false, Precision::F32) => &[4096],
            (false, Precision::Mixed) => &[4096, 8192],
        };
        sides.iter().map(|&side| Self { side, precision }).collect()
    }

    /// The precision of the operands.
    pub fn operands(&self) -> &'static str {
        match self.precision {
            Precision::F32 => "f32",
            Precision::Mixed => "f16",
        }
    }

    /// The product with the variant that rules choose for it.
    ///
    /// # Errors
    /// As [`Context::isolate`].
    pub fn measure(&self, device: &Device) -> Result<GemmMeasure> {
        let extent = Extent::fixed(self.side);
        let abilities = device.abilities();
        let params = matmul::Params::new(extent, extent, extent, false, true);
        let (halves, element) = match self.precision {
            Precision::F32 => (Halves::NONE, Element::F32),
            Precision::Mixed => (Halves::of(&[0, 1, 2]), Element::F16),
        };
        let situation =
            Situation { params: bytemuck::bytes_of(&params), halves, abilities: &abilities };
        let variant = matmul::KERNEL.choose(&situation);
        let mut recording = Recording::new("gemm", Counts::default());
        let length = self.side * self.side;
        let a = recording.add_transient(element, length);
        let b = recording.add_transient(element, length);
        let out = recording.add_transient(Element::F32, length);
        // There is no residual; any buffer may stand in its place.
        let dispatch = call(&matmul::KERNEL, variant, halves, &params, vec![a, b, a, out]);
        let bytes = length * (2 * element.bytes() + Element::F32.bytes());
        let flops = 2 * (self.side as u64).pow(3);
        let cost = Cost { flops, read_bytes: bytes as u64, written_bytes: 0 };
        let name = dispatch.variant_name();
        let variant_name = name[dispatch.kernel.name.len() + 1..].to_owned();
        let shape = work(&dispatch, &Counts::default());
        recording.dispatches.push(dispatch);
        let context = Context {
            recording: &recording,
            layout: &StoreLayout::default(),
            model: None,
            step: Step::of(Counts::default()),
            inputs: &Inputs::default(),
        };
        let isolated = context.isolate(0)?;
        Ok(GemmMeasure { variant, variant_name, shape, cost, isolated })
    }
}
