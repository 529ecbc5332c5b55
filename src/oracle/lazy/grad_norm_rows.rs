//! Sums of squares of a gradient of which only touched rows lie in memory.

use super::table::{TouchedRows, elements};
use crate::oracle::Real;
use crate::oracle::optim::grad_norm;

/// [`grad_norm()`] of `length` elements, from row `first_row` on, of the gradient of the whole
/// table, as if it lay in memory. `gradient` is [slots, cols].
pub fn grad_norm_rows<R: Real>(
    touched: TouchedRows<'_>,
    gradient: &[R],
    partial: &mut [R],
    cols: usize,
    [first_row, length, group_size]: [usize; 3],
) {
    let mut dense = vec![R::zero(); length];
    for (row, slot) in touched.pairs() {
        if let Some(at) = elements(row, first_row, cols, length) {
            dense[at].copy_from_slice(&gradient[slot * cols..(slot + 1) * cols]);
        }
    }
    grad_norm(&dense, partial, group_size);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_that_of_the_whole_gradient() {
        // Rows 1 and 4 of six, of two columns; groups of three elements cut between columns.
        let mut partial = [9.0; 8];
        let gradient = [3.0, 4.0, 1.0, 2.0];
        let touched = TouchedRows { rows: &[1, 4], slots: &[1, 0] };
        grad_norm_rows(touched, &gradient, &mut partial, 2, [0, 12, 3]);
        assert_eq!(partial, [1.0, 0.0, 4.0, 0.0, 9.0, 0.0, 16.0, 0.0]);
        // From row 3 on only one of them is there.
        let mut partial = [9.0; 2];
        grad_norm_rows(touched, &gradient, &mut partial, 2, [3, 6, 6]);
        assert_eq!(partial, [25.0, 0.0]);
    }
}
