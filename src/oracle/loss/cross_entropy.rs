//! Cross-entropy of next-byte predictions, in nats, weighted row by row (spec §12).
//!
//! `logits` and `dlogits` are `[rows, vocab]`, `targets`, `weights` and `nats` are `[rows]`. A
//! weight of 0 masks a row: its target is not looked at.

use crate::oracle::Real;

/// `nats[row] = weights[row] · (ln Σ exp(logits[row]) - logits[row, target])`.
pub fn cross_entropy<R: Real>(
    logits: &[R],
    targets: &[u32],
    weights: &[R],
    nats: &mut [R],
    vocab: usize,
) {
    for row in 0..targets.len() {
        if weights[row].is_zero() {
            nats[row] = R::zero();
            continue;
        }
        let logits = &logits[row * vocab..][..vocab];
        let target = logits[targets[row] as usize];
        nats[row] = weights[row] * (log_sum_exp(logits) - target);
    }
}

/// `dlogits[row] = scale · weights[row] · (softmax(logits[row]) - onehot(target))`; `scale` is what
/// the sum of `nats` is multiplied by (loss scale over the weights' total). Overwrites `dlogits`.
pub fn cross_entropy_grad<R: Real>(
    logits: &[R],
    targets: &[u32],
    weights: &[R],
    scale: R,
    dlogits: &mut [R],
    vocab: usize,
) {
    for row in 0..targets.len() {
        let dlogits = &mut dlogits[row * vocab..][..vocab];
        if weights[row].is_zero() {
            dlogits.fill(R::zero());
            continue;
        }
        assert!((targets[row] as usize) < vocab, "cross_entropy_grad: a target leaves the vocab");
        let logits = &logits[row * vocab..][..vocab];
        let log_total = log_sum_exp(logits);
        for id in 0..vocab {
            let onehot = if id == targets[row] as usize { R::one() } else { R::zero() };
            dlogits[id] = scale * weights[row] * ((logits[id] - log_total).exp() - onehot);
        }
    }
}

/// `ln Σ exp(logits)`, shifted by the largest so that nothing overflows.
pub(super) fn log_sum_exp<R: Real>(logits: &[R]) -> R {
    let mut largest = logits[0];
    for logit in logits {
        largest = largest.max(*logit);
    }
    let mut total = R::zero();
    for logit in logits {
        total += (*logit - largest).exp();
    }
    largest + total.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::{Random, assert_close, assert_gradient};

    #[test]
    fn values_by_hand() {
        // Probabilities 1/4 and 3/4; then all equal; then a masked row with a target off the end.
        let ln3 = 3.0_f64.ln();
        let logits = [5.0, 5.0 + ln3, 2.0, 2.0, 1.0, 9.0];
        let (targets, weights) = ([0, 1, 77], [1.0, 0.5, 0.0]);
        let mut nats = [9.0; 3];
        cross_entropy(&logits, &targets, &weights, &mut nats, 2);
        assert_close("nats", &[4.0_f64.ln(), 0.5 * 2.0_f64.ln(), 0.0], &nats, 1e-14);
        let mut dlogits = [9.0; 6];
        cross_entropy_grad(&logits, &targets, &weights, 4.0, &mut dlogits, 2);
        assert_close("dlogits", &[-3.0, 3.0, 1.0, -1.0, 0.0, 0.0], &dlogits, 1e-14);
    }

    #[test]
    fn large_logits_stay_finite() {
        let mut nats = [9.0_f32; 2];
        cross_entropy(&[1e4, -1e4, 1e4, -1e4], &[0, 1], &[1.0, 1.0], &mut nats, 2);
        assert_eq!(nats, [0.0, 2e4]);
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let mut random = Random::new(13);
        let (rows, vocab) = (4, 6);
        let logits: Vec<f64> = random.values(rows * vocab).iter().map(|x| 4.0 * x).collect();
        let targets = random.indices(rows, vocab);
        let weights = [1.0, 0.0, 0.3, 2.0];
        let mut dlogits = vec![9.0; rows * vocab];
        cross_entropy_grad(&logits, &targets, &weights, 0.7, &mut dlogits, vocab);
        assert_gradient("cross_entropy", &logits, &dlogits, |logits| {
            let mut nats = vec![0.0; rows];
            cross_entropy(logits, &targets, &weights, &mut nats, vocab);
            0.7 * nats.iter().sum::<f64>()
        });
    }
}
