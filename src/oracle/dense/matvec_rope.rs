//! The layer of queries, keys and values, rotated and kept.

use super::{MatvecShape, matvec};
use crate::oracle::Real;
use crate::oracle::attention::RopeShape;
use crate::oracle::decode::rope_cache;

/// What is rotated, and what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeps {
    pub rotated_cols: usize,
    pub head_dim: usize,
    /// First column that is kept.
    pub kept_from: usize,
    /// Rows behind its own at which a row is kept a second time; 0: nowhere.
    pub mirror: usize,
}

/// [`matvec()`] of `x`, `weight` and `gain`, then [`rope_cache()`] with `table`; `indices` are the
/// positions of the rows and their rows in the cache.
pub fn matvec_rope<R: Real>(
    [x, weight, gain, table]: [&[R]; 4],
    indices: [&[u32]; 2],
    [out, cache]: [&mut [R]; 2],
    shape: &MatvecShape<R>,
    keeps: &Keeps,
) {
    let MatvecShape { rows, features, .. } = *shape;
    let Keeps { rotated_cols, head_dim, kept_from, mirror } = *keeps;
    let mut sums = vec![R::zero(); rows * features];
    matvec([x, weight, gain, &[]], &mut sums, shape);
    let rope = RopeShape { rows, cols: features, rotated_cols, head_dim };
    rope_cache(&sums, indices, table, [out, cache], &rope, kept_from, mirror);
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
        let keeps = Keeps { rotated_cols: 2, head_dim: 2, kept_from: 0, mirror: 0 };
        let (mut out, mut cache) = ([0.0; 2], [0.0; 4]);
        // A quarter of a turn of (6, 8).
        let inputs = [&[2.0][..], &[3.0, 4.0], &[], &[0.0, 1.0]];
        matvec_rope(inputs, [&[0], &[1]], [&mut out, &mut cache], &shape, &keeps);
        assert_eq!((out, cache), ([-8.0, 6.0], [0.0, 0.0, -8.0, 6.0]));
    }
}
