//! `out = x` in vectors of four: the bandwidth of copies.

use super::stream::{CHUNK, LANES, Params, groups, shapes};
use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Kernel, Variant, no_constants, values,
};
use crate::oracle;
use rayon::prelude::*;

pub use super::stream::Params as StreamParams;

pub static KERNEL: Kernel = Kernel {
    name: "stream_copy",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::F32), Binding::write("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/bench/stream_copy.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let bytes = 4 * params.element_count(counts) as u64;
    Cost { flops: 0, read_bytes: bytes, written_bytes: bytes }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = params.element_count(&call.step.counts);
    let (x, out) = (&call.f(0)[..count], &mut call.f_mut(1)[..count]);
    let chunks = out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
    chunks.for_each(|(out, x)| out.copy_from_slice(x));
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = params.element_count(&call.step.counts);
    oracle::bench::stream_copy(&call.f(0)[..count], &mut call.f_mut(1)[..count]);
}

fn cases() -> Vec<Case> {
    let case = |(params, step, vectors): (Params, _, usize)| {
        let name = format!("{vectors} vectors, {} groups", params.group_count);
        Case::new(name, &params, step)
            .f(values(vectors as u64, vectors * LANES))
            .out(vectors * LANES + 3)
            .tolerance(0.0)
    };
    shapes().into_iter().map(case).collect()
}
