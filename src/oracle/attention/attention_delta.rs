//! `delta = rowsum(dout · out)` per query and head: what both attention gradients subtract.

use crate::oracle::Real;

/// `delta[query, head] = Σ dout · out` over the head's columns; `out` and `dout` are
/// `[query_count, head_count · head_dim]`, `delta` is `[query_count, head_count]`.
pub fn attention_delta<R: Real>(
    out: &[R],
    dout: &[R],
    delta: &mut [R],
    query_count: usize,
    head_count: usize,
    head_dim: usize,
) {
    for row in 0..query_count * head_count {
        let mut sum = R::zero();
        for i in 0..head_dim {
            sum += out[row * head_dim + i] * dout[row * head_dim + i];
        }
        delta[row] = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_head_by_head() {
        let out = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let dout = [1.0, 10.0, 1.0, 10.0, -1.0, 0.5, 2.0, 2.0];
        let mut delta = [9.0; 4];
        attention_delta(&out, &dout, &mut delta, 2, 2, 2);
        assert_eq!(delta, [21.0, 43.0, -2.0, 30.0]);
    }
}
