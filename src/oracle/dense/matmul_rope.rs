//! `out = rope(a · bᵀ)`: a linear layer and the rotary embedding of it (spec §5.3, §5.4).

use super::matmul::{MatmulShape, matmul};
use crate::oracle::Real;
use crate::oracle::attention::{RopeShape, rope};

/// a `[rows, depth]`, b `[cols, depth]`, out `[rows, cols]` of a [`RopeShape`]; `table` holds
/// cosines and sines, see [`rope()`].
pub fn matmul_rope<R: Real>(
    (a, b, depth): (&[R], &[R], usize),
    position: &[u32],
    table: &[R],
    out: &mut [R],
    shape: &RopeShape,
) {
    let (m, n) = (shape.rows, shape.cols);
    let product =
        MatmulShape { batch: 1, m, n, k: depth, transpose_b: true, ..MatmulShape::default() };
    let mut sums = vec![R::zero(); m * n];
    matmul(a, b, None, &mut sums, &product);
    rope(&sums, position, table, out, shape, R::one());
}
