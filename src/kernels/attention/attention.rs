//! Softmax attention in which every query sees one contiguous range of keys (spec §5.7, §6).
//!
//! q is [queries, query_stride], head `h` of it starting at column `query_offset + h * head_dim`;
//! kv is [keys, kv_stride] with keys and values at `key_offset` and `value_offset`; often the two
//! are one buffer. Query `i` sees the keys `key_range[i / query_factor] * key_factor`; ranges of
//! neighbouring queries should overlap, as windows and patches do, since a tile of queries walks
//! the union. out is [queries, head_count * head_dim]. `log_sum_exp` [queries, head_count] is kept
//! for the backward pass. An empty range gives zeros and -1e30.

use super::cached;
use super::cases::{forward_cases, oracle_input, oracle_shape};
use super::fast_exp::{exp, with_wide_vectors};
use super::faster;
use super::few;
use super::heads::{Heads, add_scaled, change_and_sum, dot, largest};
use super::lanes;
use super::ranges::{Ranges, TILE_ROWS};
use super::score_tile::{self, Seen};
use crate::kernels::dense::gemm::{Layout, gemm};
use crate::kernels::scratch::with_scratch;
use crate::kernels::{Binding, Call, Cost, Counts, Element, Extent, Kernel, Variant, fold_groups};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use std::ops::Range;

/// The `Params` uniform of `attention/attention.wgsl` and of both gradients.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub queries: Extent,
    pub keys: Extent,
    pub head_count: u32,
    /// Divides `head_count`; each serves consecutive query heads.
    pub kv_head_count: u32,
    /// At most 128.
    pub head_dim: u32,
    /// Queries per entry of `key_range`.
    pub query_factor: u32,
    /// Keys per unit of a range of `key_range`.
    pub key_factor: u32,
    pub query_stride: u32,
    pub query_offset: u32,
    pub kv_stride: u32,
    pub key_offset: u32,
    pub value_offset: u32,
    /// What products of queries and keys are multiplied by; positive.
    pub scale: f32,
    /// How many keys a query sees, roughly; 0: not known. Only the cost estimate reads it.
    pub keys_per_query: u32,
    /// One: a query sees the bytes of a patch, or the vectors of one. Variants are chosen by it.
    pub few_keys: u32,
    /// Zero. Shaders use it where the compiler must not know a value.
    pub zero: u32,
    /// Zeros.
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<Params>() == 80);

pub static KERNEL: Kernel = Kernel {
    name: "attention",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("q", Element::F32).or_half(),
        Binding::read("kv", Element::F32).or_half(),
        Binding::read("key_range", Element::U32),
        Binding::write("out", Element::F32).or_half(),
        Binding::write("log_sum_exp", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/attention/attention.wgsl"), groups),
        lanes::lanes(
            include_str!("../../../shaders/attention/attention.lanes.wgsl"),
            lanes::query_groups,
        ),
        lanes::lanes_eights(
            include_str!("../../../shaders/attention/attention.lanes_eights.wgsl"),
            lanes::query_groups,
        ),
        few::few(include_str!("../../../shaders/attention/attention.few.wgsl"), few::query_groups),
        few::few_subgroups(include_str!("../../../shaders/attention/attention.few_subgroups.wgsl")),
        faster::square(
            include_str!("../../../shaders/attention/attention.square.wgsl"),
            faster::query_squares::<64>,
        ),
        faster::matrix(
            "matrix",
            include_str!("../../../shaders/attention/attention.matrix.wgsl"),
            faster::Heads::Of64,
            faster::query_tiles::<64>,
        ),
        faster::matrix(
            "matrix_128",
            include_str!("../../../shaders/attention/attention.matrix.wgsl"),
            faster::Heads::Of128,
            faster::query_tiles::<128>,
        ),
        cached::cached(include_str!("../../../shaders/attention/attention.cached.wgsl")),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases: forward_cases,
};

/// Largest head of the base variants: their tiles must fit 16 KiB of workgroup memory.
pub const MAX_HEAD_DIM: u32 = 128;

/// How the 64 invocations of a workgroup lie over rows; the others lie over columns. A workgroup
/// owns four rows a group forward, two backward.
pub(super) fn row_groups(params: &Params) -> u32 {
    assert!(params.head_dim <= MAX_HEAD_DIM, "attention: heads of {} columns", params.head_dim);
    if params.head_dim <= 64 { 8 } else { 4 }
}

pub(super) fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![("HEAD_DIM", params.head_dim), ("ROW_GROUPS", row_groups(&params))]
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.queries.length(counts).div_ceil(4 * row_groups(&params) as usize);
    fold_groups(tiles * params.head_count as usize)
}

