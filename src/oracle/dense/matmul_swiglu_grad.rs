//! The gradient of SwiGLU for `dout = a · b`: a linear layer backwards, and the activation in front
//! of it (spec §5.5).

use super::matmul::{MatmulShape, matmul};
use super::swiglu::swiglu_grad;
use crate::oracle::Real;

/// a `[rows, depth]`, b `[depth, features]`, gate_up and dgate_up `[rows, 2·features]`.
pub fn matmul_swiglu_grad<R: Real>(
    (a, b, depth): (&[R], &[R], usize),
    gate_up: &[R],
    dgate_up: &mut [R],
    rows: usize,
    features: usize,
) {
    let product =
        MatmulShape { batch: 1, m: rows, n: features, k: depth, ..MatmulShape::default() };
    let mut dout = vec![R::zero(); rows * features];
    matmul(a, b, None, &mut dout, &product);
    swiglu_grad(gate_up, &dout, dgate_up, rows, features);
}
