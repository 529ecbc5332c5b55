//! Attention without what its backward pass reads; see [`attention`] for shapes and ranges.

use super::attention::{AttentionInput, AttentionShape, attention};
use crate::oracle::Real;

/// `out [query_count, head_count · head_dim]` of [`attention`] alone.
pub fn attention_row<R: Real>(
    input: &AttentionInput<R>,
    key_range: &[u32],
    out: &mut [R],
    shape: &AttentionShape<R>,
) {
    let mut log_sum_exp = vec![R::zero(); shape.query_count * shape.head_count];
    attention(input, key_range, out, &mut log_sum_exp, shape);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::attention::case::cases;
    use crate::oracle::finite_difference::assert_close;

    /// A query handed over alone, as decoding does, is the same query.
    #[test]
    fn a_row_alone_is_the_row_among_others() {
        for case in cases() {
            let (expected, _) = case.forward(&case.data);
            let width = case.shape.head_count * case.shape.head_dim;
            let shape = AttentionShape { query_count: 1, query_factor: 1, ..case.shape };
            for query in 0..case.shape.query_count {
                let mut input = case.input(&case.data);
                input.q.offset += query * input.q.stride;
                let entry = query / case.shape.query_factor * 2;
                let mut out = vec![9.0; width];
                attention_row(&input, &case.key_range[entry..entry + 2], &mut out, &shape);
                assert_close("row", &expected[query * width..][..width], &out, 0.0);
            }
        }
    }
}
