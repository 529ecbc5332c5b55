//! The variants `cached` of attention and of attention by rows: a workgroup for every query and
//! head, whose lanes share the keys. For the few queries of a step of generation, which look at
//! places far apart.

use super::attention::Params;
use super::few::are_vectors;
use crate::kernels::{Counts, Halves, Needs, Situation, Variant, WIDE, fold_groups};

/// The variant from its source.
pub(super) const fn cached(source: &'static str) -> Variant {
    let needs = Needs::NOTHING;
    Variant {
        name: "cached",
        source,
        defines: &[(WIDE, 1)],
        needs,
        takes,
        suits,
        keeps_bits: false,
        groups,
    }
}

/// The same of [`attention_row`](super::attention_row), with the bits of its base.
pub(super) const fn cached_rows(source: &'static str) -> Variant {
    Variant { takes: takes_rows, keeps_bits: true, ..cached(source) }
}

fn takes(params: &[u8], _halves: Halves) -> bool {
    are_vectors(&bytemuck::pod_read_unaligned(params))
}

/// Lanes share the values of a key, a vector each.
fn takes_rows(params: &[u8], halves: Halves) -> bool {
    let Params { head_dim, keys, .. } = bytemuck::pod_read_unaligned(params);
    takes(params, halves) && 1024_u32.is_multiple_of(head_dim) && keys.constant().is_some()
}

/// Keys whose number never changes are a cache.
fn suits(situation: &Situation<'_>) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(situation.params);
    let is_cache = params.keys.constant().is_some();
    is_cache && params.few_keys == 0 && situation.abilities.hardware
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.queries.length(counts) * params.head_count as usize)
}
