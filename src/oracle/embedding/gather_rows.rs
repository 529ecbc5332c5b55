//! Chosen rows of a matrix. Its gradient is `scatter_add`.

use crate::oracle::Real;

/// `out[i] = x[index[i]]`; `x [rows, cols]`, `index [count]`, `out [count, cols]`.
pub fn gather_rows<R: Real>(x: &[R], index: &[u32], out: &mut [R], cols: usize) {
    for i in 0..index.len() {
        for col in 0..cols {
            out[i * cols + col] = x[index[i] as usize * cols + col];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_rows_in_the_order_of_the_index() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut out = [9.0; 9];
        gather_rows(&x, &[1, 1, 0], &mut out, 3);
        assert_eq!(out, [4.0, 5.0, 6.0, 4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
    }
}
