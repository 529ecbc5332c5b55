//! The CPU variant of [`matvec`](super::matvec): tasks of some rows of the weight each, which they
//! read once.

use super::gemm::{Layout, gemm};
use super::matvec::Params;
use super::swiglu::activate_rows;
use crate::kernels::reduce::lanes;
use crate::kernels::scratch::with_scratch;
use crate::kernels::{Call, Weight};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Multiply-adds that are worth a task.
const WORK_PER_TASK: usize = 1 << 15;

/// Numbers of a packed weight that a task unpacks at a time: 16 KiB.
const UNPACKED_NUMBERS: usize = 1 << 12;

/// Rows of the weight of a task; a multiple of the width of every panel.
fn cols_per_task(rows: usize, depth: usize) -> usize {
    (WORK_PER_TASK / (rows * depth).max(1)).max(1).next_multiple_of(64)
}

pub(super) fn matvec(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let out = &mut call.f_mut(4)[..rows * params.features as usize];
    let weight = call.weight(1, params.weight_type);
    multiply(&params, rows, weight, [call.f(0), call.f(2), call.f(3)], out);
}

/// The layer of a weight, and of x, gain and residual.
pub(super) fn multiply(
    params: &Params,
    rows: usize,
    weight: Weight<'_, f32>,
    [x, gain, residual]: [&[f32]; 3],
    out: &mut [f32],
) {
    let (depth, features) = (params.depth as usize, params.features as usize);
    if rows == 0 {
        return;
    }
    let x = &x[..rows * depth];
    let layer = Layer {
        weight,
        residual: (params.residual_scale != 0.0).then_some((residual, params.residual_scale)),
        rows,
        cols: features * (1 + params.is_gated as usize),
        depth,
        fixed_order: params.fixed_order == 1,
    };
    with_scratch(rows * depth, |normed| {
        let x = match params.has_norm {
            1 => {
                norm(x, &gain[..depth], normed, params.eps);
                &*normed
            }
            _ => x,
        };
        with_scratch(rows * layer.cols, |sums| {
            layer.sums(x, sums);
            match params.is_gated {
                1 => with_scratch(rows * layer.cols, |gate_up| {
                    layer.arrange(sums, gate_up);
                    activate_rows(gate_up, out, features);
                }),
                _ => layer.arrange(sums, out),
            }
        });
    });
}

/// Rows of x over their root mean square, times the gain: as
/// [`rms_norm`](crate::kernels::norm::rms_norm).
fn norm(x: &[f32], gain: &[f32], out: &mut [f32], eps: f32) {
    let cols = gain.len();
    for (out, x) in out.chunks_exact_mut(cols).zip(x.chunks_exact(cols)) {
        let squares = lanes::sum(x, |value| value * value);
        let scale = 1.0 / (squares / cols as f32 + eps).sqrt();
        for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
            *out = x * scale * gain;
        }
    }
}

/// The product with the weight.
struct Layer<'a> {
    /// [cols, depth].
    weight: Weight<'a, f32>,
    residual: Option<(&'a [f32], f32)>,
    rows: usize,
    cols: usize,
    depth: usize,
    fixed_order: bool,
}

impl Layer<'_> {
    /// Sums [tasks, rows, columns of the task].
    fn sums(&self, x: &[f32], sums: &mut [f32]) {
        let (rows, depth) = (self.rows, self.depth);
        let cols = cols_per_task(rows, depth);
        let task = |(index, sums): (usize, &mut [f32])| {
            let first = index * cols;
            let own = sums.len() / rows;
            if let Some((residual, scale)) = self.residual {
                for (row, sums) in sums.chunks_exact_mut(own).enumerate() {
                    let residual = &residual[row * self.cols + first..][..own];
                    for (sum, residual) in sums.iter_mut().zip(residual) {
                        *sum = 0.0 + scale * residual;
                    }
                }
            }
            let adds = self.residual.is_some();
            if self.fixed_order {
                return self.weight.with_rows(first..first + own, depth, |weight| {
                    let out = (&mut *sums, Layout::row_major(own));
                    let [x, weight] =
                        [(x, Layout::row_major(depth)), (weight, Layout::transposed(depth))];
                    gemm([rows, own, depth], out, adds, x, weight);
                });
            }
            // What is unpacked stays in the nearest cache.
            let step = match self.weight {
                Weight::Numbers(_) => own,
                Weight::Packed(..) => (UNPACKED_NUMBERS / depth.max(1)).max(1),
            };
            for col in (0..own).step_by(step) {
                let cols = first + col..first + own.min(col + step);
                self.weight.with_rows(cols, depth, |weight| {
                    let sums = &mut *sums;
                    Arch::new().dispatch(Dots { x, weight, depth, sums, col, cols: own, adds });
                });
            }
        };
        sums.par_chunks_mut(cols * rows).enumerate().for_each(task);
    }

    /// The same numbers [rows, cols].
    fn arrange(&self, sums: &[f32], out: &mut [f32]) {
        let cols = cols_per_task(self.rows, self.depth);
        for (index, sums) in sums.chunks(cols * self.rows).enumerate() {
            let own = sums.len() / self.rows;
            for (row, sums) in sums.chunks_exact(own).enumerate() {
                out[row * self.cols + index * cols..][..own].copy_from_slice(sums);
            }
        }
    }
}

/// Inner products of all rows of x with all of the weight; a type and no closure, so that it is
/// inlined where vectors are wide.
struct Dots<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    depth: usize,
    /// [rows of x, cols], of which the weight makes those from `col` on.
    sums: &'a mut [f32],
    col: usize,
    cols: usize,
    adds: bool,
}

impl NullaryFnOnce for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (col, weight) in (self.col..).zip(self.weight.chunks_exact(self.depth)) {
            for (row, x) in self.x.chunks_exact(self.depth).enumerate() {
                let sum = &mut self.sums[row * self.cols + col];
                let before = if self.adds { *sum } else { 0.0 };
                *sum = before + lanes::sum_2(x, weight, |x, weight| x * weight);
            }
        }
    }
}
