//! The variants `lanes_fours` and `lanes_eights` of products: for drivers that compute on the
//! processor, where a load is a loop over the lanes, in which two or four words of 64 bits cost
//! little more than one number of f32. So every load and store moves four numbers, or eight where
//! rows of the result are whole eights. Some add to what is there or to a residual, the others do
//! not: what a branch skips is run there too, with all lanes switched off.

use super::matmul::Params;
use crate::kernels::{Counts, Extent, Halves, Needs, Variant, WIDE};

/// A variant of `matmul` for products that add something, or for those that do not.
pub(super) const fn lanes_fours(adds: bool) -> Variant {
    Variant {
        name: if adds { "lanes_fours_add" } else { "lanes_fours" },
        source: include_str!("../../../shaders/dense/matmul.lanes_fours.wgsl"),
        defines: if adds { &[(WIDE, 1), (ADDS, 1)] } else { &[(WIDE, 1)] },
        needs: Needs { subgroups: true, subgroup_min: 8, int64: true, ..Needs::NOTHING },
        takes: if adds {
            takes
        } else {
            |params, halves| !adds_to(params) && takes(params, halves)
        },
        suits: |situation| situation.abilities.software,
        keeps_bits: false,
        groups,
    }
}

/// The same where rows of the result are whole eights.
pub(super) const fn lanes_eights(adds: bool) -> Variant {
    Variant {
        name: if adds { "lanes_eights_add" } else { "lanes_eights" },
        defines: if adds {
            &[(WIDE, 1), (EIGHTS, 1), (ADDS, 1)]
        } else {
            &[(WIDE, 1), (EIGHTS, 1)]
        },
        takes: if adds {
            takes_eights
        } else {
            |params, halves| !adds_to(params) && takes_eights(params, halves)
        },
        ..lanes_fours(adds)
    }
}

const ADDS: &str = "ADDS";
const EIGHTS: &str = "EIGHTS";

/// Outputs of a workgroup: rows, columns.
const TILE: [usize; 2] = [32, 64];

/// Whole vectors of four along every stored row, all in f32.
fn takes(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [a_row, b_row] = params.stored_rows();
    let both_transposed = params.transpose_a == 1 && params.transpose_b == 1;
    let whole = [a_row, b_row, params.n].into_iter().all(|extent| is_multiple_of(extent, 4));
    halves == Halves::NONE && !both_transposed && whole
}

fn takes_eights(bytes: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(bytes);
    is_multiple_of(params.n, 8) && takes(bytes, halves)
}

fn is_multiple_of(extent: Extent, factor: usize) -> bool {
    extent.constant().is_some_and(|count| count.is_multiple_of(factor))
}

fn adds_to(params: &[u8]) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    params.residual_scale != 0.0 || params.accumulate != 0
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [m, n] = [params.m, params.n].map(|extent| extent.length(counts));
    let tiles = |count: usize, side: usize| count.div_ceil(side).max(1) as u32;
    [tiles(n, TILE[1]), tiles(m, TILE[0]), params.batch_count * params.split_count]
}
