//! The chains of `fma_f32` in f16: how fast f16 can be multiplied and added outside the matrix
//! unit. The base variant computes in f32 and is no measure of anything.

use super::chains::{CHAIN_COUNT, Params, cost, groups};
use crate::kernels::{Binding, Call, Case, Element, Kernel, Needs, Variant, no_constants};
use crate::oracle;
use half::f16;

pub static KERNEL: Kernel = Kernel {
    name: "fma_f16",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::F32), Binding::write("out", Element::F32)],
    variants: &[
        Variant::base(include_str!("../../../shaders/bench/fma_f16.wgsl"), groups),
        Variant {
            name: "f16",
            source: include_str!("../../../shaders/bench/fma_f16.f16.wgsl"),
            defines: &[],
            needs: Needs { f16: true, ..Needs::NOTHING },
            takes: |_, _| true,
            suits: |_| true,
            keeps_bits: false,
            groups,
        },
    ],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = call.length(params.invocations);
    let round = |value: f32| f16::from_f32(value).to_f32();
    for (x, out) in call.f(0)[..count].iter().zip(&mut call.f_mut(1)[..count]) {
        let chains = (0..CHAIN_COUNT).map(|chain| {
            let first = round(x + chain as f32 / CHAIN_COUNT as f32);
            (0..params.step_count).fold(first, |x, _| round(x * params.a + params.b))
        });
        *out = chains.sum();
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = call.length(params.invocations);
    let (a, b) = (f64::from(params.a), f64::from(params.b));
    let (x, out) = (&call.f(0)[..count], &mut call.f_mut(1)[..count]);
    oracle::bench::fma_f16(x, a, b, params.step_count as usize, out);
}

/// Every step rounds to eleven bits, and what 32 chains lose adds up where they cancel.
fn cases() -> Vec<Case> {
    super::chains::cases(3e-2)
}
