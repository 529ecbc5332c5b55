//! Cross-entropy of next-byte predictions in nats, weighted row by row (spec §12).
//!
//! `nats[row] = weights[row] (ln Σ exp(logits[row]) - logits[row, targets[row]])`. logits is [rows,
//! classes], targets, weights and nats are `[rows]`. A weight of 0 masks a row: its target is not
//! looked at.

use super::softmax::shifted_sum;
use crate::kernels::row_lanes::{row_groups, row_lanes};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    integers, no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `loss/cross_entropy.wgsl` and `loss/cross_entropy_grad.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub classes: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// `rows` predictions among `classes`.
    pub fn new(rows: Extent, classes: u32) -> Self {
        Self { rows, classes, reserved: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "cross_entropy",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("logits", Element::F32),
        Binding::read("targets", Element::U32),
        Binding::read("weights", Element::F32),
        Binding::write("nats", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/loss/cross_entropy.wgsl"), groups),
        row_lanes(include_str!("../../../shaders/loss/cross_entropy.lanes.wgsl"), lanes_groups),
    ],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

pub(super) fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts))
}

pub(super) fn lanes_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    row_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, classes) = (params.rows.length(counts) as u64, u64::from(params.classes));
    Cost {
        flops: 4 * rows * classes,
        read_bytes: 4 * rows * (classes + 2),
        written_bytes: 4 * rows,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, classes) = (call.length(params.rows), params.classes as usize);
    let (logits, targets, weights) = (call.f(0), call.u(1), call.f(2));
    let rows = call.f_mut(3)[..rows]
        .par_iter_mut()
        .zip(logits[..rows * classes].par_chunks(classes))
        .zip(&targets[..rows])
        .zip(&weights[..rows])
        .with_min_len(MIN_ROWS);
    rows.for_each(|(((nats, logits), &target), &weight)| {
        *nats = 0.0;
        if weight != 0.0 {
            let (largest, sum) = shifted_sum(logits);
            *nats = weight * (largest - logits[target as usize] + sum.ln());
        }
    });
}

/// Rows below which handing them to another thread costs more than it brings.
pub(super) const MIN_ROWS: usize = 16;

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let (targets, weights) = (&call.u(1)[..rows], &call.f(2)[..rows]);
    oracle::loss::cross_entropy(
        call.f(0),
        targets,
        weights,
        call.f_mut(3),
        params.classes as usize,
    );
}

/// Shapes of the cases, [rows, classes].
pub(super) const SHAPES: [(usize, usize); 7] =
    [(1, 1), (1, 7), (5, 64), (3, 65), (67, 260), (70_000, 3), (2, 1031)];

fn cases() -> Vec<Case> {
    let case = |(rows, classes): (usize, usize)| {
        let params = Params::new(Extent::of(Axis::Bytes), classes as u32);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let (logits, targets, weights) = predictions(rows, classes);
        Case::new(format!("rows {rows}, classes {classes}"), &params, step)
            .f(logits)
            .u(targets)
            .f(weights)
            .out(rows + 3)
    };
    SHAPES.into_iter().map(case).collect()
}

/// Logits (up to ±120 in one shape), targets and weights; every seventh row is masked and has a
/// target that is no class.
pub(super) fn predictions(rows: usize, classes: usize) -> (Vec<f32>, Vec<u32>, Vec<f32>) {
    let factor = if rows == 5 { 10.0 } else { 1.0 };
    let logits = values((rows + classes) as u64, rows * classes);
    let logits = logits.into_iter().map(|logit| logit * factor).collect();
    let mut targets = integers(rows as u64 + 1000, rows, classes as u32);
    let mut weights: Vec<f32> =
        values(rows as u64 + 2000, rows).iter().map(|weight| weight.abs() + 0.25).collect();
    for row in (6..rows).step_by(7) {
        targets[row] = u32::MAX;
        weights[row] = 0.0;
    }
    (logits, targets, weights)
}
