//! The sum of what every invocation of a grid reads in vectors of four: the bandwidth of reads.

use super::stream::{LANES, Params, WIDTH, groups, shapes};
use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Kernel, Variant, no_constants, values,
};
use crate::oracle;
use rayon::prelude::*;

pub static KERNEL: Kernel = Kernel {
    name: "stream_read",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::F32), Binding::write("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/bench/stream_read.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Sums that a stream of these parameters leaves.
pub fn sum_count(params: &Params) -> usize {
    params.group_count as usize * WIDTH
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let count = params.element_count(counts) as u64;
    let written_bytes = 4 * sum_count(&params) as u64;
    Cost { flops: count, read_bytes: 4 * count, written_bytes }
}

/// Pieces that the CPU variant reads at the same time; they do not depend on the threads, so that
/// neither do the sums.
const PIECE_COUNT: usize = 64;

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let count = params.element_count(&call.step.counts);
    let x = &call.f(0)[..count];
    let sums = &mut call.f_mut(1)[..sum_count(&params)];
    // A row of the grid is what all invocations read once.
    let row = sums.len() * LANES;
    let piece = count.div_ceil(row).div_ceil(PIECE_COUNT).max(1) * row;
    let lanes = x.par_chunks(piece).map(|piece| {
        let mut lanes = vec![0.0_f32; row];
        for x in piece.chunks(row) {
            #[rustfmt::skip] // it would drop the attribute of the closure
            pulp::Arch::new().dispatch(#[inline(always)] || {
                lanes.iter_mut().zip(x).for_each(|(lane, x)| *lane += x);
            });
        }
        lanes
    });
    let lanes: Vec<Vec<f32>> = lanes.collect();
    for (index, sum) in sums.iter_mut().enumerate() {
        let all = lanes.iter().flat_map(|lanes| &lanes[index * LANES..(index + 1) * LANES]);
        *sum = all.sum();
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let count = params.element_count(&call.step.counts);
    let sums = &mut call.f_mut(1)[..sum_count(&params)];
    oracle::bench::stream_read(&call.f(0)[..count], sums);
}

fn cases() -> Vec<Case> {
    let case = |(params, step, vectors): (Params, _, usize)| {
        let name = format!("{vectors} vectors, {} groups", params.group_count);
        Case::new(name, &params, step)
            .f(values(vectors as u64, vectors * LANES))
            .out(sum_count(&params) + 3)
            .tolerance(1e-4)
    };
    shapes().into_iter().map(case).collect()
}
