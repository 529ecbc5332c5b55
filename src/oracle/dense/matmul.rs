//! `out[m, n] = op(a) · op(b) + scale · residual (+ out)`, for `batch` consecutive matrices.
//!
//! With weights stored `[out, in]` a linear layer is `transpose_b`; its input gradient is the plain
//! product with the weight, its weight gradient `doutᵀ · x` is `transpose_a`.

use crate::oracle::Real;

/// What one call of [`matmul`] computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatmulShape {
    /// How many matrices follow each other in `a`, `b`, `residual` and `out`.
    pub batch: usize,
    /// Rows of `out`.
    pub m: usize,
    /// Columns of `out`.
    pub n: usize,
    /// Length of the inner products.
    pub k: usize,
    /// `a` is stored `[k, m]` instead of `[m, k]`.
    pub transpose_a: bool,
    /// `b` is stored `[n, k]` instead of `[k, n]`.
    pub transpose_b: bool,
    /// Add to `out` instead of overwriting it.
    pub accumulate: bool,
}

/// `out = op(a) · op(b) + scale · residual (+ out)` with `residual = Some((values, scale))`, both
/// of `out`'s shape `[batch, m, n]`. `residual` is read before `out` is written.
pub fn matmul<R: Real>(
    a: &[R],
    b: &[R],
    residual: Option<(&[R], R)>,
    out: &mut [R],
    shape: &MatmulShape,
) {
    let MatmulShape { batch, m, n, k, transpose_a, transpose_b, accumulate } = *shape;
    for batch_index in 0..batch {
        let a = &a[batch_index * m * k..][..m * k];
        let b = &b[batch_index * k * n..][..k * n];
        for row in 0..m {
            for col in 0..n {
                let mut sum = R::zero();
                for i in 0..k {
                    let left = if transpose_a { a[i * m + row] } else { a[row * k + i] };
                    let right = if transpose_b { b[col * k + i] } else { b[i * n + col] };
                    sum += left * right;
                }
                let at = (batch_index * m + row) * n + col;
                if let Some((values, scale)) = residual {
                    sum += scale * values[at];
                }
                out[at] = if accumulate { out[at] + sum } else { sum };
            }
        }
    }
}

