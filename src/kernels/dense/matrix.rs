//! The variants of products on matrix units: operands in f16, sums in f32, tiles of 128 x 128.

use super::matmul::Params;
use crate::kernels::{
    Counts, Extent, Halves, MAX_GROUPS_PER_DIMENSION, Needs, Situation, Variant, WIDE,
};

/// Side of a tile.
const TILE: usize = 128;

/// Workgroups that a processor runs at the same time.
pub(crate) const GROUPS_PER_PROCESSOR: u32 = 2;

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

/// The same by few workgroups, each of which makes tile after tile and loads what the next one
/// begins with before it stores.
pub(super) const fn matrix_walking(
    source: &'static str,
    takes: fn(&[u8], Halves) -> bool,
) -> Variant {
    Variant {
        name: "matrix_walking",
        source,
        defines: &[(WIDE, 1), ("WALKS", 1)],
        needs: NEEDS,
        takes,
        suits: walking_suits,
        keeps_bits: false,
        groups: walking_groups,
    }
}

/// Whether products walk where nothing was tuned. Not measured yet.
fn walking_suits(_situation: &Situation<'_>) -> bool {
    true
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = |extent: Extent| extent.length(counts).div_ceil(TILE).max(1) as u32;
    [tiles(params.n), tiles(params.m), params.batch_count * params.split_count]
}

fn walking_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let Params { walker_count, .. } = bytemuck::pod_read_unaligned(params);
    let tiles: u64 = groups(params, counts).into_iter().map(u64::from).product();
    let walkers = walker_count.clamp(1, MAX_GROUPS_PER_DIMENSION);
    [tiles.min(walkers.into()) as u32, 1, 1]
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
