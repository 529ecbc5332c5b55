//! Rotary position embedding of interleaved pairs (spec §5.4).
//!
//! `x` and `out` are `[rows, cols]`; the first `rotated_cols` columns are heads of `head_dim`
//! columns each (queries and keys side by side), the rest is copied (values). `table` is
//! `[positions, head_dim]` and holds, for every position and pair, the cosine and then the sine.

use crate::oracle::Real;

/// What one call of [`rope`] covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RopeShape {
    pub rows: usize,
    pub cols: usize,
    /// The columns that are rotated, a multiple of `head_dim`.
    pub rotated_cols: usize,
    /// Even.
    pub head_dim: usize,
}

/// Rotates each pair `(x[2m], x[2m + 1])` of each head by the angle of the row's position:
/// `(x₀ cos - sign·x₁ sin, sign·x₀ sin + x₁ cos)`. `sign` 1 is the forward pass, -1 its gradient.
pub fn rope<R: Real>(
    x: &[R],
    position: &[u32],
    table: &[R],
    out: &mut [R],
    shape: &RopeShape,
    sign: R,
) {
    let RopeShape { rows, cols, rotated_cols, head_dim } = *shape;
    assert!(head_dim.is_multiple_of(2), "rope: a head has an odd number of columns");
    assert!(rotated_cols.is_multiple_of(head_dim) && rotated_cols <= cols, "rope: not whole heads");
    for row in 0..rows {
        let angles = &table[position[row] as usize * head_dim..][..head_dim];
        for col in (0..rotated_cols).step_by(2) {
            let cosine = angles[col % head_dim];
            let sine = sign * angles[col % head_dim + 1];
            let at = row * cols + col;
            out[at] = x[at] * cosine - x[at + 1] * sine;
            out[at + 1] = x[at] * sine + x[at + 1] * cosine;
        }
        for col in rotated_cols..cols {
            out[row * cols + col] = x[row * cols + col];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::{Random, assert_close, assert_gradient, inner};

    const SHAPE: RopeShape = RopeShape { rows: 5, cols: 11, rotated_cols: 8, head_dim: 4 };
    const POSITION: [u32; 5] = [0, 1, 2, 0, 6];

    /// Cosines and sines of `position · theta^(-2m / head_dim)`.
    fn table(positions: usize, head_dim: usize, theta: f64) -> Vec<f64> {
        let mut table = Vec::new();
        for position in 0..positions {
            for pair in 0..head_dim / 2 {
                let rate = theta.powf(-2.0 * pair as f64 / head_dim as f64);
                table.push((position as f64 * rate).cos());
                table.push((position as f64 * rate).sin());
            }
        }
        table
    }

    #[test]
    fn a_quarter_turn_by_hand() {
        let shape = RopeShape { rows: 1, cols: 5, rotated_cols: 4, head_dim: 4 };
        // The first pair turns by 90 degrees, the second stays; the last column is no head.
        let mut out = [0.0; 5];
        rope(&[1.0, 2.0, 3.0, 4.0, 5.0], &[0], &[0.0, 1.0, 1.0, 0.0], &mut out, &shape, 1.0);
        assert_eq!(out, [-2.0, 1.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn it_is_a_rotation_with_its_inverse_by_sign() {
        let x = Random::new(8).values(5 * 11);
        let table = table(7, 4, 100.0);
        let (mut turned, mut back) = (vec![0.0; 55], vec![0.0; 55]);
        rope(&x, &POSITION, &table, &mut turned, &SHAPE, 1.0);
        rope(&turned, &POSITION, &table, &mut back, &SHAPE, -1.0);
        assert_close("back", &x, &back, 1e-14);
        let moved: f64 = x.iter().zip(&turned).map(|(a, b)| (a - b).abs()).sum();
        assert!(moved > 1.0);
        for (row, position) in POSITION.iter().enumerate() {
            let (x, turned) = (&x[row * 11..][..11], &turned[row * 11..][..11]);
            assert_close("norm", &[inner(x, x)], &[inner(turned, turned)], 1e-13);
            assert_eq!(x[8..], turned[8..]);
            assert_eq!(*position == 0, x == turned);
        }
    }

    #[test]
    fn products_depend_on_the_distance_only() {
        let shape = RopeShape { rows: 2, cols: 6, rotated_cols: 6, head_dim: 6 };
        let x = Random::new(9).values(12);
        let table = table(30, 6, 10_000.0);
        let product = |positions: [u32; 2]| {
            let mut out = vec![0.0; 12];
            rope(&x, &positions, &table, &mut out, &shape, 1.0);
            inner(&out[..6], &out[6..])
        };
        assert_close("shifted", &[product([3, 8])], &[product([24, 29])], 1e-12);
        assert!((product([3, 8]) - product([3, 9])).abs() > 1e-6);
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let mut random = Random::new(10);
        let (x, dout) = (random.values(55), random.values(55));
        let table = table(7, 4, 100.0);
        let mut dx = vec![0.0; 55];
        rope(&dout, &POSITION, &table, &mut dx, &SHAPE, -1.0);
        assert_gradient("rope", &x, &dx, |x| {
            let mut out = vec![0.0; 55];
            rope(x, &POSITION, &table, &mut out, &SHAPE, 1.0);
            inner(&out, &dout)
        });
    }
}
