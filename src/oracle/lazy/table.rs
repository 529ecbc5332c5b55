//! Rows of a table, and the places where the gradients of touched ones lie.

use std::ops::Range;

/// Weights and moments `[_, cols]` of the rows `first_row..` of a table.
pub struct Shard<'a, R> {
    pub first_row: usize,
    pub cols: usize,
    pub w: &'a mut [R],
    pub m: &'a mut [R],
    pub v: &'a mut [R],
}

impl<R> Shard<'_, R> {
    /// Where a row of the table lies, if it lies here.
    pub(super) fn elements(&self, row: usize) -> Option<Range<usize>> {
        elements(row, self.first_row, self.cols, self.w.len())
    }
}

/// Where a row lies in `length` elements that begin with row `first_row`, if it lies there.
pub(super) fn elements(
    row: usize,
    first_row: usize,
    cols: usize,
    length: usize,
) -> Option<Range<usize>> {
    let first = row.checked_sub(first_row)? * cols;
    (first + cols <= length).then_some(first..first + cols)
}

/// The rows that gradients have reached: `rows`, increasing, are rows of the table; the gradient of
/// `rows[i]` is row `slots[i]` of a gradient `[slots, cols]`. All others have a gradient of zero,
/// which lies nowhere.
#[derive(Clone, Copy)]
pub struct TouchedRows<'a> {
    pub rows: &'a [u32],
    pub slots: &'a [u32],
}

impl TouchedRows<'_> {
    /// Pairs of row and slot.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.rows.iter().zip(self.slots).map(|(&row, &slot)| (row as usize, slot as usize))
    }
}
