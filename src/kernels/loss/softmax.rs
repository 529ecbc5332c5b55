//! What the CPU variants of this family share: the softmax of one row and its sums.
//!
//! Each is a type and no closure, so that it is inlined where vectors are wide.

use crate::kernels::{attention::fast_exp::exp, reduce::lanes};
use pulp::{Arch, NullaryFnOnce};

/// The largest logit, and `Σ exp(logit - largest)`.
pub(super) fn shifted_sum(logits: &[f32]) -> (f32, f32) {
    Arch::new().dispatch(ShiftedSum { logits })
}

/// `-Σ p ln p` with p = softmax(logits).
pub(super) fn entropy(logits: &[f32]) -> f32 {
    let (sum, weighted) = Arch::new().dispatch(WeightedSum { logits });
    sum.ln() - weighted / sum
}

/// `out = scale softmax(logits)`.
pub(super) fn scaled_softmax(logits: &[f32], scale: f32, out: &mut [f32]) {
    Arch::new().dispatch(ScaledSoftmax { logits, scale, out });
}

struct ShiftedSum<'a> {
    logits: &'a [f32],
}

impl NullaryFnOnce for ShiftedSum<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn call(self) -> (f32, f32) {
        let largest = lanes::largest(self.logits);
        (largest, lanes::sum(self.logits, |logit| exp(logit - largest)))
    }
}

/// `Σ exp(d)` and `Σ d exp(d)` over d = logit - largest.
struct WeightedSum<'a> {
    logits: &'a [f32],
}

impl NullaryFnOnce for WeightedSum<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn call(self) -> (f32, f32) {
        let largest = lanes::largest(self.logits);
        let sum = lanes::sum(self.logits, |logit| exp(logit - largest));
        let term = |logit: f32| (logit - largest) * exp(logit - largest);
        (sum, lanes::sum(self.logits, term))
    }
}

struct ScaledSoftmax<'a> {
    logits: &'a [f32],
    scale: f32,
    out: &'a mut [f32],
}

impl NullaryFnOnce for ScaledSoftmax<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let largest = lanes::largest(self.logits);
        for (out, logit) in self.out.iter_mut().zip(self.logits) {
            *out = exp(logit - largest);
        }
        let factor = self.scale / lanes::sum(self.out, |exponential| exponential);
        for out in self.out {
            *out *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let logits = [1000.0, 1000.0, -1000.0];
        assert_eq!(shifted_sum(&logits), (1000.0, 2.0));
        let mut out = [9.0; 3];
        scaled_softmax(&logits, 4.0, &mut out);
        assert_eq!(out[..2], [2.0, 2.0]);
        assert!(out[2] < 1e-30);
        assert!((entropy(&logits) - 2.0_f32.ln()).abs() < 1e-6);
    }
}
