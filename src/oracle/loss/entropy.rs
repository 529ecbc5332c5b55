//! Shannon entropy of the predicted distribution, in nats (spec §3.3).

use super::cross_entropy::log_sum_exp;
use crate::oracle::Real;

/// `out[row] = -Σ p · ln p`, `p = softmax(logits[row])`; `logits [rows, vocab]`, `out [rows]`.
pub fn entropy<R: Real>(logits: &[R], out: &mut [R], rows: usize, vocab: usize) {
    for row in 0..rows {
        let logits = &logits[row * vocab..][..vocab];
        let log_total = log_sum_exp(logits);
        let mut sum = R::zero();
        for logit in logits {
            let log_p = *logit - log_total;
            sum += log_p.exp() * log_p;
        }
        out[row] = -sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::assert_close;

    #[test]
    fn values_by_hand() {
        // Uniform, 1/4 and 3/4, certain.
        let ln3 = 3.0_f64.ln();
        let mut out = [9.0; 3];
        entropy(&[7.0, 7.0, -ln3, 0.0, 900.0, -900.0], &mut out, 3, 2);
        let two = 2.0_f64.ln();
        assert_close("entropy", &[two, 2.0 * two - 0.75 * ln3, 0.0], &out, 1e-14);
    }

    #[test]
    fn a_uniform_row_has_the_logarithm_of_the_vocabulary() {
        let mut out = [0.0_f32];
        entropy(&[-3.0; 260], &mut out, 1, 260);
        assert!((out[0] - 5.560_682).abs() < 1e-5);
    }
}
