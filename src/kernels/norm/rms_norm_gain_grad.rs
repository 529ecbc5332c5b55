//! Gradient of `rms_norm` with respect to its gain, one partial sum a chunk of rows (spec §5.1).
//!
//! `partial[chunk, col] = Σ dout x inverse_rms` over the rows of the chunk; `sum_rows` of the
//! chunks is the gradient. dout and x are [rows, cols], inverse_rms is [rows], partial is
//! [chunk_count, cols]. Every chunk is written, chunks past the last row with zeros.

use super::rms_norm_grad::normalised;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Needs, Step, Variant,
    fold_groups, no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `norm/rms_norm_gain_grad.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    pub rows_per_chunk: u32,
    pub chunk_count: u32,
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    /// `chunk_count` chunks of `rows_per_chunk` rows, which must hold all rows.
    pub fn new(rows: Extent, cols: u32, rows_per_chunk: u32, chunk_count: u32) -> Self {
        Self { rows, cols, rows_per_chunk, chunk_count, reserved: [0; 3] }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "rms_norm_gain_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("dout", Element::F32),
        Binding::read("x", Element::F32),
        Binding::read("inverse_rms", Element::F32),
        Binding::write("partial", Element::F32),
    ],
    variants: &[Variant {
        name: "base",
        source: include_str!("../../../shaders/norm/rms_norm_gain_grad.wgsl"),
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

/// Columns of one workgroup.
const WIDTH: usize = 64;

fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups((params.cols as usize).div_ceil(WIDTH) * params.chunk_count as usize)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    Cost {
        flops: 3 * rows * cols,
        read_bytes: 4 * (2 * rows * cols + rows),
        written_bytes: 4 * u64::from(params.chunk_count) * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (per_chunk, chunks) = (params.rows_per_chunk as usize, params.chunk_count as usize);
    assert!(rows <= per_chunk * chunks, "rms_norm_gain_grad: {chunks} chunks do not hold {rows}");
    let (dout, x, inverse_rms) = (call.f(0), call.f(1), call.f(2));
    let chunks = call.f_mut(3)[..chunks * cols].par_chunks_mut(cols).enumerate();
    chunks.for_each(|(chunk, partial)| {
        partial.fill(0.0);
        for row in (chunk * per_chunk).min(rows)..((chunk + 1) * per_chunk).min(rows) {
            let inverse = inverse_rms[row];
            let (dout, x) = (&dout[row * cols..][..cols], &x[row * cols..][..cols]);
            for ((sum, dout), x) in partial.iter_mut().zip(dout).zip(x) {
                *sum += dout * x * inverse;
            }
        }
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let partial = call.f_mut(3);
    partial[..params.chunk_count as usize * cols].fill(0.0);
    oracle::norm::rms_norm_gain_grad(
        call.f(0),
        call.f(1),
        call.f(2),
        partial,
        rows,
        cols,
        params.rows_per_chunk as usize,
    );
}

fn cases() -> Vec<Case> {
    // rows, cols, rows a chunk, chunks
    let shapes = [
        (1, 1, 1, 1),
        (3, 7, 4, 2),
        (64, 65, 13, 6),
        (37, 130, 16, 3),
        (70_000, 3, 1, 70_001),
        (100, 256, 25, 4),
    ];
    let case = |(rows, cols, rows_per_chunk, chunk_count): (usize, usize, u32, u32)| {
        let rows_extent = Extent::of(Axis::Bytes);
        let params = Params::new(rows_extent, cols as u32, rows_per_chunk, chunk_count);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let (x, inverse_rms) = normalised(rows, cols);
        Case::new(format!("rows {rows}, cols {cols}, {chunk_count} chunks"), &params, step)
            .f(values(rows as u64 + 2000, rows * cols))
            .f(x)
            .f(inverse_rms)
            .out(chunk_count as usize * cols + 3)
    };
    shapes.into_iter().map(case).collect()
}
