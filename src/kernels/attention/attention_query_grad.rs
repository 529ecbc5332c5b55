//! Gradient of attention with respect to the queries (spec §26.1).
//!
//! Inputs as in [`attention`](super::attention), its outputs out [queries, head_count * head_dim]
//! and `log_sum_exp` [queries, head_count], and dout like out. dq is laid out like q: the columns
//! of the heads are overwritten, the others left alone. Queries that see nothing get zeros. On the
//! way it writes delta [queries, head_count], the sums of dout out over the columns of a head,
//! which the gradient of the [keys](super::attention_key_grad) subtracts too.

use super::attention::{Input, Params, constants, pair_count, row_groups, tile_rows};
use super::cases::{oracle_input, oracle_shape, query_grad_cases};
use super::fast_exp::{exp, with_wide_vectors};
use super::faster;
use super::few;
use super::heads::{Heads, add_scaled, dot};
use super::lanes;
use super::ranges::{Ranges, TILE_ROWS};
use super::score_tile::{self, Seen};
use crate::kernels::dense::gemm::{Layout, gemm};
use crate::kernels::scratch::with_scratch;
use crate::kernels::{Binding, Call, Cost, Counts, Element, Kernel, Variant, fold_groups};
use crate::oracle;
use rayon::prelude::*;
use std::ops::Range;

pub static KERNEL: Kernel = Kernel {
    name: "attention_query_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("q", Element::F32).or_half(),
        Binding::read("kv", Element::F32).or_half(),
        Binding::read("key_range", Element::U32),
        Binding::read("dout", Element::F32).or_half(),
        Binding::read("log_sum_exp", Element::F32),
        Binding::read("out", Element::F32).or_half(),
        Binding::write("delta", Element::F32),
        Binding::update("dq", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/attention/attention_query_grad.wgsl"), groups),
        lanes::lanes(
            include_str!("../../../shaders/attention/attention_query_grad.lanes.wgsl"),
            lanes::query_groups,
        ),
        lanes::lanes_eights(
            include_str!("../../../shaders/attention/attention_query_grad.lanes_eights.wgsl"),
            lanes::query_groups,
        ),
        few::few(
            include_str!("../../../shaders/attention/attention_query_grad.few.wgsl"),
            few::query_groups,
        ),
        faster::square(
            include_str!("../../../shaders/attention/attention_query_grad.square.wgsl"),
            faster::query_squares::<64>,
        ),
        faster::matrix(
            "matrix",
            include_str!("../../../shaders/attention/attention_query_grad.matrix.wgsl"),
            faster::Heads::Of64,
            faster::query_tiles::<64>,
        ),
        faster::matrix(
            "matrix_128",
            include_str!("../../../shaders/attention/attention_query_grad.matrix.wgsl"),
            faster::Heads::Of128,
            faster::query_tiles::<128>,
        ),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases: query_grad_cases,
};

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.queries.length(counts).div_ceil(2 * row_groups(&params) as usize);
    fold_groups(tiles * params.head_count as usize)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (heads, head_dim) = (u64::from(params.head_count), u64::from(params.head_dim));
    let query_heads = params.queries.length(counts) as u64 * heads;
    let key_heads = params.keys.length(counts) as u64 * u64::from(params.kv_head_count);
    Cost {
        flops: (6 * pair_count(&params, counts) * heads + 2 * query_heads) * head_dim,
        read_bytes: 4 * (head_dim * (3 * query_heads + 2 * key_heads) + query_heads),
        written_bytes: 4 * query_heads * (head_dim + 1),
    }
}

/// What comes from above and from the forward pass.
#[derive(Clone, Copy)]
pub(super) struct Upstream<'a> {
    pub dout: Heads<'a>,
    pub log_sum_exp: &'a [f32],
    pub delta: &'a [f32],
}

impl<'a> Upstream<'a> {
    pub fn new(input: &Input, call: &Call<'a, f32>, delta: &'a [f32]) -> Self {
        let dout = Heads::packed(call.f(3), input.head_count, input.q.head_dim);
        Self { dout, log_sum_exp: call.f(4), delta }
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let query_count = call.length(params.queries);
    let input = Input::new(&params, call.f(0), call.f(1));
    let delta = &mut call.f_mut(6)[..query_count * input.head_count];
    put_deltas(call.f(5), call.f(3), delta, input.q.head_dim);
    let upstream = Upstream::new(&input, &call, delta);
    let (row_factor, unit) = (params.query_factor as usize, params.key_factor as usize);
    let ranges = Ranges { pairs: call.u(2), row_factor, unit };
    let stride = input.q.stride;
    let tiles = call.f_mut(7)[..query_count * stride].par_chunks_mut(TILE_ROWS * stride);
    tiles.enumerate().for_each(|(tile, dq)| {
        let rows = tile_rows(tile, query_count);
        let keys = ranges.union(rows.clone());
        if ranges.are_dense(rows.clone(), &keys) {
            with_scratch(2 * score_tile::length(keys.len()), |scratch| {
                dense_tile(&input, &upstream, &ranges, rows, keys, scratch, dq);
            });
        } else {
            #[rustfmt::skip] // it would drop the attribute of the closure
            with_wide_vectors(#[inline(always)] || {
                sparse_tile(&input, &upstream, &ranges, rows, dq);
            });
        }
    });
}

