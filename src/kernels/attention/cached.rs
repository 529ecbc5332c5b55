//! The variant `cached` of attention: a workgroup for every query and head, whose lanes share the
//! keys. For the few queries of a step of generation, which look at places far apart.

use super::attention::Params;
use super::few::are_vectors;
use crate::kernels::{Counts, Halves, Needs, Situation, Variant, WIDE, fold_groups};

/// The variant from its source.
pub(super) const fn cached(source: &'static str) -> Variant {
    let needs = Needs::NOTHING;
    Variant { name: "cached", source, defines: &[(WIDE, 1)], needs, takes, suits, groups }
}

fn takes(params: &[u8], _halves: Halves) -> bool {
    are_vectors(&bytemuck::pod_read_unaligned(params))
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
