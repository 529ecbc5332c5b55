//! Gradient of `rms_norm` with respect to its gain, one partial sum a chunk of rows (spec §5.1).
//!
//! `partial[chunk, col] = Σ dout x inverse_rms` over the rows of the chunk; `sum_rows` of the
//! chunks is the gradient. dout and x are [rows, cols], inverse_rms is `[rows]`, partial is
//! [chunk_count, cols]. Every chunk is written, chunks past the last row with zeros.

use super::rms_norm_grad::normalised;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    lane_count, values, wide,
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
    pub chunk_count: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// The rows in `chunk_count` chunks, equal but for the last ones. How many rows a chunk has
    /// follows from the rows of the step and not from the capacity of the plan, so that a larger
    /// plan sums in the same order.
    pub fn new(rows: Extent, cols: u32, chunk_count: u32) -> Self {
        Self { rows, cols, chunk_count }
    }

    fn rows_per_chunk(&self, rows: usize) -> usize {
        rows.div_ceil(self.chunk_count as usize).max(1)
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "rms_norm_gain_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("dout", Element::F32).or_half(),
        Binding::read("x", Element::F32),
        Binding::read("inverse_rms", Element::F32),
        Binding::write("partial", Element::F32),
    ],
    variants: &[Variant::base(
        include_str!("../../../shaders/norm/rms_norm_gain_grad.wgsl"),
        groups,
    )],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Lanes of one workgroup, of one column or of four.
const WIDTH: usize = 64;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.cols)]
}

fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let lanes = params.cols as usize / lane_count(params.cols);
    fold_groups(lanes.div_ceil(WIDTH) * params.chunk_count as usize)
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
    let (per_chunk, chunks) = (params.rows_per_chunk(rows), params.chunk_count as usize);
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
        params.rows_per_chunk(rows),
    );
}

fn cases() -> Vec<Case> {
    // rows, cols, chunks
    let shapes =
        [(1, 1, 1), (3, 7, 2), (64, 65, 6), (37, 130, 3), (70_000, 3, 70_001), (100, 256, 4)];
    let case = |(rows, cols, chunk_count): (usize, usize, u32)| {
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32, chunk_count);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let (x, inverse_rms) = normalised(rows, cols);
        Case::new(format!("rows {rows}, cols {cols}, {chunk_count} chunks"), &params, step)
            .f(values(rows as u64 + 2000, rows * cols))
            .f(x)
            .f(inverse_rms)
            .out(chunk_count as usize * cols + 3)
    };
    let mut cases: Vec<Case> = shapes.into_iter().map(case).collect();
    cases.extend([(37, 130, 3), (100, 264, 4)].map(|shape| case(shape).halves(&[0])));
    cases
}
