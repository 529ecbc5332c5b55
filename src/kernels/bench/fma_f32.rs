//! Chains of x = a x + b in registers: how fast f32 can be multiplied and added.

use super::chains::{CHAIN_COUNT, Params, cost, groups};
use crate::kernels::{Binding, Call, Case, Element, Kernel, Variant, no_constants};
use crate::oracle;
use rayon::prelude::*;

pub use super::chains::Params as ChainParams;

pub static KERNEL: Kernel = Kernel {
    name: "fma_f32",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::F32), Binding::write("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/bench/fma_f32.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Invocations whose chains are in registers together: eight vectors of 512 bits. Narrower machines
/// take them in several turns of eight vectors.
const TOGETHER: usize = 4;

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = call.length(params.invocations);
    let (x, out) = (&call.f(0)[..count], &mut call.f_mut(1)[..count]);
    let tiles = out.par_chunks_mut(TOGETHER).zip(x.par_chunks(TOGETHER));
    tiles.for_each(|(out, x)| {
        let mut chains = [0.0; TOGETHER * CHAIN_COUNT];
        for (chains, x) in chains.chunks_exact_mut(CHAIN_COUNT).zip(x) {
            for (index, chain) in chains.iter_mut().enumerate() {
                *chain = x + index as f32 / CHAIN_COUNT as f32;
            }
        }
        pulp::Arch::new().dispatch(Advance { params, chains: &mut chains });
        for (chains, out) in chains.chunks_exact(CHAIN_COUNT).zip(out) {
            *out = chains.iter().sum();
        }
    });
}

/// The steps of some chains, on vectors of whatever width there is.
struct Advance<'a> {
    params: Params,
    chains: &'a mut [f32; TOGETHER * CHAIN_COUNT],
}

impl pulp::WithSimd for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let (a, b) = (simd.splat_f32s(self.params.a), simd.splat_f32s(self.params.b));
        let (vectors, rest) = S::as_mut_simd_f32s(self.chains);
        assert!(rest.is_empty(), "vectors divide the chains");
        let (turns, rest) = pulp::as_arrays_mut::<8, _>(vectors);
        assert!(rest.is_empty(), "eight vectors divide the chains");
        for turn in turns {
            let [mut x0, mut x1, mut x2, mut x3, mut x4, mut x5, mut x6, mut x7] = *turn;
            for _ in 0..self.params.step_count {
                x0 = simd.mul_add_f32s(x0, a, b);
                x1 = simd.mul_add_f32s(x1, a, b);
                x2 = simd.mul_add_f32s(x2, a, b);
                x3 = simd.mul_add_f32s(x3, a, b);
                x4 = simd.mul_add_f32s(x4, a, b);
                x5 = simd.mul_add_f32s(x5, a, b);
                x6 = simd.mul_add_f32s(x6, a, b);
                x7 = simd.mul_add_f32s(x7, a, b);
            }
            *turn = [x0, x1, x2, x3, x4, x5, x6, x7];
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = call.length(params.invocations);
    let (a, b) = (f64::from(params.a), f64::from(params.b));
    let (x, out) = (&call.f(0)[..count], &mut call.f_mut(1)[..count]);
    oracle::bench::fma_f32(x, a, b, params.step_count as usize, out);
}

fn cases() -> Vec<Case> {
    super::chains::cases(2e-5)
}
