//! Products of 16 x 16 matrices that add up.

use crate::oracle::Real;

/// Matrices on either side.
const SIDE: usize = 4;

/// Every slot of `out` [slots, 16, 16] = `step_count` times the sum over i, j < 4 of `a[i] b[j]`;
/// `a` and `b` are [4, 16, 16], row-major.
pub fn matrix_f16<R: Real>(a: &[R], b: &[R], step_count: usize, out: &mut [R]) {
    for slot in out.chunks_exact_mut(256) {
        for row in 0..16 {
            for col in 0..16 {
                let mut sum = R::zero();
                for _ in 0..step_count {
                    for (i, j) in (0..SIDE * SIDE).map(|tile| (tile / SIDE, tile % SIDE)) {
                        for k in 0..16 {
                            sum += a[i * 256 + row * 16 + k] * b[j * 256 + k * 16 + col];
                        }
                    }
                }
                slot[row * 16 + col] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_meet_columns_of_b() {
        let (mut a, mut b) = (vec![0.0_f64; 1024], vec![0.0; 1024]);
        // a[1] has 2 at (3, 5), b[2] has 7 at (5, 11): their product has 14 at (3, 11).
        a[256 + 3 * 16 + 5] = 2.0;
        b[2 * 256 + 5 * 16 + 11] = 7.0;
        let mut out = vec![1.0; 512];
        matrix_f16(&a, &b, 3, &mut out);
        for slot in out.chunks_exact(256) {
            assert_eq!(slot[3 * 16 + 11], 42.0);
            assert_eq!(slot.iter().sum::<f64>(), 42.0);
        }
    }
}
