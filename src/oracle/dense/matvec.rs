//! A linear layer with the norm in front of it and what follows it, for a few rows.

use super::{MatmulShape, matmul, swiglu};
use crate::oracle::Real;
use crate::oracle::norm::rms_norm;

/// What a layer does.
#[derive(Clone, Copy, Debug)]
pub struct MatvecShape<R> {
    pub rows: usize,
    pub features: usize,
    pub depth: usize,
    /// What is added under the root of the norm in front; `None`: there is no norm.
    pub norm_eps: Option<R>,
    /// Whether the weight is gate and up one below the other.
    pub is_gated: bool,
    /// How often the residual is added.
    pub residual_scale: R,
}

/// `out = norm(x) weightᵀ + residual_scale residual`, or `silu(gate) up` of the former;
/// `x [rows, depth]`, `weight [features or 2 features, depth]`, `gain [depth]`,
/// `residual [rows, features]`, `out [rows, features]`.
pub fn matvec<R: Real>(
    [x, weight, gain, residual]: [&[R]; 4],
    out: &mut [R],
    shape: &MatvecShape<R>,
) {
    let MatvecShape { rows, features, depth, norm_eps, is_gated, residual_scale } = *shape;
    let mut normed = x[..rows * depth].to_vec();
    if let Some(eps) = norm_eps {
        let mut inverse = vec![R::zero(); rows];
        rms_norm(x, gain, &mut normed, &mut inverse, rows, depth, eps);
    }
    let n = if is_gated { 2 * features } else { features };
    let product =
        MatmulShape { batch: 1, m: rows, n, k: depth, transpose_b: true, ..Default::default() };
    let residual = (residual_scale != R::zero()).then_some((residual, residual_scale));
    let mut sums = vec![R::zero(); rows * n];
    matmul(&normed, weight, residual, &mut sums, &product);
    match is_gated {
        true => swiglu(&sums, out, rows, features),
        false => out[..rows * n].copy_from_slice(&sums),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normed_row_is_multiplied_and_gated() {
        let shape = MatvecShape {
            rows: 1,
            features: 1,
            depth: 2,
            norm_eps: Some(0.0),
            is_gated: true,
            residual_scale: 0.0,
        };
        // The norm leaves (3, 4) / sqrt(12.5), the gain doubles the first.
        let root = 12.5_f64.sqrt();
        let mut out = [0.0];
        matvec([&[3.0, 4.0], &[1.0, 0.0, 0.0, 1.0], &[2.0, 1.0], &[]], &mut out, &shape);
        let gate = 6.0 / root;
        let expected = gate / (1.0 + (-gate).exp()) * 4.0 / root;
        assert!((out[0] - expected).abs() < 1e-12, "{} and {expected}", out[0]);
    }
}
