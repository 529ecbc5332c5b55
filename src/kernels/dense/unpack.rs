//! `out [rows, cols]`: the numbers of packed weights, for whoever does not read them as they lie;
//! in f16 for products in mixed precision.

use super::elementwise::{STRIDING_COUNT, elementwise_groups};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, lane_count,
    packing_constants, values, wide,
};
use crate::oracle;
use crate::packed::WeightType;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `dense/unpack.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    /// [`WeightType::number`] of the weights; not f32.
    pub weight_type: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

pub static KERNEL: Kernel = Kernel {
    name: "unpack",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("weight", Element::U32),
        Binding::write("out", Element::F32).or_half(),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/dense/unpack.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Numbers that one task of the CPU engine takes, about.
const NUMBERS_PER_TASK: usize = 1 << 15;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let mut constants = vec![wide(params.cols)];
    constants.extend_from_slice(packing_constants(params.weight_type));
    constants
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    elementwise_groups(params.rows.length(counts) * params.cols as usize / lane_count(params.cols))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts), params.cols as usize);
    let words = rows * WeightType::from_number(params.weight_type).row_length(cols);
    Cost { flops: 0, read_bytes: 4 * words as u64, written_bytes: 4 * (rows * cols) as u64 }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let weight = call.weight(0, params.weight_type);
    let rows_a_task = (NUMBERS_PER_TASK / cols).max(1);
    let tasks = call.f_mut(1)[..rows * cols].par_chunks_mut(rows_a_task * cols);
    tasks.enumerate().for_each(|(task, out)| weight.read_rows(task * rows_a_task, cols, out));
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let weights = WeightType::from_number(params.weight_type);
    oracle::dense::unpack(call.u(0), call.f_mut(1), rows, cols, weights);
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (5, 7), (3, 31), (4, 70), (17, 132), (9, 4), (2, 2 * STRIDING_COUNT + 8)];
    let mut cases = Vec::new();
    for weights in WeightType::ALL.into_iter().filter(|weights| weights.is_packed()) {
        // One type is enough for the grid that strides.
        let count = shapes.len() - usize::from(weights != WeightType::Int8);
        for (seed, (rows, cols)) in shapes.into_iter().take(count).enumerate() {
            let (axis, weight_type) = (Extent::of(Axis::Bytes), weights.number());
            let params = Params { rows: axis, cols: cols as u32, weight_type };
            let step = Step::of(Counts::default().with(Axis::Bytes, rows));
            let name = format!("{} {rows} x {cols}", weights.name());
            let case = Case::new(name, &params, step);
            let case = case.weight(values(seed as u64, rows * cols), cols, weights);
            let case = case.out(rows * cols).tolerance(0.0);
            if seed % 2 == 0 {
                cases.push(case.clone().halves(&[1]));
            }
            cases.push(case);
        }
    }
    cases
}
