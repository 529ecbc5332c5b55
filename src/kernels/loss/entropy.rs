//! Shannon entropy of the predicted distribution in nats (spec §3.3).
//!
//! `out[row] = -Σ p ln p` with p = softmax(`logits[row]`); logits is [rows, classes], out is
//! `[rows]`. With shifted logits d = logit - largest it is `ln Σ exp(d) - Σ d exp(d) / Σ exp(d)`.

use super::cross_entropy::{MIN_ROWS, predictions};
use super::softmax;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    no_constants,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `loss/entropy.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub classes: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// `rows` distributions over `classes`.
    pub fn new(rows: Extent, classes: u32) -> Self {
        Self { rows, classes, reserved: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "entropy",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("logits", Element::F32), Binding::write("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/loss/entropy.wgsl"), groups)],
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
    let (rows, classes) = (params.rows.length(counts) as u64, u64::from(params.classes));
    Cost { flops: 6 * rows * classes, read_bytes: 4 * rows * classes, written_bytes: 4 * rows }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, classes) = (call.length(params.rows), params.classes as usize);
    let logits = call.f(0);
    let rows = call.f_mut(1)[..rows]
        .par_iter_mut()
        .zip(logits[..rows * classes].par_chunks(classes))
        .with_min_len(MIN_ROWS);
    rows.for_each(|(out, logits)| *out = softmax::entropy(logits));
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    oracle::loss::entropy(call.f(0), call.f_mut(1), rows, params.classes as usize);
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 2), (1, 7), (5, 64), (3, 65), (67, 260), (70_000, 3), (2, 1031)];
    let case = |(rows, classes): (usize, usize)| {
        let params = Params::new(Extent::of(Axis::Bytes), classes as u32);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let (logits, _, _) = predictions(rows, classes);
        Case::new(format!("rows {rows}, classes {classes}"), &params, step).f(logits).out(rows + 3)
    };
    shapes.into_iter().map(case).chain([broken()]).collect()
}

/// Rows with a logit that is no number, in one place or another, between rows that are sound.
fn broken() -> Case {
    const ROWS: usize = 9;
    const CLASSES: usize = 260;
    let params = Params::new(Extent::of(Axis::Bytes), CLASSES as u32);
    let step = Step::of(Counts::default().with(Axis::Bytes, ROWS));
    let (mut logits, _, _) = predictions(ROWS, CLASSES);
    for (row, place, value) in
        [(1, 0, f32::NAN), (3, 259, f32::NAN), (5, 64, f32::INFINITY), (7, 100, f32::NAN)]
    {
        logits[row * CLASSES + place] = value;
    }
    logits[7 * CLASSES..8 * CLASSES].fill(f32::NAN);
    Case::new("broken", &params, step).f(logits).out(ROWS + 3)
}