/// `out[piece, m, n] = op(a) · op(b)` over `depth` terms of the inner products for each of `count`
/// pieces, `[batch, piece, m, n]`: their sum is the product. What lies behind `k` is empty.
pub fn matmul_split<R: Real>(
    a: &[R],
    b: &[R],
    out: &mut [R],
    shape: &MatmulShape,
    count: usize,
    depth: usize,
) {
    let MatmulShape { batch, m, n, k, transpose_a, transpose_b, .. } = *shape;
    for piece in 0..batch * count {
        let (a, b) = (&a[piece / count * m * k..][..m * k], &b[piece / count * k * n..][..k * n]);
        let first = (piece % count * depth).min(k);
        for row in 0..m {
            for col in 0..n {
                let mut sum = R::zero();
                for i in first..(first + depth).min(k) {
                    let left = if transpose_a { a[i * m + row] } else { a[row * k + i] };
                    let right = if transpose_b { b[col * k + i] } else { b[i * n + col] };
                    sum += left * right;
                }
                out[(piece * m + row) * n + col] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::{Random, assert_close, assert_gradient, inner};

    #[test]
    fn pieces_add_up_to_the_product() {
        let shape = MatmulShape { batch: 1, m: 2, n: 2, k: 3, ..Default::default() };
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let mut out = [100.0; 12];
        matmul_split(&a, &b, &mut out, &shape, 3, 2);
        assert_eq!(out[..8], [25.0, 28.0, 73.0, 82.0, 33.0, 36.0, 66.0, 72.0]);
        assert_eq!(out[8..], [0.0; 4]);
    }

    #[test]
    fn a_product_by_hand() {
        let shape = MatmulShape { batch: 1, m: 2, n: 2, k: 3, ..Default::default() };
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let mut out = [100.0; 4];
        matmul(&a, &b, None, &mut out, &shape);
        assert_eq!(out, [58.0, 64.0, 139.0, 154.0]);
        let added = MatmulShape { accumulate: true, ..shape };
        matmul(&a, &b, Some((&[1.0, 2.0, 3.0, 4.0], 2.0)), &mut out, &added);
        assert_eq!(out, [118.0, 132.0, 284.0, 316.0]);
    }

    fn transposed(x: &[f64], batch: usize, rows: usize, cols: usize) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for i in 0..batch * rows * cols {
            let (matrix, row, col) = (i / (rows * cols), i / cols % rows, i % cols);
            out[(matrix * cols + col) * rows + row] = x[i];
        }
        out
    }

    #[test]
    fn every_transpose_says_the_same() {
        let mut random = Random::new(3);
        let (batch, m, n, k) = (3, 4, 5, 7);
        let a = random.values(batch * m * k);
        let b = random.values(batch * k * n);
        let mut expected = vec![0.0; batch * m * n];
        let plain = MatmulShape { batch, m, n, k, ..Default::default() };
        matmul(&a, &b, None, &mut expected, &plain);
        assert!(expected.iter().any(|x| x.abs() > 0.1));
        let (at, bt) = (transposed(&a, batch, m, k), transposed(&b, batch, k, n));
        for (transpose_a, transpose_b) in [(true, false), (false, true), (true, true)] {
            let shape = MatmulShape { transpose_a, transpose_b, ..plain };
            let left = if transpose_a { &at } else { &a };
            let right = if transpose_b { &bt } else { &b };
            let mut out = vec![0.0; batch * m * n];
            matmul(left, right, None, &mut out, &shape);
            assert_eq!(out, expected);
        }
        // (A·B)ᵀ = Bᵀ·Aᵀ
        let mut out = vec![0.0; batch * m * n];
        let swapped = MatmulShape { m: n, n: m, ..plain };
        matmul(&bt, &at, None, &mut out, &swapped);
        assert_close("(ab)ᵀ", &transposed(&expected, batch, m, n), &out, 1e-14);
    }

    #[test]
    fn a_linear_layer_has_products_for_gradients() {
        let mut random = Random::new(4);
        let (rows, from, to) = (3, 5, 4);
        let x = random.values(rows * from);
        let weight = random.values(to * from);
        let dout = random.values(rows * to);
        let forward = |x: &[f64], weight: &[f64]| {
            let mut out = vec![0.0; rows * to];
            let shape = MatmulShape { batch: 1, m: rows, n: to, k: from, ..Default::default() };
            let shape = MatmulShape { transpose_b: true, ..shape };
            matmul(x, weight, None, &mut out, &shape);
            inner(&out, &dout)
        };
        let mut dx = vec![0.0; rows * from];
        let shape = MatmulShape { batch: 1, m: rows, n: from, k: to, ..Default::default() };
        matmul(&dout, &weight, None, &mut dx, &shape);
        assert_gradient("linear dx", &x, &dx, |x| forward(x, &weight));
        let mut dweight = vec![0.0; to * from];
        let shape = MatmulShape { batch: 1, m: to, n: from, k: rows, ..Default::default() };
        let shape = MatmulShape { transpose_a: true, ..shape };
        matmul(&dout, &x, None, &mut dweight, &shape);
        assert_gradient("linear dweight", &weight, &dweight, |weight| forward(&x, weight));
    }

    #[test]
    fn an_empty_inner_product_is_zero_and_capacity_beyond_the_shape_is_left_alone() {
        let shape = MatmulShape { batch: 1, m: 1, n: 2, k: 0, ..Default::default() };
        let mut out = [5.0_f32; 3];
        matmul(&[], &[], None, &mut out, &shape);
        assert_eq!(out, [0.0, 0.0, 5.0]);
    }
}
