//! Gradient of `rms_norm` with respect to x (spec §5.1).
//!
//! With x̂ = x inverse_rms: `dx = inverse_rms (gain dout - x̂ mean(gain dout x̂))` (+ dx). dout, x
//! and dx are [rows, cols], gain is `[cols]`, inverse_rms is `[rows]`.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Needs, Step, Variant,
    fold_groups, no_constants, reduce::lanes, values,
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
    /// One: add to what `dx` holds.
    pub accumulate: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// A gradient that overwrites `dx`.
    pub fn new(rows: Extent, cols: u32) -> Self {
        Self { rows, cols, accumulate: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "rms_norm_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("dout", Element::F32),
        Binding::read("x", Element::F32),
        Binding::read("gain", Element::F32),
        Binding::read("inverse_rms", Element::F32),
        Binding::update("dx", Element::F32),
    ],
    variants: &[Variant {
        name: "base",
        source: include_str!("../../../shaders/norm/rms_norm_grad.wgsl"),
        defines: &[],
        needs: Needs::NOTHING,
        groups,
    }],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    let inputs = 2 + u64::from(params.accumulate);
    Cost {
        flops: 8 * rows * cols,
        read_bytes: 4 * (inputs * rows * cols + rows + cols),
        written_bytes: 4 * rows * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (dout, x, gain, inverse_rms) = (call.f(0), call.f(1), call.f(2), call.f(3));
    let rows = call.f_mut(4)[..rows * cols]
        .par_chunks_mut(cols)
        .zip(dout[..rows * cols].par_chunks(cols))
        .zip(x[..rows * cols].par_chunks(cols))
        .zip(&inverse_rms[..rows]);
    let accumulate = params.accumulate == 1;
    rows.for_each(|(((dx, dout), x), &inverse)| {
        Arch::new().dispatch(Row { dout, x, gain, inverse, accumulate, dx });
    });
}

/// One row; a type and no closure, so that it is inlined where vectors are wide.
struct Row<'a> {
    dout: &'a [f32],
    x: &'a [f32],
    gain: &'a [f32],
    inverse: f32,
    accumulate: bool,
    dx: &'a mut [f32],
}

impl NullaryFnOnce for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { dout, x, gain, inverse, accumulate, dx } = self;
        let projection = lanes::sum_3(gain, dout, x, |gain, dout, x| gain * dout * x);
        // x̂ mean(gain dout x̂) = x (inverse² / cols) Σ gain dout x
        let slope = projection * inverse * inverse / dx.len() as f32;
        for (((dx, dout), x), gain) in dx.iter_mut().zip(dout).zip(x).zip(gain) {
            let value = inverse * (gain * dout - x * slope);
            *dx = if accumulate { *dx + value } else { value };
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let dx = call.f_mut(4);
    let before = dx.to_vec();
    oracle::norm::rms_norm_grad(call.f(0), call.f(1), call.f(2), call.f(3), dx, rows, cols);
    if params.accumulate == 1 {
        for (dx, before) in dx[..rows * cols].iter_mut().zip(&before) {
            *dx += before;
        }
    }
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (1, 7), (3, 64), (5, 65), (17, 130), (70_000, 4), (2, 1024)];
    let case = |(index, (rows, cols)): (usize, (usize, usize))| {
        let mut params = Params::new(Extent::of(Axis::Bytes), cols as u32);
        params.accumulate = index as u32 % 2;
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let (x, inverse_rms) = normalised(rows, cols);
        Case::new(format!("rows {rows}, cols {cols}"), &params, step)
            .f(values(rows as u64 + 2000, rows * cols))
            .f(x)
            .f(values(cols as u64 + 1000, cols))
            .f(inverse_rms)
            .f(values(rows as u64 + 3000, rows * cols + 3))
    };
    shapes.into_iter().enumerate().map(case).collect()
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
