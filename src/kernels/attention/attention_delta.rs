//! `delta = rowsum(dout * out)` per query and head: what both attention gradients subtract.
//!
//! out and dout are [queries, head_count * head_dim], delta is [queries, head_count].

use super::fast_exp::with_wide_vectors;
use super::heads::dot;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `attention/attention_delta.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub queries: Extent,
    pub head_count: u32,
    pub head_dim: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// One sum a query and head.
    pub fn new(queries: Extent, head_count: u32, head_dim: u32) -> Self {
        Self { queries, head_count, head_dim }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "attention_delta",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("out", Element::F32).or_half(),
        Binding::read("dout", Element::F32).or_half(),
        Binding::write("delta", Element::F32),
    ],
    variants: &[Variant::base(
        include_str!("../../../shaders/attention/attention_delta.wgsl"),
        groups,
    )],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.head_dim)]
}

/// Sums of one workgroup.
const SUMS_PER_GROUP: usize = 8;

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let sums = params.queries.length(counts) * params.head_count as usize;
    fold_groups(sums.div_ceil(SUMS_PER_GROUP))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let sums = params.queries.length(counts) as u64 * u64::from(params.head_count);
    let elements = sums * u64::from(params.head_dim);
    Cost { flops: 2 * elements, read_bytes: 8 * elements, written_bytes: 4 * sums }
}

/// Sums that one task computes.
const SUMS_PER_TASK: usize = 256;

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let head_dim = params.head_dim as usize;
    let sums = call.length(params.queries) * params.head_count as usize;
    let (out, dout, delta) = (call.f(0), call.f(1), call.f_mut(2));
    let tasks = delta[..sums]
        .par_chunks_mut(SUMS_PER_TASK)
        .zip(out[..sums * head_dim].par_chunks(SUMS_PER_TASK * head_dim))
        .zip(dout[..sums * head_dim].par_chunks(SUMS_PER_TASK * head_dim));
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

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (heads, head_dim) = (params.head_count as usize, params.head_dim as usize);
    let queries = call.length(params.queries);
    let delta = call.f_mut(2);
    oracle::attention::attention_delta(call.f(0), call.f(1), delta, queries, heads, head_dim);
}

fn cases() -> Vec<Case> {
    // Queries, heads, head_dim.
    let shapes = [(1, 1, 2), (5, 3, 12), (67, 2, 76), (4, 5, 128), (200_003, 3, 2)];
    let case = |(queries, heads, head_dim): (usize, u32, u32)| {
        let params = Params::new(Extent::of(Axis::Patches).times(1), heads, head_dim);
        let step = Step::of(Counts::default().with(Axis::Patches, queries));
        let sums = queries * heads as usize;
        Case::new(format!("queries {queries}, heads {heads} x {head_dim}"), &params, step)
            .f(values(queries as u64, sums * head_dim as usize))
            .f(values(queries as u64 + 1, sums * head_dim as usize))
            .out(sums)
            .tolerance(1e-4)
    };
    let mut cases: Vec<Case> = shapes.into_iter().map(case).collect();
    cases.push(case((67, 2, 76)).halves(&[0, 1]));
    cases
}
