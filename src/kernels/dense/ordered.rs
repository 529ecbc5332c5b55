//! Tiles of sums in index order, for the CPU variant of `attention_row`.
//!
//! Every element of a product is one sum that starts at zero and takes its terms in the order of
//! their index, each by one multiply-add. So its bits follow from its own row and column: not from
//! how many rows there are, how they are cut into tiles, or how wide vectors are. Terms of which a
//! factor is zero change nothing.
//!
//! The right factor lies in panels, [panels, depth, width], columns of zeros filling the last one:
//! a tile of the product is then a run over one panel from front to back.

use pulp::{Arch, Simd, WithSimd};

/// Vectors side by side in a tile.
pub(super) const VECTORS: usize = 2;

/// Most rows of a tile: with two vectors each, their sums fill the registers of every machine.
pub(in crate::kernels) const MOST_ROWS: usize = 6;

/// Sums of a tile, a row after the other.
pub(in crate::kernels) type Tile<S, const ROWS: usize> = [[<S as Simd>::f32s; VECTORS]; ROWS];

/// Columns of a panel.
#[inline(always)]
pub(in crate::kernels) fn panel_width<S: Simd>() -> usize {
    VECTORS * S::F32_LANES
}

/// Columns of a panel on this machine.
pub(in crate::kernels) fn widest_panel() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            panel_width::<S>()
        }
    }
    Arch::new().dispatch(Width)
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
