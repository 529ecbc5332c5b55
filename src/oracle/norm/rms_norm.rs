//! Root-mean-square normalisation of rows with a learned gain (spec §5.1).
//!
//! `x`, `out`, `dout`, `dx` are `[rows, cols]`, `gain` is `[cols]`, `inverse_rms` is `[rows]`.

use crate::oracle::Real;

/// `inverse_rms = 1 / sqrt(mean(x²) + eps)`, `out = x · inverse_rms · gain`, row by row.
pub fn rms_norm<R: Real>(
    x: &[R],
    gain: &[R],
    out: &mut [R],
    inverse_rms: &mut [R],
    rows: usize,
    cols: usize,
    eps: R,
) {
    for row in 0..rows {
        let x = &x[row * cols..][..cols];
        let mut squares = R::zero();
        for col in 0..cols {
            squares += x[col] * x[col];
        }
        let scale = R::one() / (squares / R::of(cols as f64) + eps).sqrt();
        inverse_rms[row] = scale;
        for col in 0..cols {
            out[row * cols + col] = x[col] * scale * gain[col];
        }
    }
}

/// Gradient of [`rms_norm`] with respect to `x`, with `r = inverse_rms` and `x̂ = x · r`:
/// `dx = r · (gain · dout - x̂ · mean(gain · dout · x̂))`.
pub fn rms_norm_grad<R: Real>(
    dout: &[R],
    x: &[R],
    gain: &[R],
    inverse_rms: &[R],
    dx: &mut [R],
    rows: usize,
    cols: usize,
) {
    for row in 0..rows {
        let scale = inverse_rms[row];
        let mut projection = R::zero();
        for col in 0..cols {
            let at = row * cols + col;
            projection += gain[col] * dout[at] * x[at] * scale;
        }
        let mean = projection / R::of(cols as f64);
        for col in 0..cols {
            let at = row * cols + col;
            dx[at] = scale * (gain[col] * dout[at] - x[at] * scale * mean);
        }
    }
}

/// Gradient of [`rms_norm`] with respect to `gain`, as one partial sum per chunk of rows:
/// `partial[chunk, col] = Σ dout · x · inverse_rms` over rows `chunk · rows_per_chunk ..`, with
/// `ceil(rows / rows_per_chunk)` chunks. `sum_rows` of the chunks is the gradient.
pub fn rms_norm_gain_grad<R: Real>(
    dout: &[R],
    x: &[R],
    inverse_rms: &[R],
    partial: &mut [R],
    rows: usize,
    cols: usize,
    rows_per_chunk: usize,
) {
    assert!(rows_per_chunk > 0, "rms_norm_gain_grad: a chunk has no rows");
    for chunk in 0..rows.div_ceil(rows_per_chunk) {
        for col in 0..cols {
            let mut sum = R::zero();
            for row in chunk * rows_per_chunk..rows.min((chunk + 1) * rows_per_chunk) {
                let at = row * cols + col;
                sum += dout[at] * x[at] * inverse_rms[row];
            }
            partial[chunk * cols + col] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::{Random, assert_close, assert_gradient, inner};
    use crate::oracle::reduce::sum_rows;

    const EPS: f64 = 1e-2;

    #[test]
    fn values_by_hand() {
        // mean square of (3, 4) is 12.5; with eps 3.5 the root is 4.
        let (mut out, mut inverse_rms) = ([0.0; 4], [0.0; 2]);
        let x = [3.0, 4.0, 0.0, 0.0];
        rms_norm(&x, &[2.0, -1.0], &mut out, &mut inverse_rms, 2, 2, 3.5);
        assert_close("out", &[1.5, -1.0, 0.0, 0.0], &out, 1e-15);
        assert_close("inverse_rms", &[0.25, 3.5_f64.sqrt().recip()], &inverse_rms, 1e-15);
    }

    #[test]
    fn rows_come_out_with_unit_mean_square() {
        let x = Random::new(6).values(3 * 50);
        let (mut out, mut inverse_rms) = (vec![0.0; 150], vec![0.0; 3]);
        rms_norm(&x, &[1.0; 50], &mut out, &mut inverse_rms, 3, 50, 0.0);
        for row in out.chunks(50) {
            assert_close("mean square", &[1.0], &[inner(row, row) / 50.0], 1e-12);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut random = Random::new(7);
        let (rows, cols) = (5, 4);
        let x = random.values(rows * cols);
        let gain = random.values(cols);
        let dout = random.values(rows * cols);
        let forward = |x: &[f64], gain: &[f64]| {
            let (mut out, mut inverse_rms) = (vec![0.0; rows * cols], vec![0.0; rows]);
            rms_norm(x, gain, &mut out, &mut inverse_rms, rows, cols, EPS);
            (inner(&out, &dout), inverse_rms)
        };
        let inverse_rms = forward(&x, &gain).1;
        let mut dx = vec![0.0; rows * cols];
        rms_norm_grad(&dout, &x, &gain, &inverse_rms, &mut dx, rows, cols);
        assert_gradient("dx", &x, &dx, |x| forward(x, &gain).0);
        for rows_per_chunk in [1, 2, 5, 100] {
            let chunk_count = rows.div_ceil(rows_per_chunk);
            let mut partial = vec![9.0; chunk_count * cols];
            rms_norm_gain_grad(&dout, &x, &inverse_rms, &mut partial, rows, cols, rows_per_chunk);
            let mut dgain = vec![0.0; cols];
            sum_rows(&partial, &mut dgain, chunk_count, cols, false);
            assert_gradient("dgain", &gain, &dgain, |gain| forward(&x, gain).0);
        }
    }
}
