//! Inputs the attention oracles are tested on: q, k and v as three views of one buffer whose rows
//! serve queries and keys alike, with a spare column at either end.

use super::attention::{AttentionInput, AttentionShape, Columns, attention};
use super::attention_query_grad::attention_delta;
use crate::oracle::Real;
use crate::oracle::finite_difference::Random;

pub(super) struct Case {
    pub data: Vec<f64>,
    pub dout: Vec<f64>,
    pub key_range: Vec<u32>,
    pub shape: AttentionShape<f64>,
}

/// Heads, groups of heads, factors, empty ranges, keys that no query sees.
pub(super) fn cases() -> Vec<Case> {
    vec![
        // Windows of 3 in two documents of 4 and 3 bytes.
        Case::new(1, (2, 2), (1, 1), (7, 7), &[0, 1, 0, 2, 0, 3, 1, 4, 4, 5, 4, 6, 4, 7]),
        // Block-causal with two query heads on each of two key heads.
        Case::new(2, (4, 2), (1, 1), (5, 5), &[0, 1, 0, 2, 0, 3, 3, 4, 3, 5]),
        // Pooling: two queries per patch, patches of 1, 3, 0 and 2 bytes, one byte in none.
        Case::new(3, (2, 2), (2, 1), (8, 7), &[0, 1, 1, 4, 4, 4, 4, 6]),
        // Unpooling: bytes over the three vectors of their patch; nobody looks at the last patch.
        Case::new(4, (2, 1), (1, 3), (6, 12), &[0, 1, 0, 1, 1, 2, 1, 2, 2, 2, 2, 3]),
        // Both factors, windows of two patches, three heads on one.
        Case::new(5, (3, 1), (2, 2), (6, 8), &[0, 1, 0, 2, 1, 4]),
        Case::random(6),
        Case::random(7),
        Case::random(8),
    ]
}

impl Case {
    /// `heads` = query and key heads, `factors` and `counts` = of queries and keys.
    fn new(
        seed: u64,
        heads: (usize, usize),
        factors: (usize, usize),
        counts: (usize, usize),
        key_range: &[u32],
    ) -> Self {
        let shape = AttentionShape {
            query_count: counts.0,
            key_count: counts.1,
            head_count: heads.0,
            kv_head_count: heads.1,
            head_dim: 3,
            query_factor: factors.0,
            key_factor: factors.1,
            scale: 0.8,
        };
        assert_eq!(key_range.len() / 2 * factors.0, counts.0);
        let mut random = Random::new(seed);
        let rows = counts.0.max(counts.1);
        let width = (heads.0 + 2 * heads.1) * shape.head_dim + 2;
        let data = random.values(rows * width);
        let dout = random.values(counts.0 * heads.0 * shape.head_dim);
        Self { data, dout, key_range: key_range.to_vec(), shape }
    }

    /// Ranges with ends that never decrease, some of them empty.
    fn random(seed: u64) -> Self {
        let mut random = Random::new(100 + seed);
        let (query_factor, key_factor) = (1 + random.below(3), 1 + random.below(3));
        let (entry_count, unit_count) = (5, 6);
        let (mut low, mut high) = (0, 0);
        let mut key_range = Vec::new();
        for _ in 0..entry_count {
            high = (high + random.below(4)).min(unit_count);
            low = (low + random.below(4)).min(high);
            key_range.extend([low as u32, high as u32]);
        }
        let counts = (entry_count * query_factor, unit_count * key_factor);
        Self::new(seed, (4, 2), (query_factor, key_factor), counts, &key_range)
    }

    fn stride(&self) -> usize {
        (self.shape.head_count + 2 * self.shape.kv_head_count) * self.shape.head_dim + 2
    }

    pub fn input<'a, R: Real>(&self, data: &'a [R]) -> AttentionInput<'a, R> {
        let view = |offset| Columns { data, stride: self.stride(), offset };
        let k = 1 + self.shape.head_count * self.shape.head_dim;
        let v = k + self.shape.kv_head_count * self.shape.head_dim;
        AttentionInput { q: view(1), k: view(k), v: view(v) }
    }

    /// `out` and `log_sum_exp` for other `data` of the same shape.
    pub fn forward(&self, data: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut out = vec![9.0; self.dout.len()];
        let mut lse = vec![9.0; self.shape.query_count * self.shape.head_count];
        attention(&self.input(data), &self.key_range, &mut out, &mut lse, &self.shape);
        (out, lse)
    }

    /// `log_sum_exp` and `delta` of this case.
    pub fn saved(&self) -> (Vec<f64>, Vec<f64>) {
        let (out, lse) = self.forward(&self.data);
        let mut delta = vec![9.0; lse.len()];
        attention_delta(&out, &self.dout, &mut delta, &self.shape);
        (lse, delta)
    }

    /// The inverse of `key_range`, by search.
    pub fn query_range(&self) -> Vec<u32> {
        let mut query_range = Vec::new();
        for unit in 0..(self.shape.key_count / self.shape.key_factor) as u32 {
            let sees =
                |e: &usize| (self.key_range[2 * e]..self.key_range[2 * e + 1]).contains(&unit);
            let entries: Vec<usize> = (0..self.key_range.len() / 2).filter(sees).collect();
            let low = entries.first().map_or(0, |e| *e);
            let high = entries.last().map_or(0, |e| e + 1);
            assert_eq!(entries, (low..high).collect::<Vec<_>>(), "no inverse");
            query_range.extend([low as u32, high as u32]);
        }
        query_range
    }

    pub fn set_values(&mut self, value: f64) {
        for i in self.value_elements() {
            self.data[i] = value;
        }
    }

    pub fn query_elements(&self) -> Vec<usize> {
        self.elements(self.input(&self.data).q.offset, self.shape.query_count, true)
    }

    pub fn key_elements(&self) -> Vec<usize> {
        self.elements(self.input(&self.data).k.offset, self.shape.key_count, false)
    }

    pub fn value_elements(&self) -> Vec<usize> {
        self.elements(self.input(&self.data).v.offset, self.shape.key_count, false)
    }

    fn elements(&self, offset: usize, rows: usize, query: bool) -> Vec<usize> {
        let heads = if query { self.shape.head_count } else { self.shape.kv_head_count };
        let cols = heads * self.shape.head_dim;
        (0..rows * cols).map(|i| offset + i / cols * self.stride() + i % cols).collect()
    }
}
