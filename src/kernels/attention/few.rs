//! The variants `few` of attention and of its gradients: lanes share the columns of one head, and
//! rows walk a handful of keys. What pooling and unpooling use.

use super::attention::Params;
use crate::kernels::{Counts, Halves, Needs, Situation, Variant, WIDE, fold_groups};

/// A variant of a kernel of this family from its source.
pub(super) const fn few(source: &'static str, groups: fn(&[u8], &Counts) -> [u32; 3]) -> Variant {
    Variant {
        name: "few",
        source,
        defines: &[(WIDE, 1)],
        needs: Needs::NOTHING,
        takes,
        suits,
        keeps_bits: false,
        groups,
    }
}

/// Invocations of a workgroup.
const WIDTH: usize = 64;
/// Columns of one lane.
const LANE_COLS: usize = 8;

/// Whether all heads are whole vectors of four at multiples of four.
pub(super) fn are_vectors(params: &Params) -> bool {
    let Params { query_stride, query_offset, kv_stride, key_offset, value_offset, .. } = *params;
    [params.head_dim, query_stride, query_offset, kv_stride, key_offset, value_offset]
        .iter()
        .all(|columns| columns.is_multiple_of(4))
}

fn takes(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let head_dim = params.head_dim as usize;
    let lanes = head_dim / LANE_COLS;
    are_vectors(&params) && head_dim.is_multiple_of(LANE_COLS) && WIDTH.is_multiple_of(lanes)
}

fn suits(situation: &Situation<'_>) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(situation.params);
    params.few_keys == 1 && situation.abilities.hardware
}

/// Workgroups for so many rows of so many heads each.
fn groups(params: &Params, rows: usize, heads: u32) -> [u32; 3] {
    let pairs_a_group = WIDTH / (params.head_dim as usize / LANE_COLS);
    fold_groups((rows * heads as usize).div_ceil(pairs_a_group))
}

/// Workgroups where rows are queries.
pub(super) fn query_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    groups(&params, params.queries.length(counts), params.head_count)
}

/// Workgroups where rows are keys.
pub(super) fn key_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    groups(&params, params.keys.length(counts), params.kv_head_count)
}
