//! Rows into a cache.

use crate::oracle::Real;

/// The index of a row that goes nowhere.
pub const NOWHERE: u32 = u32::MAX;

/// Where the rows lie and where they go.
#[derive(Clone, Copy, Debug)]
pub struct CacheRowsShape {
    pub rows: usize,
    /// Rows that share an index.
    pub factor: usize,
    /// Columns of the cache.
    pub cols: usize,
    pub x_stride: usize,
    pub x_offset: usize,
    /// Units behind a row at which it is written a second time; 0: nowhere.
    pub mirror: usize,
}

/// `cache[index[i / factor] * factor + i % factor] = x[i][x_offset..x_offset + cols]`, and the same
/// `mirror` units of `factor` rows behind; `x [rows, x_stride]`, `index [rows / factor]`,
/// `cache [.., cols]`.
pub fn cache_rows<R: Real>(x: &[R], index: &[u32], cache: &mut [R], shape: &CacheRowsShape) {
    for i in 0..shape.rows {
        let unit = index[i / shape.factor];
        if unit == NOWHERE {
            continue;
        }
        for copy in 0..2 {
            let unit = unit as usize + copy * shape.mirror;
            let row = unit * shape.factor + i % shape.factor;
            for col in 0..shape.cols {
                cache[row * shape.cols + col] = x[i * shape.x_stride + shape.x_offset + col];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_rows_go_to_their_unit_and_its_mirror() {
        let x = [0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0];
        let mut cache = [9.0; 8];
        let shape =
            CacheRowsShape { rows: 4, factor: 2, cols: 1, x_stride: 2, x_offset: 1, mirror: 2 };
        cache_rows(&x, &[1, NOWHERE], &mut cache, &shape);
        assert_eq!(cache, [9.0, 9.0, 1.0, 2.0, 9.0, 9.0, 1.0, 2.0]);
    }
}
