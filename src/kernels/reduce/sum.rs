//! All elements of x `[rows]` into the one element of out: `out[0] = Σ x` (+ `out[0]`).
//!
//! One workgroup adds in a fixed order, so the result is the same bits every time.

use super::lanes;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, no_constants,
    values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `reduce/sum.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    /// One: add to what `out` holds.
    pub accumulate: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// A sum that overwrites `out`.
    pub fn new(rows: Extent) -> Self {
        Self { rows, accumulate: 0, reserved: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "sum",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::F32), Binding::update("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/reduce/sum.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn groups(_params: &[u8], _counts: &Counts) -> [u32; 3] {
    [1, 1, 1]
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let rows = params.rows.length(counts) as u64;
    Cost { flops: rows, read_bytes: 4 * rows, written_bytes: 4 }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let (x, out) = (call.f(0), call.f_mut(1));
    let total = lanes::sum(&x[..rows], |value| value);
    out[0] = if params.accumulate == 1 { out[0] + total } else { total };
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let x = &call.f(0)[..call.length(params.rows)];
    oracle::reduce::sum(x, call.f_mut(1), params.accumulate == 1);
}

fn cases() -> Vec<Case> {
    let case = |(rows, accumulate): (usize, u32)| {
        let mut params = Params::new(Extent::of(Axis::Bytes));
        params.accumulate = accumulate;
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        // What lies beyond the rows must not be added.
        Case::new(format!("rows {rows}, accumulate {accumulate}"), &params, step)
            .f(values(rows as u64, rows + 5))
            .f(vec![3.5, 7.0])
    };
    let rows = [0, 1, 7, 255, 256, 257, 1031, 100_003];
    rows.into_iter().flat_map(|rows| [(rows, 0), (rows, 1)]).map(case).collect()
}
