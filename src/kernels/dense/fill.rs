//! One value in every element of out [rows, cols].

use super::elementwise::{CHUNK, STRIDING_COUNT, elementwise_groups};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, lane_count,
    wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `dense/fill.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    pub value: f32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// `value` in all of [rows, cols].
    pub fn new(rows: Extent, cols: u32, value: f32) -> Self {
        Self { rows, cols, value }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "fill",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::write("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/dense/fill.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.cols)]
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    elementwise_groups(params.rows.length(counts) * params.cols as usize / lane_count(params.cols))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let count = params.rows.length(counts) as u64 * u64::from(params.cols);
    Cost { flops: 0, read_bytes: 0, written_bytes: 4 * count }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = call.length(params.rows) * params.cols as usize;
    let chunks = call.f_mut(0)[..count].par_chunks_mut(CHUNK);
    chunks.for_each(|out| out.fill(params.value));
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = call.length(params.rows) * params.cols as usize;
    oracle::dense::fill(f64::from(params.value), &mut call.f_mut(0)[..count]);
}

fn cases() -> Vec<Case> {
    let shapes =
        [(1, 1), (0, 9), (3, 5), (17, 130), (1, STRIDING_COUNT + 77), (2, 2 * STRIDING_COUNT + 8)];
    let case = |(rows, cols): (usize, usize)| {
        let value = if rows == 3 { 0.0 } else { 2.5 };
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32, value);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        // The elements beyond the shape keep their poison.
        Case::new(format!("rows {rows}, cols {cols}"), &params, step).out(rows * cols + 5)
    };
    shapes.into_iter().map(case).collect()
}
