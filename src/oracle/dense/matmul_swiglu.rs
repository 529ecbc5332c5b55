//! `out = silu(gate) · up` of `[gate | up] = a · bᵀ`: the first layer of a SwiGLU (spec §5.5).

use super::matmul::{MatmulShape, matmul};
use super::swiglu::swiglu;
use crate::oracle::Real;

/// a `[rows, depth]`, b `[2·features, depth]` with the gate's rows first, gate_up
/// `[rows, 2·features]`, out `[rows, features]`.
pub fn matmul_swiglu<R: Real>(
    (a, b, depth): (&[R], &[R], usize),
    gate_up: &mut [R],
    out: &mut [R],
    rows: usize,
    features: usize,
) {
    let (m, n) = (rows, 2 * features);
    let product =
        MatmulShape { batch: 1, m, n, k: depth, transpose_b: true, ..MatmulShape::default() };
    matmul(a, b, None, gate_up, &product);
    swiglu(gate_up, out, rows, features);
}
