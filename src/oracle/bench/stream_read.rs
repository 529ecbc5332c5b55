//! The sum of what every invocation of a grid reads.

use crate::oracle::Real;

/// Elements of a vector.
const LANES: usize = 4;

/// `sums[i]` = the sum of the vectors of four elements `i`, `i + n`, `i + 2 n`, .. of `x`, where
/// `n` is the number of sums.
pub fn stream_read<R: Real>(x: &[R], sums: &mut [R]) {
    let count = sums.len();
    for i in 0..count {
        sums[i] = R::zero();
        for vector in (i..x.len() / LANES).step_by(count) {
            for lane in 0..LANES {
                sums[i] += x[vector * LANES + lane];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_is_in_one_sum() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let mut sums = [9.0; 2];
        stream_read(&x, &mut sums);
        // Vectors 0, 2 and 4 begin with 0, 8 and 16; vectors 1 and 3 with 4 and 12.
        assert_eq!(sums, [6.0 + 38.0 + 70.0, 22.0 + 54.0]);
        let mut sums = [9.0; 7];
        stream_read(&x, &mut sums);
        assert_eq!(sums[4..], [70.0, 0.0, 0.0]);
    }
}