/// Query-key pairs of one head, for cost estimates.
pub(super) fn pair_count(params: &Params, counts: &Counts) -> u64 {
    let keys = params.keys.length(counts) as u64;
    let seen = match params.keys_per_query {
        0 => USUAL_WINDOW,
        seen => u64::from(seen),
    };
    params.queries.length(counts) as u64 * keys.min(seen)
}

/// What a query sees if nobody says.
const USUAL_WINDOW: u64 = 512;

pub(super) fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (heads, head_dim) = (u64::from(params.head_count), u64::from(params.head_dim));
    let query_heads = params.queries.length(counts) as u64 * heads;
    let key_heads = params.keys.length(counts) as u64 * u64::from(params.kv_head_count);
    Cost {
        flops: 4 * pair_count(&params, counts) * heads * head_dim,
        read_bytes: 4 * head_dim * (query_heads + 2 * key_heads),
        written_bytes: 4 * query_heads * (head_dim + 1),
    }
}

/// Inputs of one call on the CPU.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub q: Heads<'a>,
    pub k: Heads<'a>,
    pub v: Heads<'a>,
    pub head_count: usize,
    /// Query heads per key head.
    pub group: usize,
    pub scale: f32,
}

impl<'a> Input<'a> {
    pub fn new(params: &Params, q: &'a [f32], kv: &'a [f32]) -> Self {
        let heads = |data, stride: u32, offset: u32| Heads {
            data,
            stride: stride as usize,
            offset: offset as usize,
            head_dim: params.head_dim as usize,
        };
        Self {
            q: heads(q, params.query_stride, params.query_offset),
            k: heads(kv, params.kv_stride, params.key_offset),
            v: heads(kv, params.kv_stride, params.value_offset),
            head_count: params.head_count as usize,
            group: (params.head_count / params.kv_head_count) as usize,
            scale: params.scale,
        }
    }
}

/// The rows of tile `tile`.
pub(super) fn tile_rows(tile: usize, count: usize) -> Range<usize> {
    tile * TILE_ROWS..count.min((tile + 1) * TILE_ROWS)
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let query_count = call.length(params.queries);
    let input = Input::new(&params, call.f(0), call.f(1));
    let (row_factor, unit) = (params.query_factor as usize, params.key_factor as usize);
    let ranges = Ranges { pairs: call.u(2), row_factor, unit };
    let (heads, width) = (input.head_count, input.head_count * input.q.head_dim);
    // Keys whose number never changes are a cache, of which every query sees another place.
    if params.keys.constant().is_some() {
        let (out, saved) = (&mut call.f_mut(3)[..query_count * width], call.f_mut(4));
        return cached(&input, &ranges, out, &mut saved[..query_count * heads]);
    }
    let tiles = call.f_mut(3)[..query_count * width]
        .par_chunks_mut(TILE_ROWS * width)
        .zip(call.f_mut(4)[..query_count * heads].par_chunks_mut(TILE_ROWS * heads))
        .enumerate();
    tiles.for_each(|(tile, (out, log_sum_exp))| {
        let rows = tile_rows(tile, query_count);
        let keys = ranges.union(rows.clone());
        if ranges.are_dense(rows.clone(), &keys) {
            with_scratch(score_tile::length(keys.len()), |scores| {
                dense_tile(&input, &ranges, rows, keys, scores, out, log_sum_exp);
            });
            return;
        }
        with_scratch(ranges.longest(rows.clone()), |scores| {
            #[rustfmt::skip] // it would drop the attribute of the closure
            with_wide_vectors(#[inline(always)] || {
                sparse_tile(&input, &ranges, rows, 0..heads, scores, out, log_sum_exp);
            });
        });
    });
}

