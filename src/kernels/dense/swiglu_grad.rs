//! Gradient of `swiglu`: dgate_up [rows, 2 features] from gate_up and dout [rows, features].
//!
//! With s = sigmoid(gate): dgate = dout up s (1 + gate (1 - s)), dup = dout gate s (spec §5.5).

use super::swiglu::{SHAPES, constants, eights_groups, gate_up, groups, takes_eights};
use crate::kernels::attention::fast_exp::exp;
use crate::kernels::eights::lanes_eights;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, values,
};
use crate::oracle;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// The `Params` uniform of `dense/swiglu_grad.wgsl`.
pub use super::swiglu::Params;

pub static KERNEL: Kernel = Kernel {
    name: "swiglu_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("gate_up", Element::F32).or_half(),
        Binding::read("dout", Element::F32).or_half(),
        Binding::write("dgate_up", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/swiglu_grad.wgsl"), groups),
        lanes_eights(
            include_str!("../../../shaders/dense/swiglu_grad.lanes_eights.wgsl"),
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

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let count = params.rows.length(counts) as u64 * u64::from(params.features);
    Cost { flops: 11 * count, read_bytes: 12 * count, written_bytes: 8 * count }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, features) = (call.length(params.rows), params.features as usize);
    let (gate_up, dout, dgate_up) = (call.f(0), call.f(1), call.f_mut(2));
    let length = rows * 2 * features;
    gradient_of_rows(&gate_up[..length], &dout[..length / 2], &mut dgate_up[..length], features);
}

/// All rows of `features` numbers of dout.
pub(super) fn gradient_of_rows(
    gate_up: &[f32],
    dout: &[f32],
    dgate_up: &mut [f32],
    features: usize,
) {
    let rows = dgate_up
        .par_chunks_mut(2 * features)
        .zip(gate_up.par_chunks(2 * features))
        .zip(dout.par_chunks(features));
    rows.for_each(|((dgate_up, gate_up), dout)| {
        let (gate, up) = gate_up.split_at(features);
        let (dgate, dup) = dgate_up.split_at_mut(features);
        Arch::new().dispatch(Row { gate, up, dout, dgate, dup });
    });
}

/// One row; a type and no closure, so that it is inlined where vectors are wide.
struct Row<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    dout: &'a [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
}

impl NullaryFnOnce for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let inputs = self.gate.iter().zip(self.up).zip(self.dout);
        for ((dgate, dup), ((gate, up), dout)) in self.dgate.iter_mut().zip(self.dup).zip(inputs) {
            let sigmoid = 1.0 / (1.0 + exp(-gate));
            *dgate = dout * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
            *dup = dout * gate * sigmoid;
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, features) = (call.length(params.rows), params.features as usize);
    oracle::dense::swiglu_grad(call.f(0), call.f(1), call.f_mut(2), rows, features);
}

fn cases() -> Vec<Case> {
    let case = |(rows, features): (usize, usize)| {
        let params = Params::new(Extent::of(Axis::Bytes), features as u32);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        Case::new(format!("rows {rows}, features {features}"), &params, step)
            .f(gate_up(rows, features))
            .f(values(features as u64 + 1000, rows * features))
            .out(rows * 2 * features + 3)
    };
    let mut cases: Vec<Case> = SHAPES.into_iter().map(case).collect();
    cases.extend([(5, 3), (3, 344)].map(|shape| case(shape).halves(&[0, 1, 2])));
    cases
}
