//! Hashed n-gram embeddings, added to the byte embeddings (spec §2.1).
//!
//! The tables lie in one buffer, `vocab` rows each, in table order (function-major, then by n-gram
//! size): row `id` of table `t` is row `t · vocab + id`. There is no normalisation.

use crate::oracle::Real;

/// What one call of [`hash_embedding`] covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashEmbeddingShape {
    pub byte_count: usize,
    pub table_count: usize,
    /// Rows of one table.
    pub vocab: usize,
    pub cols: usize,
}

/// `out[byte] += Σ table[t · vocab + ids[byte, t]]`, one table after the other;
/// `ids [byte_count, table_count]`, `table [table_count · vocab, cols]`, `out [byte_count, cols]`.
pub fn hash_embedding<R: Real>(
    ids: &[u32],
    table: &[R],
    out: &mut [R],
    shape: &HashEmbeddingShape,
) {
    let HashEmbeddingShape { byte_count, table_count, vocab, cols } = *shape;
    for byte in 0..byte_count {
        for t in 0..table_count {
            let id = ids[byte * table_count + t] as usize;
            assert!(id < vocab, "hash_embedding: an id leaves its table");
            for col in 0..cols {
                out[byte * cols + col] += table[(t * vocab + id) * cols + col];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::embedding::scatter_add;
    use crate::oracle::finite_difference::{Random, assert_gradient, inner};

    #[test]
    fn adds_one_row_of_each_table() {
        let shape = HashEmbeddingShape { byte_count: 2, table_count: 2, vocab: 3, cols: 1 };
        let table = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let mut out = [100.0, 200.0];
        hash_embedding(&[0, 0, 2, 1], &table, &mut out, &shape);
        assert_eq!(out, [109.0, 220.0]);
    }

    #[test]
    fn its_gradient_is_scatter_add_through_sorted_rows() {
        let mut random = Random::new(12);
        let shape = HashEmbeddingShape { byte_count: 10, table_count: 2, vocab: 4, cols: 3 };
        let ids = random.indices(20, 4);
        let table = random.values(8 * 3);
        let dout = random.values(10 * 3);

        let (mut rows, mut offsets, mut entries) = (Vec::new(), vec![0], Vec::new());
        for row in 0..8 {
            for byte in 0..10 {
                if (row / 4) * 4 + ids[byte * 2 + row as usize / 4] == row {
                    entries.push(byte as u32);
                }
            }
            if entries.len() as u32 > *offsets.last().unwrap() {
                rows.push(row);
                offsets.push(entries.len() as u32);
            }
        }
        assert_eq!(entries.len(), 20);
        let mut grad = vec![0.0; table.len()];
        scatter_add(&rows, &offsets, &entries, &dout, &mut grad, 3);
        assert_gradient("hash table", &table, &grad, |table| {
            let mut out = vec![0.5; 30];
            hash_embedding(&ids, table, &mut out, &shape);
            inner(&out, &dout)
        });
    }
}
