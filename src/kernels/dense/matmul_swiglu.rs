//! The first layer of a SwiGLU with its activation: `out = silu(gate) up`, `[gate | up] = a bᵀ`
//! (spec §5.5).
//!
//! a is [m, k], b [n, k] with the rows of the gate before those of up, out [m, n / 2]. With
//! `keeps_sums` the sums are written too, gate_up [m, n], which the backward pass reads; without,
//! any buffer may be bound there and nothing of the width of n lies in memory.

use super::deep::deep;
use super::matmul::{self, Params, groups, tile_constants};
use super::matrix::{matrix, operands_are_halves};
use super::swiglu::activate_rows;
use super::{gemm::Layout, product::product};
use crate::kernels::scratch::with_scratch;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, values,
};
use crate::oracle;

impl Params {
    /// `swiglu(a bᵀ)`, a of `m` rows and `k` columns, b of twice `features` rows.
    ///
    /// # Panics
    /// Unless k and features are multiples of four.
    pub fn swiglu(m: Extent, features: usize, k: usize, keeps_sums: bool) -> Self {
        let whole = features.is_multiple_of(4) && k.is_multiple_of(4);
        assert!(whole, "matmul_swiglu: whole vectors");
        let params = Self::new(m, Extent::fixed(2 * features), Extent::fixed(k), false, true);
        Self { keeps_sums: keeps_sums.into(), ..params }
    }
}

const MATRIX: &str = include_str!("../../../shaders/dense/matmul_swiglu.matrix.wgsl");

pub static KERNEL: Kernel = Kernel {
    name: "matmul_swiglu",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("a", Element::F32).or_half(),
        Binding::read("b", Element::F32).or_half(),
        Binding::update("gate_up", Element::F32).or_half(),
        Binding::write("out", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/matmul_swiglu.wgsl"), groups),
        deep(include_str!("../../../shaders/dense/matmul_swiglu.wgsl")),
        matrix(MATRIX, operands_are_halves),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let mut constants = tile_constants(params);
    constants.push(("PAIRED", 1));
    constants
}

fn cost(bytes: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(bytes);
    let outs = params.m.length(counts) as u64 * params.n.length(counts) as u64 / 2;
    let product = (matmul::KERNEL.cost)(bytes, counts);
    let kept = u64::from(params.keeps_sums) * product.written_bytes;
    Cost { flops: product.flops + 5 * outs, written_bytes: kept + 4 * outs, ..product }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| call.length(extent));
    if m == 0 {
        return;
    }
    let (a, b) = ((call.f(0), Layout::row_major(k)), (call.f(1), Layout::transposed(k)));
    let (gate_up, out) = (call.f_mut(2), call.f_mut(3));
    let mut activate = |sums: &mut [f32]| {
        product([m, n, k], sums, false, false, None, a, b);
        activate_rows(sums, &mut out[..m * n / 2], n / 2);
    };
    match params.keeps_sums {
        1 => activate(&mut gate_up[..m * n]),
        _ => with_scratch(m * n, activate),
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| call.length(extent));
    let product = (call.f(0), call.f(1), k);
    let (gate_up, out) = (call.f_mut(2), call.f_mut(3));
    match params.keeps_sums {
        1 => oracle::dense::matmul_swiglu(product, gate_up, out, m, n / 2),
        _ => oracle::dense::matmul_swiglu(product, &mut vec![0.0; m * n], out, m, n / 2),
    }
}

/// Shapes with one tile and several, whole steps and others, with the sums and without.
fn cases() -> Vec<Case> {
    // Rows, features, depth.
    let shapes = [[1, 4, 4], [67, 36, 40], [130, 72, 64], [257, 132, 96], [128, 64, 72]];
    let both = |(index, [m, features, k]): (usize, [usize; 3])| {
        let step = Step::of(Counts::default().with(Axis::Bytes, m));
        let keeps = index % 2 == 0;
        let mut params = Params::swiglu(Extent::of(Axis::Bytes), features, k, keeps);
        params.some_rows = (k == 64).into();
        let seed = 5000 + index as u64;
        let name = format!("{m}x{features}x{k}{}", if keeps { ", sums kept" } else { "" });
        let case = || {
            Case::new(name.clone(), &params, step)
                .f(values(seed, m * k))
                .f(values(seed + 100, 2 * features * k))
                .f(values(seed + 200, if keeps { 2 * features * m } else { 4 }))
                .out(m * features)
                // Two sums are multiplied, outliers among them.
                .tolerance(1e-4)
        };
        [case(), case().halves(&[0, 1, 2, 3])]
    };
    shapes.into_iter().enumerate().flat_map(both).collect()
}
