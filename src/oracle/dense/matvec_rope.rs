//! The layer of queries, keys and values, rotated and kept.

use super::{MatvecShape, matvec};
use crate::oracle::Real;
use crate::oracle::attention::{RopeShape, rope};
use crate::oracle::decode::{CacheRowsShape, cache_rows};

/// What is rotated, and what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeps {
    pub rotated_cols: usize,
    pub head_dim: usize,
    /// First column that is kept.
    pub kept_from: usize,
    /// Units behind its own at which a row is kept a second time; 0: nowhere.
    pub mirror: usize,
    /// Rows of a unit, which share an index.
    pub factor: usize,
}

/// [`matvec()`] of `x`, `weight` and `gain`, then [`rope()`] with `table` and [`cache_rows()`];
/// `indices` are the positions of the rows and the units of the cache.
pub fn matvec_rope<R: Real>(
    [x, weight, gain, table]: [&[R]; 4],
    [position, index]: [&[u32]; 2],
    [out, cache]: [&mut [R]; 2],
    shape: &MatvecShape<R>,
    keeps: &Keeps,
) {
    let MatvecShape { rows, features, .. } = *shape;
    let Keeps { rotated_cols, head_dim, kept_from, mirror, factor } = *keeps;
    let mut sums = vec![R::zero(); rows * features];
    matvec([x, weight, gain, &[]], &mut sums, shape);
    let turned = RopeShape { rows, cols: features, rotated_cols, head_dim };
    rope(&sums, position, table, out, &turned, R::one());
    let kept = CacheRowsShape {
        rows,
        factor,
        cols: features - kept_from,
        x_stride: features,
        x_offset: kept_from,
        mirror,
    };
    cache_rows(out, index, cache, &kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_turned_and_kept() {
        let shape = MatvecShape {
            rows: 1,
            features: 2,
            depth: 1,
            norm_eps: None,
            is_gated: false,
            residual_scale: 0.0,
        };
        let keeps = Keeps { rotated_cols: 2, head_dim: 2, kept_from: 0, mirror: 0, factor: 1 };
        let (mut out, mut cache) = ([0.0; 2], [0.0; 4]);
        // A quarter of a turn of (6, 8).
        let inputs = [&[2.0][..], &[3.0, 4.0], &[], &[0.0, 1.0]];
        matvec_rope(inputs, [&[0], &[1]], [&mut out, &mut cache], &shape, &keeps);
        assert_eq!((out, cache), ([-8.0, 6.0], [0.0, 0.0, -8.0, 6.0]));
    }
}
