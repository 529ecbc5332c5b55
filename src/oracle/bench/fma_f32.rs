//! Chains of x = a x + b.

use crate::oracle::Real;

/// Chains an invocation.
const CHAIN_COUNT: usize = 32;

/// `out[i]` = the sum over c < 32 of what `step_count` steps x = a x + b make of `x[i] + c / 32`.
pub fn fma_f32<R: Real>(x: &[R], a: R, b: R, step_count: usize, out: &mut [R]) {
    for i in 0..x.len() {
        out[i] = R::zero();
        for chain in 0..CHAIN_COUNT {
            let mut value = x[i] + R::of(chain as f64) / R::of(CHAIN_COUNT as f64);
            for _ in 0..step_count {
                value = a * value + b;
            }
            out[i] += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_move_towards_their_fixed_point() {
        let (x, mut out) = ([0.0, 1.0], [0.0; 2]);
        fma_f32(&x, 0.5, 0.5, 0, &mut out);
        // The 32 chains begin 0, 1/32, .. 31/32 beyond x.
        assert_eq!(out, [15.5, 47.5]);
        fma_f32(&x, 0.5, 0.5, 1, &mut out);
        assert_eq!(out, [0.5 * 15.5 + 16.0, 0.5 * 47.5 + 16.0]);
        fma_f32(&x, 0.5, 0.5, 60, &mut out);
        assert!(out.iter().all(|sum: &f64| (sum - 32.0).abs() < 1e-9));
    }
}
