//! The gated activation of the feed-forward layers: `out = silu(gate) up` (spec §5.5).
//!
//! gate_up is [rows, 2 features], the gate in its first half as one matrix product with both
//! weights writes them; out is [rows, features].

use super::elementwise::{STRIDING_COUNT, elementwise_groups};
use crate::kernels::attention::fast_exp::exp;
use crate::kernels::eights::{are_eights, chunk_groups, lanes_eights};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Halves, Kernel, Step, Variant,
    lane_count, values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// The `Params` uniform of `dense/swiglu.wgsl` and `dense/swiglu_grad.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub features: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// `rows` rows of `features` outputs.
    pub fn new(rows: Extent, features: u32) -> Self {
        Self { rows, features, reserved: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "swiglu",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("gate_up", Element::F32).or_half(),
        Binding::write("out", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/swiglu.wgsl"), groups),
        lanes_eights(
            include_str!("../../../shaders/dense/swiglu.lanes_eights.wgsl"),
            takes_eights,
            eights_groups,
        ),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

pub(super) fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.features)]
}

pub(super) fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let count = params.rows.length(counts) * params.features as usize;
    elementwise_groups(count / lane_count(params.features))
}

pub(super) fn takes_eights(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    halves == Halves::NONE && are_eights(&[params.features])
}

pub(super) fn eights_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    chunk_groups(params.rows.length(counts) * params.features as usize)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let count = params.rows.length(counts) as u64 * u64::from(params.features);
    Cost { flops: 5 * count, read_bytes: 8 * count, written_bytes: 4 * count }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, features) = (call.length(params.rows), params.features as usize);
    let (gate_up, out) = (call.f(0), call.f_mut(1));
    activate_rows(&gate_up[..rows * 2 * features], &mut out[..rows * features], features);
}

/// All rows of `features` outputs.
pub(super) fn activate_rows(gate_up: &[f32], out: &mut [f32], features: usize) {
    let rows = out.par_chunks_mut(features).zip(gate_up.par_chunks(2 * features));
    rows.for_each(|(out, gate_up)| {
        let (gate, up) = gate_up.split_at(features);
        Arch::new().dispatch(Row { gate, up, out });
    });
}

/// One row; a type and no closure, so that it is inlined where vectors are wide.
struct Row<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate * up / (1.0 + exp(-gate));
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    oracle::dense::swiglu(call.f(0), call.f_mut(1), rows, params.features as usize);
}

/// Shapes of the cases, [rows, features].
pub(super) const SHAPES: [(usize, usize); 8] = [
    (1, 1),
    (1, 7),
    (5, 3),
    (17, 130),
    (3, 344),
    (70, 72),
    (8191, STRIDING_COUNT / 8191 + 1),
    (8191, 4 * STRIDING_COUNT / 8191 / 4 * 4 + 4),
];

fn cases() -> Vec<Case> {
    let case = |(rows, features): (usize, usize)| {
        let params = Params::new(Extent::of(Axis::Bytes), features as u32);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        Case::new(format!("rows {rows}, features {features}"), &params, step)
            .f(gate_up(rows, features))
            .out(rows * features + 3)
    };
    let mut cases: Vec<Case> = SHAPES.into_iter().map(case).collect();
    cases.extend([(5, 3), (3, 344)].map(|shape| case(shape).halves(&[0, 1])));
    cases
}

/// Inputs whose gates reach ±240 in one shape, far past where `exp` overflows in f32.
pub(super) fn gate_up(rows: usize, features: usize) -> Vec<f32> {
    let factor = if rows == 17 { 20.0 } else { 1.0 };
    let scaled = |(index, value): (usize, f32)| {
        if index % (2 * features) < features { value * factor } else { value }
    };
    let values = values((rows + features) as u64, rows * 2 * features);
    values.into_iter().enumerate().map(scaled).collect()
}
