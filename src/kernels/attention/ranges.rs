//! Which rows of the other side each row sees, a tile of rows at a time.

use std::ops::Range;

/// One contiguous range of the other side's rows for every row of this side.
#[derive(Clone, Copy)]
pub(super) struct Ranges<'a> {
    /// `[entries, 2]`.
    pub pairs: &'a [u32],
    /// Rows of this side that share an entry.
    pub row_factor: usize,
    /// Rows of the other side per unit of a range.
    pub unit: usize,
}

/// Rows of this side that the CPU variants treat together, and that one thread owns.
pub(super) const TILE_ROWS: usize = 64;

impl Ranges<'_> {
    /// What `row` sees.
    #[inline(always)]
    pub fn of(&self, row: usize) -> Range<usize> {
        let at = row / self.row_factor * 2;
        self.pairs[at] as usize * self.unit..self.pairs[at + 1] as usize * self.unit
    }

    /// From the first to the last row that any of `rows` sees; `0..0` if they see nothing.
    pub fn union(&self, rows: Range<usize>) -> Range<usize> {
        let seen = rows.map(|row| self.of(row)).filter(|range| !range.is_empty());
        let whole = seen.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        whole.unwrap_or(0..0)
    }

    /// How many rows that one of `rows` sees that sees most.
    pub fn longest(&self, rows: Range<usize>) -> usize {
        rows.map(|row| self.of(row).len()).max().unwrap_or(0)
    }

    /// Whether a product of all `rows` with all of `union` costs less than one of each row with its
    /// own range: matrix products run several times as fast as loops over short ranges.
    pub fn are_dense(&self, rows: Range<usize>, union: &Range<usize>) -> bool {
        let all = rows.len() * union.len();
        let seen: usize = rows.map(|row| self.of(row).len()).sum();
        all <= PRODUCT_GAIN * seen && union.len() >= SMALLEST_PRODUCT
    }
}

/// How much faster a matrix product is than loops, per multiply-add.
const PRODUCT_GAIN: usize = 4;

/// Rows of the other side below which a product brings nothing.
const SMALLEST_PRODUCT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unions_skip_empty_ranges() {
        let pairs = [9, 9, 2, 4, 3, 5, 0, 0];
        let ranges = Ranges { pairs: &pairs, row_factor: 2, unit: 3 };
        assert_eq!(ranges.of(3), 6..12);
        assert_eq!(ranges.union(0..8), 6..15);
        assert_eq!(ranges.union(0..2), 0..0);
    }

    #[test]
    fn windows_are_dense_and_patches_are_not() {
        let window: Vec<u32> = (512..576).flat_map(|i| [i - 511, i + 1]).collect();
        let ranges = Ranges { pairs: &window, row_factor: 1, unit: 1 };
        assert!(ranges.are_dense(0..64, &ranges.union(0..64)));
        let patches: Vec<u32> = (0..16).flat_map(|i| [4 * i, 4 * i + 4]).collect();
        let ranges = Ranges { pairs: &patches, row_factor: 4, unit: 1 };
        assert!(!ranges.are_dense(0..64, &ranges.union(0..64)));
    }
}
