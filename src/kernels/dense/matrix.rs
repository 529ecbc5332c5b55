//! The variants of products on matrix units: operands in f16, sums in f32, tiles of 128 x 128.

use super::matmul::Params;
use crate::kernels::{Counts, Extent, Halves, Needs, Variant, WIDE};

/// Side of a tile.
const TILE: usize = 128;

const NEEDS: Needs = Needs {
    subgroups: true,
    f16: true,
    cooperative_matrix: true,
    workgroup_bytes: 24_576,
    ..Needs::NOTHING
};

/// A workgroup a tile.
pub(super) const fn matrix(source: &'static str, takes: fn(&[u8], Halves) -> bool) -> Variant {
    Variant {
        name: "matrix",
        source,
        defines: &[(WIDE, 1)],
        needs: NEEDS,
        takes,
        suits: |_| true,
        keeps_bits: false,
        groups,
    }
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = |extent: Extent| extent.length(counts).div_ceil(TILE).max(1) as u32;
    [tiles(params.n), tiles(params.m), params.batch_count * params.split_count]
}

/// Operands as [`operands_are_halves`]; what is added to the products, and then their sum, in f32.
pub(super) fn takes(params: &[u8], halves: Halves) -> bool {
    let Params { residual_scale, .. } = bytemuck::pod_read_unaligned(params);
    let sum_is_f32 = !halves.contains(2) && !halves.contains(3);
    operands_are_halves(params, halves) && (residual_scale == 0.0 || sum_is_f32)
}

/// Whether stored rows are whole vectors of four, and not of eight.
pub(super) fn is_by_four(row: Extent) -> bool {
    row.constant().is_some_and(|count| count % 8 == 4)
}

/// Operands in f16, the stored rows of a whole vectors of four, of b of eight.
pub(super) fn operands_are_halves(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [a_row, b_row] = params.stored_rows();
    let whole = |extent: Extent, lanes: usize| {
        extent.constant().is_some_and(|count| count.is_multiple_of(lanes))
    };
    let operands = halves.contains(0) && halves.contains(1);
    operands && whole(a_row, 4) && whole(b_row, 8) && whole(params.n, 4)
}
