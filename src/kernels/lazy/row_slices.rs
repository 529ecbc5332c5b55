//! Row ranges of a matrix that do not overlap, each as a mutable slice of its own: a list, so that
//! the same rows of several matrices can be walked side by side.

use std::ops::Range;

/// The slices of `matrix` [rows, cols] for `range_count` ranges of rows, each with the index of its
/// range. They come in increasing order of their rows, in whatever order the ranges are.
///
/// # Panics
/// If two ranges overlap or one leaves the matrix.
pub(super) fn disjoint_rows(
    mut matrix: &mut [f32],
    cols: usize,
    range_count: usize,
    range: impl Fn(usize) -> Range<usize>,
) -> Vec<(usize, &mut [f32])> {
    // The end decides between ranges that begin together: the empty one comes first.
    let key = |index: &usize| (range(*index).start, range(*index).end);
    let mut order: Vec<usize> = (0..range_count).collect();
    if !order.is_sorted_by_key(key) {
        order.sort_unstable_by_key(key);
    }
    let mut behind = 0;
    let mut slices = Vec::with_capacity(range_count);
    for index in order {
        let Range { start, end } = range(index);
        if start >= end {
            continue;
        }
        assert!(start >= behind, "rows {start}..{end} overlap those that end at {behind}");
        let rest = matrix.split_at_mut((start - behind) * cols).1;
        let (slice, rest) = rest.split_at_mut((end - start) * cols);
        slices.push((index, slice));
        matrix = rest;
        behind = end;
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(ranges: &[Range<usize>]) -> Vec<(usize, Vec<f32>)> {
        let mut matrix = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let slices = disjoint_rows(&mut matrix, 2, ranges.len(), |index| ranges[index].clone());
        slices.into_iter().map(|(index, slice)| (index, slice.to_vec())).collect()
    }

    #[test]
    fn slices_are_those_of_their_ranges_in_any_order() {
        assert_eq!(slices(&[0..1, 2..4]), [(0, vec![0.0, 1.0]), (1, vec![4.0, 5.0, 6.0, 7.0])]);
        assert_eq!(slices(&[3..4, 1..3]), [(1, vec![2.0, 3.0, 4.0, 5.0]), (0, vec![6.0, 7.0])]);
    }

    #[test]
    fn empty_ranges_have_no_slice() {
        assert_eq!(slices(&[1..1, 0..1, 1..2]), [(1, vec![0.0, 1.0]), (2, vec![2.0, 3.0])]);
        assert_eq!(slices(&[2..2, 2..3, 2..2]), [(1, vec![4.0, 5.0])]);
        assert!(slices(&[]).is_empty());
    }

    #[test]
    #[should_panic(expected = "rows 1..3 overlap those that end at 2")]
    fn an_overlap_is_refused() {
        slices(&[0..2, 1..3]);
    }
}
