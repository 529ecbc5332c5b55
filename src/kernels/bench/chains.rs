//! What the two measures of multiply-adds share.

use crate::kernels::{Axis, Case, Cost, Counts, Extent, Step, values};
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `bench/fma_*.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub invocations: Extent,
    /// Steps of every chain; even.
    pub step_count: u32,
    pub a: f32,
    pub b: f32,
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 32);

/// Chains an invocation.
pub const CHAIN_COUNT: usize = 32;
/// Invocations a workgroup; `WIDTH` in the shaders.
const WIDTH: usize = 256;

impl Params {
    /// Chains that stay near 1.
    pub fn new(invocations: Extent, step_count: u32) -> Self {
        assert!(step_count.is_multiple_of(2), "chains take two steps at a time");
        Self { invocations, step_count, a: 0.75, b: 0.25, reserved: [0; 3] }
    }
}

pub fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    [params.invocations.length(counts).div_ceil(WIDTH).max(1) as u32, 1, 1]
}

pub fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let invocations = params.invocations.length(counts) as u64;
    let steps = u64::from(params.step_count) * CHAIN_COUNT as u64;
    let bytes = 4 * invocations;
    Cost { flops: 2 * invocations * steps, read_bytes: bytes, written_bytes: bytes }
}

/// Few steps: a chain forgets where it began, and a kernel that never knew would pass.
pub fn cases(tolerance: f64) -> Vec<Case> {
    let case = |(invocations, steps): (usize, u32)| {
        let params = Params::new(Extent::of(Axis::Bytes), steps);
        let step = Step::of(Counts::default().with(Axis::Bytes, invocations));
        Case::new(format!("{invocations} invocations, {steps} steps"), &params, step)
            .f(values(invocations as u64, invocations))
            .out(invocations + 3)
            .tolerance(tolerance)
    };
    [(1, 0), (1, 2), (257, 4), (1003, 2), (511, 6)].into_iter().map(case).collect()
}
