//! Gradient of attention with respect to the keys and values (spec §26.1).
//!
//! Inputs as in [`attention`](super::attention), but with the ranges the other way round: key `j`
//! is seen by the queries `query_range[j / key_factor] * query_factor`; `log_sum_exp` and dout, and
//! delta from the gradient of the [queries](super::attention_query_grad). dkv is laid out like kv:
//! the columns of keys and values are overwritten, the others left alone. Query heads that share a
//! key head add up in order. Keys that nobody sees get zeros.

use super::attention::{Input, Params, constants, pair_count, row_groups, tile_rows};
use super::attention_query_grad::Upstream;
use super::cases::{key_grad_cases, oracle_input, oracle_shape};
use super::fast_exp::{exp, with_wide_vectors};
use super::faster;
use super::few;
use super::heads::{add_scaled, dot};
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
    name: "attention_key_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("q", Element::F32).or_half(),
        Binding::read("kv", Element::F32).or_half(),
        Binding::read("query_range", Element::U32),
        Binding::read("dout", Element::F32).or_half(),
        Binding::read("log_sum_exp", Element::F32),
        Binding::read("delta", Element::F32),
        Binding::update("dkv", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/attention/attention_key_grad.wgsl"), groups),
        lanes::lanes(
            include_str!("../../../shaders/attention/attention_key_grad.lanes.wgsl"),
            lanes::key_groups,
        ),
        lanes::lanes_eights(
            include_str!("../../../shaders/attention/attention_key_grad.lanes_eights.wgsl"),
            lanes::key_groups,
        ),
        few::few(
            include_str!("../../../shaders/attention/attention_key_grad.few.wgsl"),
            few::key_groups,
        ),
        faster::square(
            include_str!("../../../shaders/attention/attention_key_grad.square.wgsl"),
            faster::key_squares::<32>,
        ),
        faster::matrix(
            "matrix",
            include_str!("../../../shaders/attention/attention_key_grad.matrix.wgsl"),
            faster::Heads::Of64,
            faster::key_tiles::<64>,
        ),
        faster::matrix(
            "matrix_128",
            include_str!("../../../shaders/attention/attention_key_grad.matrix_128.wgsl"),
            faster::Heads::Of128,
            faster::key_tiles::<64>,
        ),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases: key_grad_cases,
};

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.keys.length(counts).div_ceil(2 * row_groups(&params) as usize);
    fold_groups(tiles * params.kv_head_count as usize)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (heads, head_dim) = (u64::from(params.head_count), u64::from(params.head_dim));
    let query_heads = params.queries.length(counts) as u64 * heads;
    let key_heads = params.keys.length(counts) as u64 * u64::from(params.kv_head_count);
    Cost {
        flops: 8 * pair_count(&params, counts) * heads * head_dim,
        read_bytes: 8 * (head_dim * (query_heads + key_heads) + query_heads),
        written_bytes: 8 * key_heads * head_dim,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let key_count = call.length(params.keys);
    let input = Input::new(&params, call.f(0), call.f(1));
    let upstream = Upstream::new(&input, &call, call.f(5));
    let (row_factor, unit) = (params.key_factor as usize, params.query_factor as usize);
    let ranges = Ranges { pairs: call.u(2), row_factor, unit };
    let stride = input.k.stride;
    let tiles = call.f_mut(6)[..key_count * stride].par_chunks_mut(TILE_ROWS * stride);
    tiles.enumerate().for_each(|(tile, dkv)| {
        let rows = tile_rows(tile, key_count);
        let queries = ranges.union(rows.clone());
        if ranges.are_dense(rows.clone(), &queries) {
            let length = 2 * score_tile::length(queries.len()) + 2 * queries.len();
            with_scratch(length, |scratch| {
                dense_tile(&input, &upstream, &ranges, rows, queries, scratch, dkv);
            });
        } else {
            #[rustfmt::skip] // it would drop the attribute of the closure
            with_wide_vectors(#[inline(always)] || {
                sparse_tile(&input, &upstream, &ranges, rows, dkv);
            });
        }
    });
}

