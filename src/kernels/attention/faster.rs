//! Variants of attention and its gradients for rows that see many keys: on cooperative matrices in
//! f16, and by products of larger tiles in registers.

use super::attention::Params;
use super::few::are_vectors;
use crate::kernels::{Counts, Halves, Needs, Situation, Variant, WIDE, fold_groups};

type Groups = fn(&[u8], &Counts) -> [u32; 3];

/// What a variant on cooperative matrices computes.
#[derive(Clone, Copy)]
pub(super) enum Heads {
    /// Of 64 columns.
    Of64,
    /// Of 96 or 128 columns.
    Of128,
}

/// A variant on cooperative matrices for operands in f16.
pub(super) const fn matrix(
    name: &'static str,
    source: &'static str,
    heads: Heads,
    groups: Groups,
) -> Variant {
    let takes = match heads {
        Heads::Of64 => takes_halves_64,
        Heads::Of128 => takes_halves_128,
    };
    let workgroup_bytes = match heads {
        Heads::Of64 => 24_560,
        Heads::Of128 => 48_144,
    };
    let needs = Needs {
        subgroups: true,
        f16: true,
        cooperative_matrix: true,
        workgroup_bytes,
        ..Needs::NOTHING
    };
    Variant { name, source, defines: &[(WIDE, 1)], needs, takes, suits, keeps_bits: false, groups }
}

/// A variant for operands of any type: products of 64 x 64 x 16 (of the gradient of keys 64 x 32 x
/// 16) in registers, sums in f32, at most 16 KiB of workgroup memory.
pub(super) const fn square(source: &'static str, groups: Groups) -> Variant {
    let (takes, needs) = (takes_vectors, Needs::NOTHING);
    Variant {
        name: "square",
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
pub(super) const fn square_rows(source: &'static str) -> Variant {
    let takes = takes_rows;
    Variant { takes, keeps_bits: true, ..square(source, query_squares::<64>) }
}

/// Rows of a batch: those of a cache look at places far apart.
fn takes_rows(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    are_vectors(&params) && params.keys.constant().is_none()
}

fn takes_vectors(params: &[u8], _halves: Halves) -> bool {
    are_vectors(&bytemuck::pod_read_unaligned(params))
}

fn takes_halves_64(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    params.head_dim == 64 && are_words(&params, halves)
}

fn takes_halves_128(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    [96, 128].contains(&params.head_dim) && are_words(&params, halves)
}

/// Whether q, kv and, where there is one, the gradient from above are in f16 and 16 bytes can be
/// loaded at once. Of the gradients binding 3 is dout, forward it is the output.
fn are_words(params: &Params, halves: Halves) -> bool {
    let Params { query_stride, query_offset, kv_stride, key_offset, value_offset, .. } = *params;
    let whole = [query_stride, query_offset, kv_stride, key_offset, value_offset]
        .iter()
        .all(|columns| columns.is_multiple_of(8));
    whole && [0, 1, 3].iter().all(|&binding| halves.contains(binding))
}

/// Where rows see many keys, or nobody knows how many.
fn suits(situation: &Situation<'_>) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(situation.params);
    params.few_keys == 0 && situation.abilities.hardware
}

/// Columns of a result that a workgroup of a variant `square` owns.
const SQUARE_COLS: u32 = 64;

/// A workgroup for every `ROWS` queries and every 64 columns of every head.
pub(super) fn query_squares<const ROWS: usize>(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.queries.length(counts).div_ceil(ROWS);
    let parts = params.head_count * params.head_dim.div_ceil(SQUARE_COLS);
    fold_groups(tiles * parts as usize)
}

/// A workgroup for every `ROWS` keys and every 64 columns of every key head.
pub(super) fn key_squares<const ROWS: usize>(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.keys.length(counts).div_ceil(ROWS);
    let parts = params.kv_head_count * params.head_dim.div_ceil(SQUARE_COLS);
    fold_groups(tiles * parts as usize)
}

/// A workgroup for every `ROWS` queries of every head.
pub(super) fn query_tiles<const ROWS: usize>(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.queries.length(counts).div_ceil(ROWS);
    fold_groups(tiles * params.head_count as usize)
}

/// A workgroup for every `ROWS` keys of every key head.
pub(super) fn key_tiles<const ROWS: usize>(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.keys.length(counts).div_ceil(ROWS);
    fold_groups(tiles * params.kv_head_count as usize)
}
