//! Sums of squares of the gradients, group by group, and whether anything in them overflowed.

use crate::oracle::Real;

/// `partial[group] = (Σ g², flag)` over elements `group · group_size ..`; `g [count]`,
/// `partial [ceil(count / group_size), 2]`. An element that is not finite sets the flag to 1 and
/// counts as 0 in the sum; otherwise the flag is 0. The sum itself may overflow.
pub fn grad_norm<R: Real>(g: &[R], partial: &mut [R], group_size: usize) {
    assert!(group_size > 0, "grad_norm: a group has no elements");
    for group in 0..g.len().div_ceil(group_size) {
        let mut squares = R::zero();
        let mut flag = R::zero();
        for i in group * group_size..g.len().min((group + 1) * group_size) {
            if g[i].is_finite() {
                squares += g[i] * g[i];
            } else {
                flag = R::one();
            }
        }
        partial[2 * group] = squares;
        partial[2 * group + 1] = flag;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_squares_and_flags() {
        let g = [1.0_f32, 2.0, 3.0, f32::NAN, 4.0, f32::NEG_INFINITY, -5.0];
        let mut partial = [9.0; 6];
        grad_norm(&g, &mut partial, 3);
        assert_eq!(partial, [14.0, 0.0, 16.0, 1.0, 25.0, 0.0]);
    }

    #[test]
    fn large_gradients_are_no_overflow_by_themselves() {
        let mut partial = [9.0_f32; 2];
        grad_norm(&[1e30], &mut partial, 8);
        assert_eq!(partial, [f32::INFINITY, 0.0]);
    }
}
