//! Rotary embedding of rows, of which a part is kept in a cache.

use super::cache_rows::{CacheRowsShape, cache_rows};
use crate::oracle::Real;
use crate::oracle::attention::{RopeShape, rope};

/// [`rope()`] of x forward, then [`cache_rows`] of the columns from `x_offset` on, `mirror` rows
/// apart; `x` and `out` are `[rows, cols]`, `cache` `[.., cols - x_offset]`.
pub fn rope_cache<R: Real>(
    x: &[R],
    [position, index]: [&[u32]; 2],
    table: &[R],
    [out, cache]: [&mut [R]; 2],
    shape: &RopeShape,
    x_offset: usize,
    mirror: usize,
) {
    rope(x, position, table, out, shape, R::one());
    let RopeShape { rows, cols, .. } = *shape;
    let kept =
        CacheRowsShape { rows, factor: 1, cols: cols - x_offset, x_stride: cols, x_offset, mirror };
    cache_rows(out, index, cache, &kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_rotated() {
        let shape = RopeShape { rows: 1, cols: 5, rotated_cols: 4, head_dim: 2 };
        let (mut out, mut cache) = ([0.0; 5], [0.0; 6]);
        // The angle of position 1 is a quarter of a turn.
        let (x, table) = ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 0.0, 0.0, 1.0]);
        rope_cache(&x, [&[1], &[0]], &table, [&mut out, &mut cache], &shape, 2, 1);
        assert_eq!(out, [-2.0, 1.0, -4.0, 3.0, 5.0]);
        assert_eq!(cache, [-4.0, 3.0, 5.0, -4.0, 3.0, 5.0]);
    }
}
