//! The second layer of a SwiGLU backwards with the activation in front of it: `dgate_up` is the
//! gradient of [`swiglu`](super::swiglu) for `dout = a b` (spec §5.5).
//!
//! a is [m, k], the gradient of what the layer makes; b [k, n], its weight; gate_up and dgate_up
//! are [m, 2 n], the gate in the first half of a row. dout never lies in memory.

use super::matmul::{self, Params, groups, tile_constants};
use super::matrix::{matrix, operands_are_halves};
use super::swiglu::gate_up;
use super::swiglu_grad::gradient_of_rows;
use super::{gemm::Layout, product::product};
use crate::kernels::scratch::with_scratch;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, values,
};
use crate::oracle;

impl Params {
    /// The gradient of `features` gates and as many ups, of dout = a b, a of `m` rows and `k`
    /// columns.
    ///
    /// # Panics
    /// Unless k and features are multiples of four.
    pub fn swiglu_grad(m: Extent, features: usize, k: usize) -> Self {
        let whole = features.is_multiple_of(4) && k.is_multiple_of(4);
        assert!(whole, "matmul_swiglu_grad: whole vectors");
        Self::new(m, Extent::fixed(features), Extent::fixed(k), false, false)
    }
}

const MATRIX: &str = include_str!("../../../shaders/dense/matmul_swiglu_grad.matrix.wgsl");

pub static KERNEL: Kernel = Kernel {
    name: "matmul_swiglu_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("a", Element::F32).or_half(),
        Binding::read("b", Element::F32).or_half(),
        Binding::read("gate_up", Element::F32).or_half(),
        Binding::write("dgate_up", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/matmul_swiglu_grad.wgsl"), groups),
        matrix(MATRIX, operands_are_halves),
    ],
    constants: tile_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let Params { m, n, .. } = bytemuck::pod_read_unaligned(params);
    let count = m.length(counts) as u64 * n.length(counts) as u64;
    let product = (matmul::KERNEL.cost)(params, counts);
    Cost {
        flops: product.flops + 11 * count,
        read_bytes: product.read_bytes + 8 * count,
        written_bytes: 8 * count,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| call.length(extent));
    if m == 0 {
        return;
    }
    let (a, b) = ((call.f(0), Layout::row_major(k)), (call.f(1), Layout::row_major(n)));
    let (gate_up, dgate_up) = (&call.f(2)[..2 * m * n], &mut call.f_mut(3)[..2 * m * n]);
    with_scratch(m * n, |dout| {
        product([m, n, k], dout, false, false, None, a, b);
        gradient_of_rows(gate_up, dout, dgate_up, n);
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| call.length(extent));
    let product = (call.f(0), call.f(1), k);
    oracle::dense::matmul_swiglu_grad(product, call.f(2), call.f_mut(3), m, n);
}

/// Shapes with one tile and several, whole steps and others.
fn cases() -> Vec<Case> {
    // Rows, features, depth.
    let shapes = [[1, 4, 4], [67, 40, 36], [130, 72, 64], [257, 136, 96], [128, 64, 72]];
    let both = |(index, [m, features, k]): (usize, [usize; 3])| {
        let step = Step::of(Counts::default().with(Axis::Bytes, m));
        let params = Params::swiglu_grad(Extent::of(Axis::Bytes), features, k);
        let seed = 6000 + index as u64;
        let case = || {
            Case::new(format!("{m}x{features}x{k}"), &params, step)
                .f(values(seed, m * k))
                .f(values(seed + 100, k * features))
                .f(gate_up(m, features))
                .out(2 * m * features)
                // A sum is multiplied, outliers among what it is multiplied with.
                .tolerance(1e-4)
        };
        [case(), case().halves(&[0, 1, 2, 3])]
    };
    shapes.into_iter().enumerate().flat_map(both).collect()
}