/// All keys of the tile against the union of the queries that see them, by matrix products.
/// `scratch` has room for weights, gradients of scores, and `log_sum_exp` and delta of each query.
fn dense_tile(
    input: &Input,
    upstream: &Upstream,
    ranges: &Ranges,
    rows: Range<usize>,
    queries: Range<usize>,
    scratch: &mut [f32],
    dkv: &mut [f32],
) {
    let (row_count, query_count, head_dim) = (rows.len(), queries.len(), input.q.head_dim);
    let seen = Seen::new(ranges, rows.clone(), &queries);
    let (weights, rest) = scratch.split_at_mut(score_tile::length(query_count));
    let (dscores, saved) = rest.split_at_mut(score_tile::length(query_count));
    let (saved, _) = saved.as_chunks_mut::<2>();
    for head in 0..input.head_count {
        let kv_head = head / input.group;
        for (saved, query) in saved.iter_mut().zip(queries.clone()) {
            let at = query * input.head_count + head;
            *saved = [upstream.log_sum_exp[at], upstream.delta[at]];
        }
        gemm(
            [row_count, query_count, head_dim],
            (&mut *weights, score_tile::LAYOUT),
            false,
            input.k.matrix(rows.start, kv_head),
            input.q.transposed(queries.start, head),
        );
        gemm(
            [row_count, query_count, head_dim],
            (&mut *dscores, score_tile::LAYOUT),
            false,
            input.v.matrix(rows.start, kv_head),
            upstream.dout.transposed(queries.start, head),
        );
        #[rustfmt::skip] // it would drop the attribute of the closure
        with_wide_vectors(#[inline(always)] || {
            score_tile::differentiate_keys(weights, dscores, &seen, saved, input.scale);
        });
        // The first query head of a group overwrites, the others add.
        let adds = head % input.group != 0;
        let products = [
            (input.k.offset, &*dscores, input.q.matrix(queries.start, head)),
            (input.v.offset, &*weights, upstream.dout.matrix(queries.start, head)),
        ];
        for (offset, left, right) in products {
            let offset = offset + kv_head * head_dim;
            let place = Layout { offset, row_stride: input.k.stride, col_stride: 1 };
            gemm(
                [row_count, head_dim, query_count],
                (&mut *dkv, place),
                adds,
                (left, score_tile::LAYOUT),
                right,
            );
        }
    }
}

/// Each key against the few queries that see it, by loops.
#[inline(always)]
fn sparse_tile(
    input: &Input,
    upstream: &Upstream,
    ranges: &Ranges,
    rows: Range<usize>,
    dkv: &mut [f32],
) {
    let head_dim = input.q.head_dim;
    for (row, dkv) in rows.zip(dkv.chunks_exact_mut(input.k.stride)) {
        for head in 0..input.head_count {
            let kv_head = head / input.group;
            let (k, v) = (input.k.row(row, kv_head), input.v.row(row, kv_head));
            let k_at = input.k.offset + kv_head * head_dim;
            let v_at = input.v.offset + kv_head * head_dim;
            if head % input.group == 0 {
                dkv[k_at..][..head_dim].fill(0.0);
                dkv[v_at..][..head_dim].fill(0.0);
            }
            for query in ranges.of(row) {
                let (q, dout) = (input.q.row(query, head), upstream.dout.row(query, head));
                let at = query * input.head_count + head;
                let weight = exp(input.scale * dot(q, k) - upstream.log_sum_exp[at]);
                let dscore = weight * (dot(dout, v) - upstream.delta[at]);
                add_scaled(&mut dkv[k_at..][..head_dim], input.scale * dscore, q);
                add_scaled(&mut dkv[v_at..][..head_dim], weight, dout);
            }
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle_shape(&params, &call);
    let input = oracle_input(&params, call.f(0), call.f(1));
    let upstream = oracle::attention::AttentionUpstream {
        dout: call.f(3),
        log_sum_exp: call.f(4),
        delta: call.f(5),
    };
    // The oracle writes two separate outputs; here they are columns of one.
    let dkv = call.f_mut(6);
    let mut dk = dkv.to_vec();
    let (k, v) = (input.k, input.v);
    oracle::attention::attention_key_grad(
        &input,
        call.u(2),
        &upstream,
        &mut oracle::attention::ColumnsMut { data: &mut dk, stride: k.stride, offset: k.offset },
        &mut oracle::attention::ColumnsMut { data: dkv, stride: v.stride, offset: v.offset },
        &shape,
    );
    let width = shape.kv_head_count * shape.head_dim;
    for row in 0..shape.key_count {
        let at = k.offset + row * k.stride;
        dkv[at..at + width].copy_from_slice(&dk[at..at + width]);
    }
}
