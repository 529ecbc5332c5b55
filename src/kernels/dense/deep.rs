//! The variants of products whose few tiles would leave most of a GPU idle: four times as many
//! invocations a tile, which have a quarter of the inner products each.

use super::matmul::{Params, groups};
use crate::kernels::{Halves, Needs, Variant};

/// Inner products are multiples of this: four quarters of whole steps.
const DEPTH_MULTIPLE: usize = 64;

/// The variant from the source of the base.
pub(super) const fn deep(source: &'static str) -> Variant {
    Variant {
        name: "deep",
        source,
        defines: &[("DEEP", 1)],
        needs: Needs { workgroup_bytes: 32_768, ..Needs::NOTHING },
        takes,
        suits: |situation| situation.abilities.hardware,
        keeps_bits: false,
        groups,
    }
}

/// Products that say that they have some rows, of whole vectors and whole quarters.
fn takes(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [a_row, b_row] = params.stored_rows();
    let are_vectors = [a_row, b_row, params.n]
        .into_iter()
        .all(|extent| extent.constant().is_some_and(|count| count.is_multiple_of(4)));
    let is_deep = params.k.constant().is_some_and(|k| k.is_multiple_of(DEPTH_MULTIPLE));
    params.some_rows == 1 && params.split_count == 1 && are_vectors && is_deep
}
