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

/// The variant of the forward pass whose lanes exchange sums within subgroups.
pub(super) const fn few_subgroups(source: &'static str) -> Variant {
    Variant {
        name: "few_subgroups",
        source,
        defines: &[(WIDE, 1)],
        needs: Needs { subgroups: true, subgroup_min: 8, ..Needs::NOTHING },
        takes: takes_within_subgroups,
        suits,
        keeps_bits: false,
        groups: subgroups_groups,
    }
}

/// Invocations of a workgroup of `few_subgroups`.
const SUBGROUPS_WIDTH: usize = 128;

/// Heads whose lanes are eight at most, so that the smallest subgroup has them.
fn takes_within_subgroups(params: &[u8], halves: Halves) -> bool {
    let Params { head_dim, .. } = bytemuck::pod_read_unaligned(params);
    takes(params, halves) && head_dim as usize <= 8 * LANE_COLS
}

fn subgroups_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let pairs_a_group = SUBGROUPS_WIDTH / (params.head_dim as usize / LANE_COLS);
    let pairs = params.queries.length(counts) * params.head_count as usize;
    fold_groups(pairs.div_ceil(pairs_a_group))
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
