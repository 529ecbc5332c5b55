//! The variants `lanes_pairs` of products: for drivers that compute on the processor, where a load
//! is a loop over the lanes whatever its width, so that every load and store moves two numbers of
//! f32 as one word of 64 bits. One adds to what is there or to a residual, the other does not: what
//! a branch skips is run there too, with all lanes switched off.

use super::matmul::Params;
use crate::kernels::{Counts, Extent, Halves, Needs, Variant, WIDE};

/// A variant of `matmul` for products that add something, or for those that do not.
pub(super) const fn lanes_pairs(adds: bool) -> Variant {
    Variant {
        name: if adds { "lanes_pairs_add" } else { "lanes_pairs" },
        source: include_str!("../../../shaders/dense/matmul.lanes_pairs.wgsl"),
        defines: if adds { &[(WIDE, 0), ("ADDS", 1)] } else { &[(WIDE, 0), ("ADDS", 0)] },
        needs: Needs { subgroups: true, subgroup_min: 8, int64: true, ..Needs::NOTHING },
        takes: if adds { takes } else { takes_without_adding },
        suits: |situation| situation.abilities.software,
        keeps_bits: false,
        groups,
    }
}

/// Outputs of a workgroup: rows, columns.
const TILE: [usize; 2] = [32, 64];

/// Whole pairs along every stored row, all in f32.
fn takes(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [a_row, b_row] = params.stored_rows();
    let even = |extent: Extent| extent.constant().is_some_and(|count| count.is_multiple_of(2));
    let both_transposed = params.transpose_a == 1 && params.transpose_b == 1;
    halves == Halves::NONE && !both_transposed && [a_row, b_row, params.n].into_iter().all(even)
}

fn takes_without_adding(bytes: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(bytes);
    params.residual_scale == 0.0 && params.accumulate == 0 && takes(bytes, halves)
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [m, n] = [params.m, params.n].map(|extent| extent.length(counts));
    let tiles = |count: usize, side: usize| count.div_ceil(side).max(1) as u32;
    [tiles(n, TILE[1]), tiles(m, TILE[0]), params.batch_count * params.split_count]
}
