//! Row ranges of a matrix that do not overlap, each as a mutable slice of its own, written by all
//! threads side by side.

use std::ops::Range;

/// Calls `work` on all cores with the index of every range and the slice of `matrix` [rows, cols]
/// that it is; empty ranges are left out. Ranges in increasing order of their rows take no memory,
/// others are sorted first.
///
/// # Panics
/// If two ranges overlap or one leaves the matrix.
pub(in crate::kernels) fn for_disjoint_rows(
    matrix: &mut [f32],
    cols: usize,
    range_count: usize,
    range: impl Fn(usize) -> Range<usize> + Sync,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    // The end decides between ranges that begin together: the empty one comes first.
    let key = |index: &usize| (range(*index).start, range(*index).end);
    if (0..range_count).is_sorted_by_key(|index| key(&index)) {
        let all = Ranges { cols, range, work: &work };
        all.run(matrix, 0, 0..range_count);
        return;
    }
    let mut order: Vec<usize> = (0..range_count).collect();
    order.sort_unstable_by_key(key);
    let sorted = |place: usize| range(order[place]);
    let work = |place: usize, slice: &mut [f32]| work(order[place], slice);
    Ranges { cols, range: sorted, work: &work }.run(matrix, 0, 0..range_count);
}

/// Ranges in increasing order, and what is to be done with them.
struct Ranges<'a, R, W> {
    cols: usize,
    range: R,
    work: &'a W,
}

/// Ranges that one thread walks.
const RANGES_PER_TASK: usize = 32;

impl<R: Fn(usize) -> Range<usize> + Sync, W: Fn(usize, &mut [f32]) + Sync> Ranges<'_, R, W> {
    /// The ranges `indices`, which lie in `matrix`, whose first row is `first`.
    fn run(&self, mut matrix: &mut [f32], first: usize, indices: Range<usize>) {
        if indices.len() > RANGES_PER_TASK {
            let middle = indices.start + indices.len() / 2;
            let border = (self.range)(middle).start;
            assert!(border >= first, "ranges {indices:?} do not increase");
            let (left, right) = matrix.split_at_mut((border - first) * self.cols);
            rayon::join(
                || self.run(left, first, indices.start..middle),
                || self.run(right, border, middle..indices.end),
            );
            return;
        }
        let mut behind = first;
        for index in indices {
            let Range { start, end } = (self.range)(index);
            if start >= end {
                continue;
            }
            assert!(start >= behind, "rows {start}..{end} overlap those that end at {behind}");
            let rest = matrix.split_at_mut((start - behind) * self.cols).1;
            let (slice, rest) = rest.split_at_mut((end - start) * self.cols);
            (self.work)(index, slice);
            matrix = rest;
            behind = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn slices(ranges: &[Range<usize>]) -> Vec<(usize, Vec<f32>)> {
        let mut matrix = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let slices = Mutex::new(Vec::new());
        let range = |index: usize| ranges[index].clone();
        for_disjoint_rows(&mut matrix, 2, ranges.len(), range, |index, slice| {
            slices.lock().unwrap().push((index, slice.to_vec()));
        });
        slices.into_inner().unwrap()
    }

    #[test]
    fn slices_are_those_of_their_ranges_in_any_order() {
        assert_eq!(slices(&[0..1, 2..4]), [(0, vec![0.0, 1.0]), (1, vec![4.0, 5.0, 6.0, 7.0])]);
        assert_eq!(slices(&[3..4, 1..3]), [(1, vec![2.0, 3.0, 4.0, 5.0]), (0, vec![6.0, 7.0])]);
    }

    #[test]
    fn many_ranges_are_all_written_once() {
        let mut matrix = vec![0.0; 3 * 500];
        // Every third row, backwards and forwards.
        for backwards in [false, true] {
            let place = |index: usize| 3 * if backwards { 165 - index } else { index };
            let range = |index: usize| place(index)..place(index) + 1;
            for_disjoint_rows(&mut matrix, 3, 166, range, |index, row| row[1] += index as f32);
        }
        for (at, value) in matrix.iter().enumerate() {
            let expected = if at % 9 == 1 && at < 9 * 166 { 165.0 } else { 0.0 };
            assert_eq!(*value, expected, "at {at}");
        }
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
