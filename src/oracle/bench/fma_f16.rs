//! Chains of x = a x + b, as a computer with f16 approaches them.

use super::fma_f32;
use crate::oracle::Real;

/// What [`fma_f32`] computes: f16 is an approximation of it, and no other truth.
pub fn fma_f16<R: Real>(x: &[R], a: R, b: R, step_count: usize, out: &mut [R]) {
    fma_f32(x, a, b, step_count, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_chain() {
        let (x, mut out) = ([0.25_f64], [0.0]);
        fma_f16(&x, 0.0, 2.0, 1, &mut out);
        assert_eq!(out, [64.0]);
    }
}
