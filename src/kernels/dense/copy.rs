//! `out = x`, both [rows, cols], a cast where their types differ. Inside a step copies are kernels,
//! so that one pass stays open.

use super::elementwise::{CHUNK, STRIDING_COUNT, elementwise_groups};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, lane_count,
    values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `dense/copy.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// All of [rows, cols].
    pub fn new(rows: Extent, cols: u32) -> Self {
        Self { rows, cols, reserved: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "copy",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32).or_half(),
        Binding::write("out", Element::F32).or_half(),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/dense/copy.wgsl"), groups)],
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
    Cost { flops: 0, read_bytes: 4 * count, written_bytes: 4 * count }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = call.length(params.rows) * params.cols as usize;
    let (x, out) = (call.f(0), call.f_mut(1));
    let chunks = out[..count].par_chunks_mut(CHUNK).zip(x[..count].par_chunks(CHUNK));
    chunks.for_each(|(out, x)| out.copy_from_slice(x));
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = call.length(params.rows) * params.cols as usize;
    oracle::dense::copy(&call.f(0)[..count], &mut call.f_mut(1)[..count]);
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 5), (17, 132), (1, STRIDING_COUNT + 77), (2, 2 * STRIDING_COUNT + 8)];
    let case = |(rows, cols): (usize, usize)| {
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        Case::new(format!("rows {rows}, cols {cols}"), &params, step)
            .f(values(cols as u64, rows * cols))
            .out(rows * cols + 3)
            .tolerance(0.0)
    };
    let mut cases: Vec<Case> = shapes.into_iter().map(case).collect();
    for (shape, halves) in [((3, 5), [0]), ((3, 5), [1]), ((17, 132), [1]), ((17, 132), [0])] {
        cases.push(case(shape).halves(&halves));
    }
    cases
}
