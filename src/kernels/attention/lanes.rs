//! The variants `lanes` of attention and of its gradients: for drivers that compute on the
//! processor, where a barrier is dear and a subgroup is a vector. A lane owns two rows of one head,
//! and a subgroup walks what any of its rows sees.

use super::attention::Params;
use crate::kernels::{Counts, Halves, Needs, Variant, WIDE, fold_groups};

/// A variant of a kernel of this family from its source.
pub(super) const fn lanes(source: &'static str, groups: fn(&[u8], &Counts) -> [u32; 3]) -> Variant {
    Variant {
        name: "lanes",
        source,
        defines: &[(WIDE, 0)],
        needs: Needs { subgroups: true, subgroup_min: 8, ..Needs::NOTHING },
        takes,
        suits: |situation| situation.abilities.software,
        keeps_bits: false,
        groups,
    }
}

/// Columns of a head: eight vectors of four, each a register by its own name.
const HEAD_DIM: u32 = 32;
/// Rows of one workgroup: two a lane.
const ROWS: usize = 64;

fn takes(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    params.head_dim == HEAD_DIM
}

/// Workgroups where rows are queries.
pub(super) fn query_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.queries.length(counts).div_ceil(ROWS) * params.head_count as usize)
}

/// Workgroups where rows are keys.
pub(super) fn key_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.keys.length(counts).div_ceil(ROWS) * params.kv_head_count as usize)
}
