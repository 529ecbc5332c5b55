//! The CPU variants' tile of scores: up to 64 rows against a run of columns, column by column.
//!
//! Element (row, column) lies at `column * TILE_ROWS + row`. So a product writes it as fast as it
//! can, and softmax runs down the rows without sums across a vector. What a row does not see
//! becomes zero. Loops run over all rows of a tile: longer than compilers unroll, so that they
//! vectorise.

use super::fast_exp::exp;
use super::ranges::{Ranges, TILE_ROWS};
use crate::kernels::dense::gemm::Layout;
use std::ops::Range;

/// One number for each row of a tile.
pub(super) type RowValues = [f32; TILE_ROWS];

/// A tile of scores as a matrix [rows, columns].
pub(super) const LAYOUT: Layout = Layout { offset: 0, row_stride: 1, col_stride: TILE_ROWS };

/// Numbers of a tile of `column_count` columns.
pub(super) fn length(column_count: usize) -> usize {
    TILE_ROWS * column_count
}

/// Which columns each row of a tile sees.
pub(super) struct Seen {
    /// The first one, and how many.
    low: [u32; TILE_ROWS],
    length: [u32; TILE_ROWS],
}

impl Seen {
    /// Ranges of `rows`, counted from the start of `columns`; rows beyond them see nothing.
    pub fn new(ranges: &Ranges, rows: Range<usize>, columns: &Range<usize>) -> Self {
        let mut seen = Self { low: [0; TILE_ROWS], length: [0; TILE_ROWS] };
        for (lane, row) in rows.enumerate() {
            let range = ranges.of(row);
            if !range.is_empty() {
                seen.low[lane] = (range.start - columns.start) as u32;
                seen.length[lane] = range.len() as u32;
            }
        }
        seen
    }

    #[inline(always)]
    fn sees(&self, lane: usize, column: usize) -> bool {
        (column as u32).wrapping_sub(self.low[lane]) < self.length[lane]
    }
}

/// Turns scores into weights relative to the largest of each row. Returns what was subtracted
/// from `scale * score`, and the sums of the weights; -1e30 times `scale` and 0 for an empty row.
#[inline(always)]
pub(super) fn weigh(scores: &mut [f32], seen: &Seen, scale: f32) -> (RowValues, RowValues) {
    let mut shift = [-1e30; TILE_ROWS];
    for (column, line) in lines(scores).iter().enumerate() {
        for lane in 0..TILE_ROWS {
            let score = if seen.sees(lane, column) { line[lane] } else { -1e30 };
            shift[lane] = if score > shift[lane] { score } else { shift[lane] };
        }
    }
    shift.iter_mut().for_each(|shift| *shift *= scale);
    let mut sum = [0.0; TILE_ROWS];
    for (column, line) in lines(scores).iter_mut().enumerate() {
        for lane in 0..TILE_ROWS {
            let weight = exp(scale * line[lane] - shift[lane]);
            let weight = if seen.sees(lane, column) { weight } else { 0.0 };
            line[lane] = weight;
            sum[lane] += weight;
        }
    }
    (shift, sum)
}

/// Turns scores into `scale * weight * (dweight - delta)`; rows are queries.
#[inline(always)]
pub(super) fn differentiate_queries(
    scores: &mut [f32],
    dweights: &mut [f32],
    seen: &Seen,
    (log_sum_exp, delta): (&RowValues, &RowValues),
    scale: f32,
) {
    let both = lines(scores).iter_mut().zip(lines(dweights));
    for (column, (score, dweight)) in both.enumerate() {
        for lane in 0..TILE_ROWS {
            let weight = exp(scale * score[lane] - log_sum_exp[lane]);
            let dscore = scale * weight * (dweight[lane] - delta[lane]);
            score[lane] = if seen.sees(lane, column) { dscore } else { 0.0 };
        }
    }
}

/// Turns scores into weights and `dweights` into `scale * weight * (dweight - delta)`; columns are
/// queries, each with its `log_sum_exp` and delta.
#[inline(always)]
pub(super) fn differentiate_keys(
    scores: &mut [f32],
    dweights: &mut [f32],
    seen: &Seen,
    saved: &[[f32; 2]],
    scale: f32,
) {
    let both = lines(scores).iter_mut().zip(lines(dweights)).zip(saved);
    for (column, ((score, dweight), [shift, delta])) in both.enumerate() {
        for lane in 0..TILE_ROWS {
            let weight = exp(scale * score[lane] - shift);
            let weight = if seen.sees(lane, column) { weight } else { 0.0 };
            score[lane] = weight;
            dweight[lane] = scale * weight * (dweight[lane] - delta);
        }
    }
}

/// The columns of a tile.
#[inline(always)]
fn lines(scores: &mut [f32]) -> &mut [RowValues] {
    let (lines, rest) = scores.as_chunks_mut();
    assert!(rest.is_empty(), "a tile has whole columns");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_plain_loops() {
        let pairs = [3, 6, 4, 4, 2, 40];
        let ranges = Ranges { pairs: &pairs, row_factor: 9, unit: 1 };
        let (rows, columns) = (0..27, 2..40);
        let seen = Seen::new(&ranges, rows.clone(), &columns);
        let mut scores = vec![0.0; length(columns.len())];
        for (index, score) in scores.iter_mut().enumerate() {
            *score = (index % 23) as f32 - 9.0;
        }
        let before = scores.clone();
        let (shifts, sums) = weigh(&mut scores, &seen, 0.5);
        for row in rows {
            let range = ranges.of(row);
            let score = |column: usize| before[(column - 2) * TILE_ROWS + row];
            let largest = range.clone().map(score).fold(-1e30, f32::max);
            let weight = |column: usize| (0.5 * (score(column) - largest)).exp();
            let sum: f32 = range.clone().map(weight).sum();
            assert!((sums[row] - sum).abs() <= 1e-5 * sum && shifts[row] == 0.5 * largest);
            for column in columns.clone() {
                let expected = if range.contains(&column) { weight(column) } else { 0.0 };
                let got = scores[(column - 2) * TILE_ROWS + row];
                assert!((got - expected).abs() < 1e-6, "row {row}, column {column}");
            }
        }
    }
}