/// Few rows, each with keys of its own: some heads a task.
fn cached(input: &Input, ranges: &Ranges, out: &mut [f32], log_sum_exp: &mut [f32]) {
    let (heads, head_dim) = (input.head_count, input.q.head_dim);
    let longest = ranges.longest(0..log_sum_exp.len() / heads);
    let pairs = out.par_chunks_mut(head_dim).zip(log_sum_exp.par_chunks_mut(1)).enumerate();
    let pairs = pairs.with_min_len((WORK_PER_TASK / (longest * head_dim).max(1)).max(1));
    pairs.for_each(|(pair, (out, saved))| {
        let (row, head) = (pair / heads, pair % heads);
        with_scratch(ranges.of(row).len(), |scores| {
            #[rustfmt::skip] // it would drop the attribute of the closure
            with_wide_vectors(#[inline(always)] || {
                sparse_tile(input, ranges, row..row + 1, head..head + 1, scores, out, saved);
            });
        });
    });
}

/// Multiply-adds that are worth a task.
const WORK_PER_TASK: usize = 1 << 14;

/// All rows against the union of their keys, by matrix products.
fn dense_tile(
    input: &Input,
    ranges: &Ranges,
    rows: Range<usize>,
    keys: Range<usize>,
    scores: &mut [f32],
    out: &mut [f32],
    log_sum_exp: &mut [f32],
) {
    let (row_count, key_count, head_dim) = (rows.len(), keys.len(), input.q.head_dim);
    let width = input.head_count * head_dim;
    let seen = Seen::new(ranges, rows.clone(), &keys);
    for head in 0..input.head_count {
        let kv_head = head / input.group;
        gemm(
            [row_count, key_count, head_dim],
            (&mut *scores, score_tile::LAYOUT),
            false,
            input.q.matrix(rows.start, head),
            input.k.transposed(keys.start, kv_head),
        );
        #[rustfmt::skip] // it would drop the attribute of the closure
        let (shifts, sums) = with_wide_vectors(#[inline(always)] || {
            score_tile::weigh(scores, &seen, input.scale)
        });
        let place = Layout { offset: head * head_dim, row_stride: width, col_stride: 1 };
        gemm(
            [row_count, head_dim, key_count],
            (&mut *out, place),
            false,
            (&*scores, score_tile::LAYOUT),
            input.v.matrix(keys.start, kv_head),
        );
        for row in 0..row_count {
            let saved = &mut log_sum_exp[row * input.head_count + head];
            let inverse_sum = finish_row(shifts[row], sums[row], saved);
            let out = &mut out[row * width + head * head_dim..][..head_dim];
            out.iter_mut().for_each(|out| *out *= inverse_sum);
        }
    }
}

/// Writes the log-sum-exp of a row and returns one over its sum; zero for a row without keys.
#[inline(always)]
fn finish_row(shift: f32, sum: f32, log_sum_exp: &mut f32) -> f32 {
    if sum == 0.0 {
        *log_sum_exp = oracle::attention::NO_KEYS as f32;
        return 0.0;
    }
    *log_sum_exp = shift + sum.ln();
    1.0 / sum
}

/// Each row against its own few keys, by loops.
#[inline(always)]
fn sparse_tile(
    input: &Input,
    ranges: &Ranges,
    rows: Range<usize>,
    heads: Range<usize>,
    scores: &mut [f32],
    out: &mut [f32],
    log_sum_exp: &mut [f32],
) {
    let head_dim = input.q.head_dim;
    let mut out = out.chunks_exact_mut(head_dim);
    let mut log_sum_exp = log_sum_exp.iter_mut();
    for row in rows {
        let keys = ranges.of(row);
        let scores = &mut scores[..keys.len()];
        for head in heads.clone() {
            let kv_head = head / input.group;
            let q = input.q.row(row, head);
            for (score, key) in scores.iter_mut().zip(keys.clone()) {
                *score = dot(q, input.k.row(key, kv_head));
            }
            let saved = log_sum_exp.next().expect("one place a row and head");
            let shift = input.scale * largest(scores);
            let sum = change_and_sum(scores, |score| exp(input.scale * score - shift));
            let inverse_sum = finish_row(shift, sum, saved);
            let out = out.next().expect("one place a row and head");
            out.fill(0.0);
            for (weight, key) in scores.iter().zip(keys.clone()) {
                add_scaled(out, weight * inverse_sum, input.v.row(key, kv_head));
            }
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle_shape(&params, &call);
    let input = oracle_input(&params, call.f(0), call.f(1));
    let (key_range, out, log_sum_exp) = (call.u(2), call.f_mut(3), call.f_mut(4));
    oracle::attention::attention(&input, key_range, out, log_sum_exp, &shape);
}
