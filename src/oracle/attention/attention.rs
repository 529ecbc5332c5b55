//! Softmax attention in which every query sees one contiguous range of keys.
//!
//! One kernel serves windowed self-attention over bytes, block-causal attention over patches (spec
//! §5.7), and both cross-attentions (spec §6): pooling, where the k queries of a patch see its
//! bytes, and unpooling, where a byte sees the k vectors of its patch. Consecutive queries come in
//! groups of `query_factor` that share an entry of `key_range`, and the range of an entry counts in
//! groups of `key_factor` keys:
//!
//! | use | entry | `query_factor` | `key_factor` |
//! |---|---|---|---|
//! | self-attention | byte or patch | 1 | 1 |
//! | pooling | patch, range in bytes | k | 1 |
//! | unpooling | byte, range in patches | 1 | k |

use crate::oracle::Real;

/// The log-sum-exp of a query that sees no key: finite, because shaders know no infinity.
pub const NO_KEYS: f64 = -1e30;

/// What one call of [`attention`] or of its gradients covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape<R> {
    pub query_count: usize,
    pub key_count: usize,
    pub head_count: usize,
    /// Key and value heads; each serves `head_count / kv_head_count` consecutive query heads.
    pub kv_head_count: usize,
    pub head_dim: usize,
    /// Queries per entry of `key_range`.
    pub query_factor: usize,
    /// Keys per unit of a range of `key_range`.
    pub key_factor: usize,
    /// What scores are multiplied by, usually `1 / sqrt(head_dim)`.
    pub scale: R,
}

impl<R> AttentionShape<R> {
    /// The head of k and v that query head `head` reads.
    pub fn kv_head(&self, head: usize) -> usize {
        assert!(self.head_count.is_multiple_of(self.kv_head_count), "attention: uneven kv heads");
        head / (self.head_count / self.kv_head_count)
    }
}

/// Some columns of a row-major buffer: row `row`, head `head` start at
/// `offset + row · stride + head · head_dim`.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a, R> {
    pub data: &'a [R],
    /// Elements from one row to the next.
    pub stride: usize,
    /// The first column.
    pub offset: usize,
}

impl<R> Columns<'_, R> {
    /// One head's columns of one row.
    pub fn head(&self, row: usize, head: usize, head_dim: usize) -> &[R] {
        &self.data[self.offset + row * self.stride + head * head_dim..][..head_dim]
    }
}

/// [`Columns`] to write to; the other columns of the buffer are left alone.
#[derive(Debug)]
pub struct ColumnsMut<'a, R> {
    pub data: &'a mut [R],
    /// Elements from one row to the next.
    pub stride: usize,
    /// The first column.
    pub offset: usize,
}

impl<R> ColumnsMut<'_, R> {
    /// One head's columns of one row.
    pub fn head(&mut self, row: usize, head: usize, head_dim: usize) -> &mut [R] {
        &mut self.data[self.offset + row * self.stride + head * head_dim..][..head_dim]
    }
}

/// Queries `[query_count, head_count · head_dim]`, keys and values
/// `[key_count, kv_head_count · head_dim]`, often three views of one buffer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionInput<'a, R> {
    pub q: Columns<'a, R>,
    pub k: Columns<'a, R>,
    pub v: Columns<'a, R>,
}

/// For each query and head: `score = scale · q·k` over the keys of the query's range,
/// `log_sum_exp = ln Σ exp(score)`, `out = Σ exp(score - log_sum_exp) · v`.
///
/// `key_range` holds pairs `[low, high)`, one per entry; query `row` has entry
/// `row / query_factor` and sees keys `low · key_factor .. high · key_factor`. `out` is
/// `[query_count, head_count · head_dim]`, `log_sum_exp` is `[query_count, head_count]`. A query
/// with an empty range gets zeros and [`NO_KEYS`].
pub fn attention<R: Real>(
    input: &AttentionInput<R>,
    key_range: &[u32],
    out: &mut [R],
    log_sum_exp: &mut [R],
    shape: &AttentionShape<R>,
) {
    let AttentionShape { head_count, head_dim, .. } = *shape;
    for query in 0..shape.query_count {
        let keys = keys_of(query, key_range, shape);
        for head in 0..head_count {
            let kv_head = shape.kv_head(head);
            let q = input.q.head(query, head, head_dim);
            let mut scores = Vec::new();
            for key in keys.clone() {
                scores.push(shape.scale * dot(q, input.k.head(key, kv_head, head_dim)));
            }
            let lse = log_sum_exp_of(&scores);
            log_sum_exp[query * head_count + head] = lse;

            let out = &mut out[(query * head_count + head) * head_dim..][..head_dim];
            out.fill(R::zero());
            for (score, key) in scores.into_iter().zip(keys.clone()) {
                let weight = (score - lse).exp();
                let v = input.v.head(key, kv_head, head_dim);
                for i in 0..head_dim {
                    out[i] += weight * v[i];
                }
            }
        }
    }
}

