//! Pooling of the bytes of each patch, channel by channel (spec §7).
//!
//! `x` and `dx` are `[byte_count, cols]`, `pooled` and its gradient `[patch_count, cols]`, `range`
//! holds `patch_count` pairs `[low, high)` of byte rows.

use crate::oracle::Real;

/// What is kept of the bytes of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    Max,
    Mean,
    Min,
}

/// `out[patch] = max, mean or min of x[low..high]`; a patch without bytes gets zeros.
pub fn patch_pool<R: Real>(x: &[R], range: &[u32], kind: PoolKind, out: &mut [R], cols: usize) {
    for patch in 0..range.len() / 2 {
        let (low, high) = (range[2 * patch] as usize, range[2 * patch + 1] as usize);
        for col in 0..cols {
            let mut pooled = if low < high { x[low * cols + col] } else { R::zero() };
            for byte in low + 1..high {
                let value = x[byte * cols + col];
                pooled = match kind {
                    PoolKind::Max => pooled.max(value),
                    PoolKind::Min => pooled.min(value),
                    PoolKind::Mean => pooled + value,
                };
            }
            if kind == PoolKind::Mean && low < high {
                pooled /= R::of((high - low) as f64);
            }
            out[patch * cols + col] = pooled;
        }
    }
}

/// Gradient of [`patch_pool`]: a mean gives each byte an equal share, a maximum or minimum gives it
/// to the bytes that equal `pooled`, in equal shares if there are several (spec §26.1).
///
/// Overwrites all of `dx`; bytes of no patch get zeros.
pub fn patch_pool_grad<R: Real>(
    x: &[R],
    pooled: &[R],
    dpooled: &[R],
    range: &[u32],
    kind: PoolKind,
    dx: &mut [R],
    cols: usize,
) {
    dx.fill(R::zero());
    for patch in 0..range.len() / 2 {
        let (low, high) = (range[2 * patch] as usize, range[2 * patch + 1] as usize);
        for col in 0..cols {
            let at = patch * cols + col;
            let takes = |byte: usize| kind == PoolKind::Mean || x[byte * cols + col] == pooled[at];
            let share_count = (low..high).filter(|byte| takes(*byte)).count();
            for byte in low..high {
                if takes(byte) {
                    dx[byte * cols + col] += dpooled[at] / R::of(share_count as f64);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::{Random, assert_gradient, inner};

    const KINDS: [PoolKind; 3] = [PoolKind::Max, PoolKind::Mean, PoolKind::Min];

    #[test]
    fn values_by_hand() {
        // Two columns; patches of three bytes, of none, and of one.
        let x = [-1.0, 5.0, -4.0, 2.0, -4.0, -1.0, 9.0, 9.0];
        let range = [0, 3, 3, 3, 3, 4];
        let expected = [
            [-1.0, 5.0, 0.0, 0.0, 9.0, 9.0],
            [-3.0, 2.0, 0.0, 0.0, 9.0, 9.0],
            [-4.0, -1.0, 0.0, 0.0, 9.0, 9.0],
        ];
        for (kind, expected) in KINDS.into_iter().zip(expected) {
            let mut out = [7.0; 6];
            patch_pool(&x, &range, kind, &mut out, 2);
            assert_eq!(out, expected, "{kind:?}");
        }
        let mut dx = [7.0; 8];
        let dpooled = [6.0, 1.0, 50.0, 50.0, 2.0, 3.0];
        patch_pool_grad(&x, &expected[2], &dpooled, &range, PoolKind::Min, &mut dx, 2);
        assert_eq!(dx, [0.0, 0.0, 3.0, 0.0, 3.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn three_equal_bytes_share_evenly() {
        let x = [2.0, 2.0, 1.0, 2.0];
        let mut dx = [7.0; 4];
        patch_pool_grad(&x, &[2.0], &[6.0], &[0, 4], PoolKind::Max, &mut dx, 1);
        assert_eq!(dx, [2.0, 2.0, 0.0, 2.0]);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut random = Random::new(11);
        let (byte_count, cols) = (9, 3);
        // The last byte belongs to no patch.
        let range = [0, 1, 1, 4, 4, 4, 4, 8];
        let dout = random.values(4 * cols);
        let distinct = random.values(byte_count * cols);
        // A central difference moves a maximum shared by two by half a step: an even split.
        let mut tied = distinct.clone();
        for col in 0..cols {
            tied[2 * cols + col] = tied[3 * cols + col];
            tied[cols + col] = tied[3 * cols + col] - 0.5;
            tied[5 * cols + col] = tied[7 * cols + col];
        }
        for x in [distinct, tied] {
            for kind in KINDS {
                let forward = |x: &[f64]| {
                    let mut out = vec![9.0; 4 * cols];
                    patch_pool(x, &range, kind, &mut out, cols);
                    out
                };
                let mut dx = vec![9.0; x.len()];
                patch_pool_grad(&x, &forward(&x), &dout, &range, kind, &mut dx, cols);
                assert_gradient("patch_pool", &x, &dx, |x| inner(&forward(x), &dout));
            }
        }
    }
}
