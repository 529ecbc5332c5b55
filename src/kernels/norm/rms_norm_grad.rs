//! Gradients of `rms_norm` (spec §5.1): with respect to x, and to the gain one partial sum a chunk
//! of rows.
//!
//! With x̂ = x inverse_rms: `dx = inverse_rms (gain dout - x̂ mean(gain dout x̂)) + residual_scale
//! residual`. dout, x, residual and dx are [rows, cols], gain is `[cols]`, inverse_rms is `[rows]`.
//! `dx_half` [rows, cols] is dx again, in f16 for the products that read it next.
//! `partial[chunk, col] = Σ dout x̂` over the rows of the chunk, [chunk_count, cols]: `sum_rows` of
//! the chunks is the gradient of the gain. Every chunk is written, chunks past the last row with
//! zeros.

use crate::kernels::eights::{is_short_row, rows_of_eights};
use crate::kernels::row_lanes::row_lanes;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Halves, Kernel, Needs, Step, Variant,
    always, fold_groups, lane_count, reduce::lanes, values, wide,
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
    /// Zero: the same of `partial`.
    pub with_gain: u32,
    /// Chunks that the rows are divided among, equal but for the last ones. How many rows a chunk
    /// has follows from the rows of the step and not from the capacity of the plan, so that a
    /// larger plan sums in the same order.
    pub chunk_count: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    /// A gradient without a residual, a copy or the gain's, in so many chunks of rows.
    pub fn new(rows: Extent, cols: u32, chunk_count: u32) -> Self {
        Self {
            rows,
            cols,
            residual_scale: 0.0,
            with_half: 0,
            with_gain: 0,
            chunk_count,
            reserved: 0,
        }
    }

    fn rows_per_chunk(&self, rows: usize) -> usize {
        rows.div_ceil(self.chunk_count as usize).max(1)
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
        Binding::update("partial", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/norm/rms_norm_grad.wgsl"), groups),
        row_lanes(include_str!("../../../shaders/norm/rms_norm_grad.lanes.wgsl"), lanes_groups),
        rows_of_eights(
            include_str!("../../../shaders/norm/rms_norm_grad.lanes_eights.wgsl"),
            takes_eights,
            groups,
        ),
        Variant {
            name: "subgroups",
            source: include_str!("../../../shaders/norm/rms_norm_grad.subgroups.wgsl"),
            defines: &[],
            needs: Needs { subgroups: true, ..Needs::NOTHING },
            takes: always,
            suits: |situation| situation.abilities.hardware,
            keeps_bits: false,
            groups,
        },
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Invocations of one workgroup.
const WIDTH: usize = 64;

/// The numbers of a row that an invocation keeps are a constant, so that they are registers.
fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let slices = (params.cols as usize / lane_count(params.cols)).div_ceil(WIDTH);
    vec![wide(params.cols), ("SLICES", slices as u32)]
}

fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.chunk_count as usize)
}

/// A lane of `lanes` walks a chunk; few share a workgroup, so that no thread of a processor idles.
fn lanes_groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups((params.chunk_count as usize).div_ceil(8))
}

