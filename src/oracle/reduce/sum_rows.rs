//! The rows of `x [rows, cols]` summed into `out [cols]`.

use crate::oracle::Real;

/// `out[col] = Σ x[row, col]` over rows in order (`accumulate`: added to what `out` holds).
pub fn sum_rows<R: Real>(x: &[R], out: &mut [R], rows: usize, cols: usize, accumulate: bool) {
    for col in 0..cols {
        let mut total = R::zero();
        for row in 0..rows {
            total += x[row * cols + col];
        }
        out[col] = if accumulate { out[col] + total } else { total };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwrites_or_adds() {
        let x = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0];
        let mut out = [0.5, 0.25];
        sum_rows(&x, &mut out, 3, 2, true);
        assert_eq!(out, [111.5, 222.25]);
        sum_rows(&x, &mut out, 3, 2, false);
        assert_eq!(out, [111.0, 222.0]);
        sum_rows(&[], &mut out, 0, 2, false);
        assert_eq!(out, [0.0, 0.0]);
    }
}
