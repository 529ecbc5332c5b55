//! `out = alpha a + beta b`, element by element; a, b and out are [rows, cols].

use super::elementwise::{CHUNK, STRIDING_COUNT, elementwise_groups};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, lane_count,
    values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `dense/add.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    pub alpha: f32,
    pub beta: f32,
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    /// `alpha a + beta b` over [rows, cols].
    pub fn new(rows: Extent, cols: u32, alpha: f32, beta: f32) -> Self {
        Self { rows, cols, alpha, beta, reserved: [0; 3] }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "add",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("a", Element::F32),
        Binding::read("b", Element::F32),
        Binding::write("out", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/dense/add.wgsl"), groups)],
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
    Cost { flops: 3 * count, read_bytes: 8 * count, written_bytes: 4 * count }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = call.length(params.rows) * params.cols as usize;
    let (a, b, out) = (call.f(0), call.f(1), call.f_mut(2));
    let chunks = out[..count]
        .par_chunks_mut(CHUNK)
        .zip(a[..count].par_chunks(CHUNK))
        .zip(b[..count].par_chunks(CHUNK));
    chunks.for_each(|((out, a), b)| {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = params.alpha * a + params.beta * b;
        }
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = call.length(params.rows) * params.cols as usize;
    let (alpha, beta) = (f64::from(params.alpha), f64::from(params.beta));
    let out = &mut call.f_mut(2)[..count];
    oracle::dense::add(&call.f(0)[..count], alpha, &call.f(1)[..count], beta, out);
}

fn cases() -> Vec<Case> {
    let shapes = [
        (1, 1),
        (3, 5),
        (17, 130),
        (2, 1024),
        (1, STRIDING_COUNT + 77),
        (2, 2 * STRIDING_COUNT + 8),
    ];
    let case = |(rows, cols): (usize, usize)| {
        let (alpha, beta) = if rows == 3 { (1.0, 1.0) } else { (0.75, -1.5) };
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32, alpha, beta);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        Case::new(format!("rows {rows}, cols {cols}"), &params, step)
            .f(values(rows as u64, rows * cols))
            .f(values(cols as u64 + 1000, rows * cols))
            .out(rows * cols + 3)
    };
    shapes.into_iter().map(case).collect()
}
