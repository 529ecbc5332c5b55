//! One value in every element in vectors of four: the bandwidth of writes.

use super::stream::{CHUNK, LANES, Params, groups, shapes};
use crate::kernels::{Binding, Call, Case, Cost, Counts, Element, Kernel, Variant, no_constants};
use crate::oracle;
use rayon::prelude::*;

pub static KERNEL: Kernel = Kernel {
    name: "stream_write",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::write("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/bench/stream_write.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    Cost { flops: 0, read_bytes: 0, written_bytes: 4 * params.element_count(counts) as u64 }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = params.element_count(&call.step.counts);
    call.f_mut(0)[..count].par_chunks_mut(CHUNK).for_each(|out| out.fill(params.value));
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = params.element_count(&call.step.counts);
    oracle::bench::stream_write(f64::from(params.value), &mut call.f_mut(0)[..count]);
}

fn cases() -> Vec<Case> {
    let case = |(params, step, vectors): (Params, _, usize)| {
        let name = format!("{vectors} vectors, {} groups", params.group_count);
        Case::new(name, &params, step).out(vectors * LANES + 3).tolerance(0.0)
    };
    shapes().into_iter().map(case).collect()
}
