//! Gradient of range attention with respect to the keys and values (spec §26.1).
//!
//! The loop runs over keys, so that no two of them write to one place; it needs the ranges the
//! other way round: for every group of `key_factor` keys the contiguous range of entries (groups of
//! `query_factor` queries) that see it. Ranges whose two ends never decrease have such an inverse.

use super::attention::{AttentionInput, AttentionShape, ColumnsMut, dot};
use super::attention_query_grad::AttentionUpstream;
use crate::oracle::Real;

/// `dk = scale · Σ P · (dout·v - delta) · q`, `dv = Σ P · dout` over the queries that see each key
/// and the query heads that share its head. Overwrites the columns of `dk` and `dv`; a key that no
/// query sees gets zeros.
///
/// `query_range` holds pairs `[low, high)`, one per `key / key_factor`, of entries: the queries are
/// `low · query_factor .. high · query_factor`.
pub fn attention_key_grad<R: Real>(
    input: &AttentionInput<R>,
    query_range: &[u32],
    upstream: &AttentionUpstream<R>,
    dk: &mut ColumnsMut<R>,
    dv: &mut ColumnsMut<R>,
    shape: &AttentionShape<R>,
) {
    let AttentionShape { head_count, kv_head_count, head_dim, .. } = *shape;
    for key in 0..shape.key_count {
        let unit = key / shape.key_factor;
        let low = query_range[2 * unit] as usize * shape.query_factor;
        let high = query_range[2 * unit + 1] as usize * shape.query_factor;
        assert!(low <= high && high <= shape.query_count, "attention: a range leaves the queries");
        for kv_head in 0..kv_head_count {
            let k = input.k.head(key, kv_head, head_dim);
            let v = input.v.head(key, kv_head, head_dim);
            let dk = dk.head(key, kv_head, head_dim);
            let dv = dv.head(key, kv_head, head_dim);
            dk.fill(R::zero());
            dv.fill(R::zero());
            for query in low..high {
                for head in (0..head_count).filter(|head| shape.kv_head(*head) == kv_head) {
                    let row = query * head_count + head;
                    let q = input.q.head(query, head, head_dim);
                    let dout = &upstream.dout[row * head_dim..][..head_dim];
                    let weight = (shape.scale * dot(q, k) - upstream.log_sum_exp[row]).exp();
                    let dscore = weight * (dot(dout, v) - upstream.delta[row]);
                    for i in 0..head_dim {
                        dk[i] += shape.scale * dscore * q[i];
                        dv[i] += weight * dout[i];
                    }
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
            let (mut dk, mut dv) = (vec![7.0; case.data.len()], vec![7.0; case.data.len()]);
            attention_key_grad(
                &input,
                &case.query_range(),
                &upstream,
                &mut ColumnsMut { data: &mut dk, stride: input.k.stride, offset: input.k.offset },
                &mut ColumnsMut { data: &mut dv, stride: input.v.stride, offset: input.v.offset },
                &case.shape,
            );
            for (name, at, grad) in
                [("dk", case.key_elements(), dk), ("dv", case.value_elements(), dv)]
            {
                let written = grad.iter().filter(|x| **x != 7.0).count();
                assert_eq!(written, at.len(), "{name}: other columns are left alone");
                let pick = |data: &[f64]| at.iter().map(|i| data[*i]).collect::<Vec<_>>();
                assert_gradient(name, &pick(&case.data), &pick(&grad), |x| {
                    let mut data = case.data.clone();
                    for (i, value) in at.iter().zip(x) {
                        data[*i] = *value;
                    }
                    inner(&case.forward(&data).0, &case.dout)
                });
            }
        }
    }
}
