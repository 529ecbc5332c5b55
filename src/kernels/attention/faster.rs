//! Variants of attention and its gradients that ask more of a device than the base does: on
//! cooperative matrices in f16, and with larger tiles in registers and workgroup memory.

use super::attention::Params;
use super::few::are_vectors;
use crate::kernels::{Counts, Halves, Needs, Situation, Variant, WIDE, fold_groups};

type Groups = fn(&[u8], &Counts) -> [u32; 3];

/// A variant on cooperative matrices with f16 operands, for heads of 64 columns.
pub(super) const fn matrix(
    name: &'static str,
    source: &'static str,
    workgroup_bytes: u32,
    groups: Groups,
) -> Variant {
    Variant { takes: takes_halves_64, ..matrix_128(name, source, workgroup_bytes, groups) }
}

/// The same for heads of 128 columns.
pub(super) const fn matrix_128(
    name: &'static str,
    source: &'static str,
    workgroup_bytes: u32,
    groups: Groups,
) -> Variant {
    let needs = Needs {
        subgroups: true,
        f16: true,
        cooperative_matrix: true,
        workgroup_bytes,
        ..Needs::NOTHING
    };
    let (takes, defines) = (takes_halves_128, &[(WIDE, 1)]);
    Variant { name, source, defines, needs, takes, suits, groups }
}

/// A variant by products of 64 x 64 x 16 in registers, in the default workgroup memory.
pub(super) const fn square(
    name: &'static str,
    source: &'static str,
    defines: &'static [(&'static str, u32)],
    groups: Groups,
) -> Variant {
    let (takes, needs) = (takes_vectors, Needs::NOTHING);
    Variant { name, source, defines, needs, takes, suits, groups }
}

fn takes_vectors(params: &[u8], _halves: Halves) -> bool {
    are_vectors(&bytemuck::pod_read_unaligned(params))
}

/// A variant with larger tiles, for heads of 64 columns.
pub(super) const fn tiled(
    name: &'static str,
    source: &'static str,
    workgroup_bytes: u32,
    groups: Groups,
) -> Variant {
    let needs = Needs { workgroup_bytes, ..Needs::NOTHING };
    let (takes, defines) = (takes_64, &[(WIDE, 1)]);
    Variant { name, source, defines, needs, takes, suits, groups }
}

fn takes_64(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    params.head_dim == 64 && are_vectors(&params)
}

/// Queries, keys and values in f16.
fn takes_halves_64(params: &[u8], halves: Halves) -> bool {
    takes_64(params, halves) && halves.contains(0) && halves.contains(1)
}

fn takes_halves_128(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let halves = halves.contains(0) && halves.contains(1);
    params.head_dim == 128 && are_vectors(&params) && halves
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
