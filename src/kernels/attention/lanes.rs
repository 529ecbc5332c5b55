//! The variants `lanes` and `lanes_eights` of attention and of its gradients: for drivers that
//! compute on the processor, where a barrier is dear and a subgroup is a vector. A lane owns two
//! rows of one head, and a subgroup walks what any of its rows sees.

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

/// A variant `lanes_eights`: the same in f32, with eight neighbours to every load and store as four
/// words of 64 bits, and four rows of the other side at a time.
pub(super) const fn lanes_eights(
    source: &'static str,
    groups: fn(&[u8], &Counts) -> [u32; 3],
) -> Variant {
    let variant = lanes(source, groups);
    let needs = Needs { int64: true, ..variant.needs };
    let defines = &[(WIDE, 1)];
    Variant { name: "lanes_eights", defines, needs, takes: takes_eights, ..variant }
}

/// Columns of a head: eight vectors of four, each a register by its own name.
const HEAD_DIM: u32 = 32;
/// Rows of one workgroup: two a lane.
const ROWS: usize = 64;

fn takes(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    params.head_dim == HEAD_DIM
}

/// Heads that begin at whole eights.
fn takes_eights(bytes: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(bytes);
    let places = [
        params.query_stride,
        params.query_offset,
        params.kv_stride,
        params.key_offset,
        params.value_offset,
    ];
    halves == Halves::NONE && takes(bytes, halves) && places.iter().all(|it| it.is_multiple_of(8))
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