/// Without a copy in another type.
fn takes_eights(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    halves == Halves::NONE && params.with_half == 0 && is_short_row(params.cols)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    let inputs = 2 + u64::from(params.residual_scale != 0.0);
    let gain = u64::from(params.with_gain);
    Cost {
        flops: (8 + 3 * gain) * rows * cols,
        read_bytes: 4 * (inputs * rows * cols + rows + cols),
        written_bytes: (4 + 2 * u64::from(params.with_half)) * rows * cols
            + 4 * gain * u64::from(params.chunk_count) * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (per_chunk, chunks) = (params.rows_per_chunk(rows), params.chunk_count as usize);
    let (dout, x, gain, inverse_rms) = (call.f(0), call.f(1), call.f(2), call.f(3));
    let (residual, dx) = (call.f(4), &mut call.f_mut(5)[..rows * cols]);
    let scale = params.residual_scale;
    let chunk = |index: usize, dx: &mut [f32], sums: &mut [f32]| {
        for (offset, dx) in dx.chunks_mut(cols).enumerate() {
            let row = index * per_chunk + offset;
            let (inverse, sums) = (inverse_rms[row], &mut *sums);
            let [dout, x] = [dout, x].map(|values| &values[row * cols..][..cols]);
            Arch::new().dispatch(Row { dout, x, gain, inverse, dx: &mut *dx, sums });
            if scale != 0.0 {
                let residual = &residual[row * cols..][..cols];
                dx.iter_mut().zip(residual).for_each(|(dx, residual)| *dx += scale * residual);
            }
        }
    };
    let dx_chunks = dx.par_chunks_mut(per_chunk * cols).enumerate();
    if params.with_gain == 1 {
        let partial = &mut call.f_mut(7)[..chunks * cols];
        partial.fill(0.0);
        let both = dx_chunks.zip(partial.par_chunks_mut(cols));
        both.for_each(|((index, dx), sums)| chunk(index, dx, sums));
    } else {
        dx_chunks.for_each(|(index, dx)| chunk(index, dx, &mut []));
    }
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
    /// Where the row's part of the gain's gradient is added; empty where nobody wants it.
    sums: &'a mut [f32],
}

impl NullaryFnOnce for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { dout, x, gain, inverse, dx, sums } = self;
        let projection = lanes::sum_3(gain, dout, x, |gain, dout, x| gain * dout * x);
        // x̂ mean(gain dout x̂) = x (inverse² / cols) Σ gain dout x
        let slope = projection * inverse * inverse / dx.len() as f32;
        for (((dx, dout), x), gain) in dx.iter_mut().zip(dout).zip(x).zip(gain) {
            *dx = inverse * (gain * dout - x * slope);
        }
        for ((sum, dout), x) in sums.iter_mut().zip(dout).zip(x) {
            *sum += dout * x * inverse;
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
    if params.with_gain == 1 {
        let (dout, x, inverse_rms) = (call.f(0), call.f(1), call.f(3));
        let (per_chunk, partial) = (params.rows_per_chunk(rows), call.f_mut(7));
        partial[..params.chunk_count as usize * cols].fill(0.0);
        oracle::norm::rms_norm_gain_grad(dout, x, inverse_rms, partial, rows, cols, per_chunk);
    }
}

fn cases() -> Vec<Case> {
    // rows, cols, chunks
    let shapes = [
        (1, 1, 1),
        (1, 7, 3),
        (3, 64, 2),
        (64, 65, 6),
        (37, 130, 5),
        (70_000, 4, 70_001),
        (2, 1024, 1),
        (100, 260, 16),
        (67, 128, 5),
        (2, 8, 1),
        (33, 72, 40),
    ];
    let case = |(index, (rows, cols, chunk_count)): (usize, (usize, usize, usize))| {
        let mut params = Params::new(Extent::of(Axis::Bytes), cols as u32, chunk_count as u32);
        params.residual_scale = [0.0, 1.0, -2.0][index % 3];
        params.with_half = index as u32 % 2;
        params.with_gain = (index % 4 != 1).into();
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let (x, inverse_rms) = normalised(rows, cols);
        Case::new(format!("rows {rows}, cols {cols}, {chunk_count} chunks"), &params, step)
            .f(values(rows as u64 + 2000, rows * cols))
            .f(x)
            .f(values(cols as u64 + 1000, cols))
            .f(inverse_rms)
            .f(values(rows as u64 + 3000, rows * cols))
            .out(rows * cols + 3)
            .out(rows * cols + 3)
            .out(chunk_count * cols + 3)
    };
    let mut cases: Vec<Case> = shapes.into_iter().enumerate().map(case).collect();
    let halves = [(0, (5, 65, 3)), (1, (17, 132, 4)), (3, (37, 264, 4))];
    cases.extend(halves.map(|shape| case(shape).halves(&[0, 6])));
    cases.push(case((3, (17, 132, 2))).halves(&[0, 4]));
    cases
}

/// x and the inverse roots that `rms_norm` keeps for it.
fn normalised(rows: usize, cols: usize) -> (Vec<f32>, Vec<f32>) {
    let x = values(rows as u64, rows * cols);
    let inverse = |x: &[f32]| {
        let squares: f32 = x.iter().map(|value| value * value).sum();
        1.0 / (squares / cols as f32 + 1e-5).sqrt()
    };
    let inverse_rms = x.chunks(cols).map(inverse).collect();
    (x, inverse_rms)
}
