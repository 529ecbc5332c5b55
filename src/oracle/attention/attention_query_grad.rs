//! Gradient of range attention with respect to the queries (spec §26.1).

use super::attention::{AttentionInput, AttentionShape, ColumnsMut, dot, keys_of};
use crate::oracle::Real;

/// What the gradients of attention need from above and from the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct AttentionUpstream<'a, R> {
    /// `[query_count, head_count · head_dim]`.
    pub dout: &'a [R],
    /// `[query_count, head_count]`, from the forward pass.
    pub log_sum_exp: &'a [R],
    /// `[query_count, head_count]`, from [`attention_delta`].
    pub delta: &'a [R],
}

/// `delta[query, head] = Σ dout · out` over the head's columns: what both gradients subtract.
/// `out`, from the forward pass, and `dout` are `[query_count, head_count · head_dim]`.
pub fn attention_delta<R: Real>(out: &[R], dout: &[R], delta: &mut [R], shape: &AttentionShape<R>) {
    let head_dim = shape.head_dim;
    for row in 0..shape.query_count * shape.head_count {
        let head = row * head_dim..(row + 1) * head_dim;
        delta[row] = dot(&out[head.clone()], &dout[head]);
    }
}

/// `dq = scale · Σ P · (dout·v - delta) · k` over the keys of each query, `P = exp(score -
/// log_sum_exp)`. Overwrites the columns of `dq`; a query with no keys gets zeros.
pub fn attention_query_grad<R: Real>(
    input: &AttentionInput<R>,
    key_range: &[u32],
    upstream: &AttentionUpstream<R>,
    dq: &mut ColumnsMut<R>,
    shape: &AttentionShape<R>,
) {
    let AttentionShape { head_count, head_dim, .. } = *shape;
    for query in 0..shape.query_count {
        for head in 0..head_count {
            let kv_head = shape.kv_head(head);
            let row = query * head_count + head;
            let q = input.q.head(query, head, head_dim);
            let dout = &upstream.dout[row * head_dim..][..head_dim];
            let dq = dq.head(query, head, head_dim);
            dq.fill(R::zero());
            for key in keys_of(query, key_range, shape) {
                let k = input.k.head(key, kv_head, head_dim);
                let v = input.v.head(key, kv_head, head_dim);
                let weight = (shape.scale * dot(q, k) - upstream.log_sum_exp[row]).exp();
                let dscore = weight * (dot(dout, v) - upstream.delta[row]);
                for i in 0..head_dim {
                    dq[i] += shape.scale * dscore * k[i];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::attention::case::cases;
    use crate::oracle::finite_difference::{assert_gradient, inner};

    #[test]
    fn agrees_with_finite_differences() {
        for case in cases() {
            let (log_sum_exp, delta) = case.saved();
            let upstream =
                AttentionUpstream { dout: &case.dout, log_sum_exp: &log_sum_exp, delta: &delta };
            let input = case.input(&case.data);
            let mut grad = vec![7.0; case.data.len()];
            let mut dq =
                ColumnsMut { data: &mut grad, stride: input.q.stride, offset: input.q.offset };
            attention_query_grad(&input, &case.key_range, &upstream, &mut dq, &case.shape);

            let at = case.query_elements();
            let written = grad.iter().filter(|x| **x != 7.0).count();
            assert_eq!(written, at.len(), "other columns are left alone");
            let pick = |data: &[f64]| at.iter().map(|i| data[*i]).collect::<Vec<_>>();
            assert_gradient("dq", &pick(&case.data), &pick(&grad), |q| {
                let mut data = case.data.clone();
                for (i, value) in at.iter().zip(q) {
                    data[*i] = *value;
                }
                inner(&case.forward(&data).0, &case.dout)
            });
        }
    }
}
