//! Gradient of `rms_norm` with respect to x (spec §5.1).
//!
//! With x̂ = x inverse_rms: `dx = inverse_rms (gain dout - x̂ mean(gain dout x̂)) + residual_scale
//! residual`. dout, x, residual and dx are [rows, cols], gain is `[cols]`, inverse_rms is `[rows]`.
//! `dx_half` [rows, cols] is dx again, in f16 for the products that read it next.

use crate::kernels::row_lanes::{row_groups, row_lanes};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    reduce::lanes, values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// The `Params` uniform of `norm/rms_norm_grad.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    /// Zero: there is no residual, and any buffer may be bound in its place.
    pub residual_scale: f32,
    /// Zero: `dx_half` is left alone, and any buffer that is not read may be bound in its place.
    pub with_half: u32,
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    /// A gradient without a residual and without a copy.
    pub fn new(rows: Extent, cols: u32) -> Self {
        Self { rows, cols, residual_scale: 0.0, with_half: 0, reserved: [0; 3] }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "rms_norm_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("dout", Element::F32).or_half(),
        Binding::read("x", Element::F32),
        Binding::read("gain", Element::F32),
        Binding::read("inverse_rms", Element::F32),
        Binding::read("residual", Element::F32).or_half(),
        Binding::write("dx", Element::F32),
        Binding::update("dx_half", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/norm/rms_norm_grad.wgsl"), groups),
        row_lanes(include_str!("../../../shaders/norm/rms_norm_grad.lanes.wgsl"), lanes_groups),
    ],
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
    fold_groups(params.rows.length(counts))
}

fn lanes_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    row_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    let inputs = 2 + u64::from(params.residual_scale != 0.0);
    Cost {
        flops: 8 * rows * cols,
        read_bytes: 4 * (inputs * rows * cols + rows + cols),
        written_bytes: (4 + 2 * u64::from(params.with_half)) * rows * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (dout, x, gain, inverse_rms) = (call.f(0), call.f(1), call.f(2), call.f(3));
    let (residual, dx) = (call.f(4), &mut call.f_mut(5)[..rows * cols]);
    let scale = params.residual_scale;
    let row_parts = dx
        .par_chunks_mut(cols)
        .zip(dout[..rows * cols].par_chunks(cols))
        .zip(x[..rows * cols].par_chunks(cols))
        .zip(&inverse_rms[..rows])
        .enumerate();
    row_parts.for_each(|(row, (((dx, dout), x), &inverse))| {
        Arch::new().dispatch(Row { dout, x, gain, inverse, dx });
        if scale != 0.0 {
            let residual = &residual[row * cols..][..cols];
            dx.iter_mut().zip(residual).for_each(|(dx, residual)| *dx += scale * residual);
        }
    });
    if params.with_half == 1 {
        call.f_mut(6)[..rows * cols].copy_from_slice(dx);
    }
}

/// One row; a type and no closure, so that it is inlined where vectors are wide.
struct Row<'a> {
    dout: &'a [f32],
    x: &'a [f32],
    gain: &'a [f32],
    inverse: f32,
    dx: &'a mut [f32],
}

impl NullaryFnOnce for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { dout, x, gain, inverse, dx } = self;
        let projection = lanes::sum_3(gain, dout, x, |gain, dout, x| gain * dout * x);
        // x̂ mean(gain dout x̂) = x (inverse² / cols) Σ gain dout x
        let slope = projection * inverse * inverse / dx.len() as f32;
        for (((dx, dout), x), gain) in dx.iter_mut().zip(dout).zip(x).zip(gain) {
            *dx = inverse * (gain * dout - x * slope);
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let dx = call.f_mut(5);
    oracle::norm::rms_norm_grad(call.f(0), call.f(1), call.f(2), call.f(3), dx, rows, cols);
    let scale = f64::from(params.residual_scale);
    if scale != 0.0 {
        for (dx, residual) in dx[..rows * cols].iter_mut().zip(call.f(4)) {
            *dx += scale * residual;
        }
    }
    if params.with_half == 1 {
        call.f_mut(6)[..rows * cols].copy_from_slice(&dx[..rows * cols]);
    }
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (1, 7), (3, 64), (5, 65), (17, 130), (70_000, 4), (2, 1024)];
    let case = |(index, (rows, cols)): (usize, (usize, usize))| {
        let mut params = Params::new(Extent::of(Axis::Bytes), cols as u32);
        params.residual_scale = [0.0, 1.0, -2.0][index % 3];
        params.with_half = index as u32 % 2;
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let (x, inverse_rms) = normalised(rows, cols);
        Case::new(format!("rows {rows}, cols {cols}"), &params, step)
            .f(values(rows as u64 + 2000, rows * cols))
            .f(x)
            .f(values(cols as u64 + 1000, cols))
            .f(inverse_rms)
            .f(values(rows as u64 + 3000, rows * cols))
            .out(rows * cols + 3)
            .out(rows * cols + 3)
    };
    let mut cases: Vec<Case> = shapes.into_iter().enumerate().map(case).collect();
    cases.extend([(0, (5, 65)), (1, (17, 132))].map(|shape| case(shape).halves(&[0, 6])));
    cases.push(case((3, (17, 132))).halves(&[0, 4]));
    cases
}

/// x and the inverse roots that `rms_norm` keeps for it.
pub(super) fn normalised(rows: usize, cols: usize) -> (Vec<f32>, Vec<f32>) {
    let x = values(rows as u64, rows * cols);
    let inverse = |x: &[f32]| {
        let squares: f32 = x.iter().map(|value| value * value).sum();
        1.0 / (squares / cols as f32 + 1e-5).sqrt()
    };
    let inverse_rms = x.chunks(cols).map(inverse).collect();
    (x, inverse_rms)
}