/// The key rows that `query` sees.
pub(super) fn keys_of<R: Real>(
    query: usize,
    key_range: &[u32],
    shape: &AttentionShape<R>,
) -> std::ops::Range<usize> {
    let entry = query / shape.query_factor;
    let low = key_range[2 * entry] as usize * shape.key_factor;
    let high = key_range[2 * entry + 1] as usize * shape.key_factor;
    assert!(low <= high && high <= shape.key_count, "attention: a range leaves the keys");
    low..high
}

pub(super) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sum = R::zero();
    for i in 0..a.len() {
        sum += a[i] * b[i];
    }
    sum
}

fn log_sum_exp_of<R: Real>(scores: &[R]) -> R {
    if scores.is_empty() {
        return R::of(NO_KEYS);
    }
    let mut largest = scores[0];
    for score in scores {
        largest = largest.max(*score);
    }
    let mut sum = R::zero();
    for score in scores {
        sum += (*score - largest).exp();
    }
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::attention::case::{Case, cases};
    use crate::oracle::finite_difference::assert_close;

    #[test]
    fn two_keys_by_hand() {
        // Scores 0 and ln 3 weigh the values 1/4 and 3/4; the second query sees nothing.
        let ln3 = 3.0_f64.ln();
        let (q, k, v) = ([2.0, 9.0], [0.0, ln3], [8.0, 16.0]);
        let view = |data| Columns { data, stride: 1, offset: 0 };
        let input = AttentionInput { q: view(&q), k: view(&k), v: view(&v) };
        let shape = AttentionShape {
            query_count: 2,
            key_count: 2,
            head_count: 1,
            kv_head_count: 1,
            head_dim: 1,
            query_factor: 1,
            key_factor: 1,
            scale: 0.5,
        };
        let (mut out, mut lse) = ([5.0; 2], [5.0; 2]);
        attention(&input, &[0, 2, 1, 1], &mut out, &mut lse, &shape);
        assert_close("out", &[14.0, 0.0], &out, 1e-15);
        assert_close("log_sum_exp", &[4.0_f64.ln(), NO_KEYS], &lse, 1e-15);
    }

    #[test]
    fn weights_sum_to_one() {
        for mut case in cases() {
            case.set_values(1.0);
            let (out, _) = case.forward(&case.data);
            let width = case.shape.head_count * case.shape.head_dim;
            for query in 0..case.shape.query_count {
                let empty = keys_of(query, &case.key_range, &case.shape).is_empty();
                let expected = vec![if empty { 0.0 } else { 1.0 }; width];
                assert_close("row", &expected, &out[query * width..][..width], 1e-14);
            }
        }
    }

    #[test]
    fn large_scores_stay_finite() {
        for case in cases() {
            let large: Vec<f32> = case.data.iter().map(|x| (x * 300.0) as f32).collect();
            let shape = AttentionShape {
                query_count: case.shape.query_count,
                key_count: case.shape.key_count,
                head_count: case.shape.head_count,
                kv_head_count: case.shape.kv_head_count,
                head_dim: case.shape.head_dim,
                query_factor: case.shape.query_factor,
                key_factor: case.shape.key_factor,
                scale: 1.0_f32,
            };
            let mut out = vec![f32::NAN; shape.query_count * shape.head_count * shape.head_dim];
            let mut lse = vec![f32::NAN; shape.query_count * shape.head_count];
            attention(&case.input(&large), &case.key_range, &mut out, &mut lse, &shape);
            assert!(out.iter().chain(&lse).all(|x| x.is_finite()));
            assert!(out.iter().any(|x| x.abs() > 100.0));
        }
    }

    /// The same function over a dense mask, head by head, without ranges, factors or views.
    fn dense(case: &Case) -> Vec<f64> {
        let shape = &case.shape;
        let group = shape.head_count / shape.kv_head_count;
        let input = case.input(&case.data);
        let mut out = Vec::new();
        for query in 0..shape.query_count {
            for head in 0..shape.head_count {
                let mut weights = vec![0.0; shape.key_count];
                for key in 0..shape.key_count {
                    let at = query / shape.query_factor;
                    let unit = (key / shape.key_factor) as u32;
                    if case.key_range[2 * at] <= unit && unit < case.key_range[2 * at + 1] {
                        let mut score = 0.0;
                        for i in 0..shape.head_dim {
                            let q = input.q.offset + query * input.q.stride;
                            let k = input.k.offset + key * input.k.stride;
                            score += case.data[q + head * shape.head_dim + i]
                                * case.data[k + head / group * shape.head_dim + i];
                        }
                        weights[key] = (score * shape.scale).exp();
                    }
                }
                let total: f64 = weights.iter().sum();
                for i in 0..shape.head_dim {
                    let mut value = 0.0;
                    for key in 0..shape.key_count {
                        let v = input.v.offset + key * input.v.stride;
                        value += weights[key] * case.data[v + head / group * shape.head_dim + i];
                    }
                    out.push(if total > 0.0 { value / total } else { 0.0 });
                }
            }
        }
        out
    }

    #[test]
    fn agrees_with_a_dense_mask() {
        for case in cases() {
            let expected = dense(&case);
            assert!(expected.iter().any(|x| x.abs() > 0.1));
            assert_close("out", &expected, &case.forward(&case.data).0, 1e-12);
        }
    }
}