/// Rows and heads whose delta one task computes.
const DELTAS_PER_TASK: usize = 256;

/// `delta = Σ dout out` of every row and head.
fn put_deltas(out: &[f32], dout: &[f32], delta: &mut [f32], head_dim: usize) {
    let length = delta.len() * head_dim;
    let tasks = delta
        .par_chunks_mut(DELTAS_PER_TASK)
        .zip(out[..length].par_chunks(DELTAS_PER_TASK * head_dim))
        .zip(dout[..length].par_chunks(DELTAS_PER_TASK * head_dim));
    tasks.for_each(|((delta, out), dout)| {
        #[rustfmt::skip] // it would drop the attribute of the closure
        with_wide_vectors(#[inline(always)] || {
            let heads = out.chunks_exact(head_dim).zip(dout.chunks_exact(head_dim));
            for (delta, (out, dout)) in delta.iter_mut().zip(heads) {
                *delta = dot(out, dout);
            }
        });
    });
}

/// All rows against the union of their keys, by matrix products.
fn dense_tile(
    input: &Input,
    upstream: &Upstream,
    ranges: &Ranges,
    rows: Range<usize>,
    keys: Range<usize>,
    scratch: &mut [f32],
    dq: &mut [f32],
) {
    let (row_count, key_count, head_dim) = (rows.len(), keys.len(), input.q.head_dim);
    let seen = Seen::new(ranges, rows.clone(), &keys);
    let (scores, dweights) = scratch.split_at_mut(score_tile::length(key_count));
    for head in 0..input.head_count {
        let kv_head = head / input.group;
        gemm(
            [row_count, key_count, head_dim],
            (&mut *scores, score_tile::LAYOUT),
            false,
            input.q.matrix(rows.start, head),
            input.k.transposed(keys.start, kv_head),
        );
        gemm(
            [row_count, key_count, head_dim],
            (&mut *dweights, score_tile::LAYOUT),
            false,
            upstream.dout.matrix(rows.start, head),
            input.v.transposed(keys.start, kv_head),
        );
        let (mut shift, mut delta) = ([0.0; TILE_ROWS], [0.0; TILE_ROWS]);
        for (lane, row) in rows.clone().enumerate() {
            shift[lane] = upstream.log_sum_exp[row * input.head_count + head];
            delta[lane] = upstream.delta[row * input.head_count + head];
        }
        #[rustfmt::skip] // it would drop the attribute of the closure
        with_wide_vectors(#[inline(always)] || {
            let saved = (&shift, &delta);
            score_tile::differentiate_queries(scores, dweights, &seen, saved, input.scale);
        });
        let offset = input.q.offset + head * head_dim;
        let place = Layout { offset, row_stride: input.q.stride, col_stride: 1 };
        gemm(
            [row_count, head_dim, key_count],
            (&mut *dq, place),
            false,
            (&*scores, score_tile::LAYOUT),
            input.k.matrix(keys.start, kv_head),
        );
    }
}

/// Each row against its own few keys, by loops.
#[inline(always)]
fn sparse_tile(
    input: &Input,
    upstream: &Upstream,
    ranges: &Ranges,
    rows: Range<usize>,
    dq: &mut [f32],
) {
    let head_dim = input.q.head_dim;
    for (row, dq) in rows.zip(dq.chunks_exact_mut(input.q.stride)) {
        for head in 0..input.head_count {
            let kv_head = head / input.group;
            let (q, dout) = (input.q.row(row, head), upstream.dout.row(row, head));
            let at = row * input.head_count + head;
            let (shift, delta) = (upstream.log_sum_exp[at], upstream.delta[at]);
            let dq = &mut dq[input.q.offset + head * head_dim..][..head_dim];
            dq.fill(0.0);
            for key in ranges.of(row) {
                let k = input.k.row(key, kv_head);
                let weight = exp(input.scale * dot(q, k) - shift);
                let dscore = weight * (dot(dout, input.v.row(key, kv_head)) - delta);
                add_scaled(dq, input.scale * dscore, k);
            }
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle_shape(&params, &call);
    let input = oracle_input(&params, call.f(0), call.f(1));
    let (dout, log_sum_exp, out, delta) = (call.f(3), call.f(4), call.f(5), call.f_mut(6));
    oracle::attention::attention_delta(out, dout, delta, &shape);
    let upstream = oracle::attention::AttentionUpstream { dout, log_sum_exp, delta };
    let (stride, offset) = (input.q.stride, input.q.offset);
    let mut dq = oracle::attention::ColumnsMut { data: call.f_mut(7), stride, offset };
    oracle::attention::attention_query_grad(&input, call.u(2), &upstream, &mut dq, &shape);
}
