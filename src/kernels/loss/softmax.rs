//! What the CPU variants of this family share: the sum under the softmax of one row.

use crate::kernels::{attention::fast_exp::exp, reduce::lanes};

/// The largest logit, and `Σ exp(logit - largest)`. Inlined, for the vectors of the caller.
#[inline(always)]
pub(super) fn shifted_sum(logits: &[f32]) -> (f32, f32) {
    let largest = lanes::largest(logits);
    (largest, lanes::sum(logits, |logit| exp(logit - largest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let (largest, sum) = shifted_sum(&[1000.0, 1000.0, -1000.0]);
        assert_eq!((largest, sum), (1000.0, 2.0));
    }
}
