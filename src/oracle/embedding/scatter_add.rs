//! Gradient of a lookup, through a sorted list: the places that used a row are summed in order.
//!
//! `rows` lists the rows of the table that were used, each once; the places that used `rows[i]` are
//! `entries[offsets[i]..offsets[i + 1]]`, rows of `dout`.

use crate::oracle::Real;

/// `grad[rows[i]] += Σ dout[entry]` over the row's entries in order; `dout [_, cols]`,
/// `grad [_, cols]`, `offsets` one longer than `rows`. Other rows of `grad` are left alone.
pub fn scatter_add<R: Real>(
    rows: &[u32],
    offsets: &[u32],
    entries: &[u32],
    dout: &[R],
    grad: &mut [R],
    cols: usize,
) {
    for i in 0..rows.len() {
        for col in 0..cols {
            let mut sum = R::zero();
            for entry in &entries[offsets[i] as usize..offsets[i + 1] as usize] {
                sum += dout[*entry as usize * cols + col];
            }
            grad[rows[i] as usize * cols + col] += sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::embedding::{byte_embedding, gather_rows};
    use crate::oracle::finite_difference::{assert_gradient, inner};

    #[test]
    fn sums_the_places_of_each_row() {
        let dout = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0];
        let mut grad = [0.5; 8];
        scatter_add(&[3, 1], &[0, 2, 3], &[0, 2, 1], &dout, &mut grad, 2);
        assert_eq!(grad, [0.5, 0.5, 10.5, 20.5, 0.5, 0.5, 101.5, 202.5]);
    }

    #[test]
    fn is_the_gradient_of_both_lookups() {
        let table = [0.3, -0.2, 0.5, 0.9, 1.0, -1.0];
        let index = [2, 0, 2];
        let dout = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        let mut grad = [0.0; 6];
        scatter_add(&[0, 2], &[0, 1, 3], &[1, 0, 2], &dout, &mut grad, 2);
        for lookup in [gather, embed] {
            assert_gradient("lookup", &table, &grad, |table| inner(&lookup(table, &index), &dout));
        }
    }

    fn gather(table: &[f64], index: &[u32]) -> Vec<f64> {
        let mut out = vec![0.0; 6];
        gather_rows(table, index, &mut out, 2);
        out
    }

    fn embed(table: &[f64], index: &[u32]) -> Vec<f64> {
        let mut out = vec![0.0; 6];
        byte_embedding(index, table, &mut out, 2);
        out
    }
}
