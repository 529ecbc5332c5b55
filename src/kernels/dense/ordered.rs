//! Sums in index order, for the CPU variants of the kernels of one fixed order.
//!
//! Every element of a product is one sum that starts at zero and takes its terms in the order of
//! their index, each by one multiply-add. So its bits follow from its own row and column: not from
//! how many rows there are, how they are cut into tiles, or how wide vectors are. Terms of which a
//! factor is zero change nothing.
//!
//! The right factor lies in panels, [panels, depth, width], columns of zeros filling the last one:
//! a tile of the product is then a run over one panel from front to back.

use super::matmul::prepare;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Vectors side by side in a tile.
const VECTORS: usize = 2;

/// Most rows of a tile: with two vectors each, their sums fill the registers of every machine.
pub(in crate::kernels) const MOST_ROWS: usize = 6;

/// Sums of a tile, a row after the other.
pub(in crate::kernels) type Tile<S, const ROWS: usize> = [[<S as Simd>::f32s; VECTORS]; ROWS];

/// Columns of a panel.
#[inline(always)]
pub(in crate::kernels) fn panel_width<S: Simd>() -> usize {
    VECTORS * S::F32_LANES
}

/// Rows of the next tile where at most `left` remain: a few sizes, each compiled on its own.
#[inline(always)]
pub(in crate::kernels) fn tile_rows(left: usize) -> usize {
    match left {
        0..2 => left,
        2..4 => 2,
        4..MOST_ROWS => 4,
        _ => MOST_ROWS,
    }
}

/// Rows [depth] times a panel [depth, width].
#[inline(always)]
pub(in crate::kernels) fn tile<S: Simd, const ROWS: usize>(
    simd: S,
    rows: [&[f32]; ROWS],
    panel: &[f32],
) -> Tile<S, ROWS> {
    let (panel, _) = S::as_simd_f32s(panel);
    let (panel, _) = panel.as_chunks::<VECTORS>();
    let depth = panel.len();
    let rows = rows.map(|row| &row[..depth]);
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for (index, terms) in panel.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let factor = simd.splat_f32s(row[index]);
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum = simd.mul_add_e_f32s(factor, *term, *sum);
            }
        }
    }
    sums
}

/// Fills a panel [depth, width] with columns that lie in memory as slices of `depth` elements.
#[inline(always)]
pub(in crate::kernels) fn pack_columns<'a>(
    panel: &mut [f32],
    width: usize,
    columns: impl ExactSizeIterator<Item = &'a [f32]>,
) {
    if columns.len() < width {
        panel.fill(0.0);
    }
    for (lane, column) in columns.enumerate() {
        for (line, value) in panel.chunks_exact_mut(width).zip(column) {
            line[lane] = *value;
        }
    }
}

/// `out[m, n] = a[m, k] bᵀ (+ out) (+ scale * residual)` with b [n, k], on all cores.
pub(super) fn product(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    accumulate: bool,
    residual: Option<(&[f32], f32)>,
    a: &[f32],
    b: &[f32],
) {
    assert!(m * n > 0 && k > 0, "ordered: a product [{m}, {n}] of {k} terms");
    let width = Arch::new().dispatch(WidthOfPanels);
    let mut panels = vec![0.0; n.div_ceil(width) * k * width];
    panels.par_chunks_mut(k * width).enumerate().for_each(|(index, panel)| {
        let cols = index * width..n.min((index + 1) * width);
        let columns = b[cols.start * k..cols.end * k].chunks_exact(k);
        Arch::new().dispatch(
            #[inline(always)]
            || pack_columns(panel, width, columns),
        );
    });
    out[..m * n].par_chunks_mut(ROWS_PER_PIECE * n).enumerate().for_each(|(index, out)| {
        let first = index * ROWS_PER_PIECE;
        let residual = residual.map(|(values, scale)| (&values[first * n..], scale));
        let adds = prepare(out, accumulate, residual) != 0.0;
        let a = &a[first * k..];
        Arch::new().dispatch(Piece { n, k, out, adds, a, panels: &panels });
    });
}

