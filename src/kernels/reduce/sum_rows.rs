//! The rows of x [rows, cols] summed into out `[cols]`: `out[col] = Σ x[row, col]` (+ `out[col]`).

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Halves, Kernel, Needs, Situation,
    Step, Variant, fold_groups, no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `reduce/sum_rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    /// One: add to what `out` holds.
    pub accumulate: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// Sums of `cols` columns, added to what `out` holds if `accumulate`.
    pub fn new(rows: Extent, cols: u32, accumulate: bool) -> Self {
        Self { rows, cols, accumulate: accumulate.into() }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "sum_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::F32), Binding::update("out", Element::F32)],
    variants: &[
        Variant::base(include_str!("../../../shaders/reduce/sum_rows.wgsl"), groups),
        Variant {
            name: "few",
            source: include_str!("../../../shaders/reduce/sum_rows.few.wgsl"),
            defines: &[],
            needs: Needs::NOTHING,
            takes: few_takes,
            suits: few_suits,
            groups: few_groups,
        },
    ],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Columns of one workgroup.
const WIDTH: usize = 32;

/// Columns of one workgroup of `few`.
const FEW_WIDTH: usize = 1024;

/// Rows beyond which lanes that share a column are worth their barriers.
const MOST_ROWS: usize = 16;

fn few_takes(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    params.cols.is_multiple_of(4)
}

fn few_suits(situation: &Situation<'_>) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(situation.params);
    params.rows.constant().is_some_and(|rows| rows <= MOST_ROWS)
}

fn few_groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups((params.cols as usize).div_ceil(FEW_WIDTH))
}

/// Columns that a thread of the CPU sums at a time.
const CPU_WIDTH: usize = 128;

fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups((params.cols as usize).div_ceil(WIDTH))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    Cost {
        flops: rows * cols,
        read_bytes: 4 * (rows + u64::from(params.accumulate)) * cols,
        written_bytes: 4 * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (x, out) = (call.f(0), call.f_mut(1));
    let blocks = out[..cols].par_chunks_mut(CPU_WIDTH).enumerate();
    blocks.for_each(|(block, out)| {
        let mut totals = [0.0; CPU_WIDTH];
        for row in 0..rows {
            let x = &x[row * cols + block * CPU_WIDTH..][..out.len()];
            for (total, x) in totals.iter_mut().zip(x) {
                *total += x;
            }
        }
        for (out, total) in out.iter_mut().zip(totals) {
            *out = if params.accumulate == 1 { *out + total } else { total };
        }
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    oracle::reduce::sum_rows(call.f(0), call.f_mut(1), rows, cols, params.accumulate == 1);
}

fn cases() -> Vec<Case> {
    let shapes = [
        (1, 1),
        (0, 5),
        (3, 7),
        (64, 33),
        (37, 132),
        (1031, 257),
        (1, 2_100_001),
        (7, 4096),
        (2, 400_004),
    ];
    let case = |(index, (rows, cols)): (usize, (usize, usize))| {
        let accumulate = index % 2 == 1;
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32, accumulate);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        Case::new(format!("rows {rows}, cols {cols}, accumulate {accumulate}"), &params, step)
            .f(values(rows as u64, rows * cols + 3))
            .f(values(cols as u64 + 1000, cols + 3))
    };
    shapes.into_iter().enumerate().map(case).collect()
}
