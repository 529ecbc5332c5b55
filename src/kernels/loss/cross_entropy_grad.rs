//! Gradient of the weighted sum of `cross_entropy` with respect to the logits (spec §12).
//!
//! `dlogits[row] = scale weights[row] (softmax(logits[row]) - onehot(targets[row]))`, where scale
//! is the step's `loss_weight` times the loss scale in `train_state` `[16]`. logits and dlogits are
//! [rows, classes], targets and weights are `[rows]`. A row of weight 0 has a gradient of zeros.

use super::cross_entropy::{MIN_ROWS, SHAPES, groups, lanes_groups, predictions};
use super::softmax::scaled_softmax;
use crate::kernels::optim::train_state::{FIELD_COUNT, LENGTH, LOSS_SCALE};
use crate::kernels::row_lanes::row_lanes;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, no_constants,
};
use crate::oracle;
use rayon::prelude::*;

/// The `Params` uniform of `loss/cross_entropy_grad.wgsl`.
pub use super::cross_entropy::Params;

pub static KERNEL: Kernel = Kernel {
    name: "cross_entropy_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("logits", Element::F32),
        Binding::read("targets", Element::U32),
        Binding::read("weights", Element::F32),
        Binding::read("train_state", Element::F32),
        Binding::write("dlogits", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/loss/cross_entropy_grad.wgsl"), groups),
        row_lanes(
            include_str!("../../../shaders/loss/cross_entropy_grad.lanes.wgsl"),
            lanes_groups,
        ),
    ],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, classes) = (params.rows.length(counts) as u64, u64::from(params.classes));
    Cost {
        flops: 7 * rows * classes,
        read_bytes: 4 * (rows * (classes + 2) + FIELD_COUNT as u64),
        written_bytes: 4 * rows * classes,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, classes) = (call.length(params.rows), params.classes as usize);
    let (logits, targets, weights) = (call.f(0), call.u(1), call.f(2));
    let scale = call.step.loss_weight * call.f(3)[LOSS_SCALE];
    let rows = call.f_mut(4)[..rows * classes]
        .par_chunks_mut(classes)
        .zip(logits[..rows * classes].par_chunks(classes))
        .zip(&targets[..rows])
        .zip(&weights[..rows])
        .with_min_len(MIN_ROWS);
    rows.for_each(|(((dlogits, logits), &target), &weight)| {
        if weight == 0.0 {
            dlogits.fill(0.0);
            return;
        }
        let factor = scale * weight;
        scaled_softmax(logits, factor, dlogits);
        dlogits[target as usize] -= factor;
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let (targets, weights) = (&call.u(1)[..rows], &call.f(2)[..rows]);
    let scale = f64::from(call.step.loss_weight) * call.f(3)[LOSS_SCALE];
    let classes = params.classes as usize;
    oracle::loss::cross_entropy_grad(call.f(0), targets, weights, scale, call.f_mut(4), classes);
}

fn cases() -> Vec<Case> {
    // With one class the gradient is zero everywhere.
    let case = |(rows, classes): (usize, usize)| {
        let params = Params::new(Extent::of(Axis::Bytes), classes as u32);
        let mut step = Step::of(Counts::default().with(Axis::Bytes, rows));
        step.loss_weight = 0.125;
        let (logits, targets, weights) = predictions(rows, classes);
        let mut state = vec![0.0; LENGTH];
        state[LOSS_SCALE] = 32.0;
        Case::new(format!("rows {rows}, classes {classes}"), &params, step)
            .f(logits)
            .u(targets)
            .f(weights)
            .f(state)
            .out(rows * classes + 3)
    };
    let mut cases: Vec<Case> = SHAPES.into_iter().map(case).collect();
    cases.push(case(SHAPES[4]).halves(&[4]));
    cases
}
