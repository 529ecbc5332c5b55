//! The table row of every byte id (spec §2.1). Its gradient is `scatter_add`.

use crate::oracle::Real;

/// `out[byte] = table[ids[byte]]`; `ids [byte_count]`, `table [vocab, cols]`,
/// `out [byte_count, cols]`.
pub fn byte_embedding<R: Real>(ids: &[u32], table: &[R], out: &mut [R], cols: usize) {
    for byte in 0..ids.len() {
        for col in 0..cols {
            out[byte * cols + col] = table[ids[byte] as usize * cols + col];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_rows_up() {
        let table = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0];
        let mut out = [9.0; 6];
        byte_embedding(&[2, 0, 2], &table, &mut out, 2);
        assert_eq!(out, [20.0, 21.0, 0.0, 1.0, 20.0, 21.0]);
    }
}