/// Rows of the result that one thread computes at a time.
const ROWS_PER_PIECE: usize = 16 * MOST_ROWS;

struct WidthOfPanels;

impl WithSimd for WidthOfPanels {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        panel_width::<S>()
    }
}

/// Some rows of a product; a type, so that it is compiled for every width of vectors.
struct Piece<'a> {
    n: usize,
    k: usize,
    out: &'a mut [f32],
    /// Whether to add to `out`.
    adds: bool,
    a: &'a [f32],
    panels: &'a [f32],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let width = panel_width::<S>();
        let row_count = self.out.len() / self.n;
        for (index, panel) in self.panels.chunks_exact(self.k * width).enumerate() {
            let cols = index * width..self.n.min((index + 1) * width);
            let mut row = 0;
            while row < row_count {
                let count = tile_rows(row_count - row);
                match count {
                    MOST_ROWS => self.tile::<S, MOST_ROWS>(simd, row, &cols, panel),
                    4 => self.tile::<S, 4>(simd, row, &cols, panel),
                    2 => self.tile::<S, 2>(simd, row, &cols, panel),
                    _ => self.tile::<S, 1>(simd, row, &cols, panel),
                }
                row += count;
            }
        }
    }
}

impl Piece<'_> {
    /// ROWS rows of `cols`.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        row: usize,
        cols: &Range<usize>,
        panel: &[f32],
    ) {
        let rows = std::array::from_fn(|index| &self.a[(row + index) * self.k..][..self.k]);
        let sums: Tile<S, ROWS> = tile(simd, rows, panel);
        for (index, sums) in sums.iter().enumerate() {
            let sums: &[f32] = bytemuck::cast_slice(sums);
            let out = &mut self.out[(row + index) * self.n..][cols.clone()];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = if self.adds { *out + sum } else { *sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::values;

    /// One multiply-add after the other, as this machine does them.
    fn sum_in_order(a: &[f32], b: &[f32]) -> f32 {
        struct Sum<'a>(&'a [f32], &'a [f32]);
        impl WithSimd for Sum<'_> {
            type Output = f32;
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                let mut sum = simd.splat_f32s(0.0);
                for (a, b) in self.0.iter().zip(self.1) {
                    sum = simd.mul_add_e_f32s(simd.splat_f32s(*a), simd.splat_f32s(*b), sum);
                }
                bytemuck::cast_slice::<_, f32>(&[sum])[0]
            }
        }
        Arch::new().dispatch(Sum(a, b))
    }

    #[test]
    fn every_element_is_one_sum_in_order() {
        for [m, n, k] in [[1, 1, 1], [3, 70, 19], [5, 31, 64], [7, 33, 5], [205, 40, 130]] {
            let (a, b) = (values(1, m * k), values(2, n * k));
            let (residual, before) = (values(3, m * n), values(4, m * n));
            for (accumulate, scale) in [(false, 0.0), (true, 0.0), (false, 1.0), (true, 2.0)] {
                let mut out = before.clone();
                let added = (scale != 0.0).then_some((&residual[..], scale));
                product([m, n, k], &mut out, accumulate, added, &a, &b);
                for (at, out) in out.iter().enumerate() {
                    let (row, col) = (at / n, at % n);
                    let sum = sum_in_order(&a[row * k..][..k], &b[col * k..][..k]);
                    let kept = if accumulate { before[at] } else { 0.0 };
                    let kept = if scale == 0.0 { kept } else { kept + scale * residual[at] };
                    let expected = if accumulate || scale != 0.0 { kept + sum } else { sum };
                    assert_eq!(out.to_bits(), expected.to_bits(), "{m}x{n}x{k} at {at}");
                }
            }
        }
    }
}
