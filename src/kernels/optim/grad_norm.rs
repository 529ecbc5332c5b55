//! Sums of squares of the gradients, group by group, and whether anything in them overflowed.
//!
//! `partial[group] = (Σ g², flag)` over elements `group group_elements ..` of gradient `[length]`;
//! partial is [group_count, 2]. An element that is not finite, told by its bits, sets the flag to 1
//! and counts as 0. Groups past the last element are zeros.

use crate::kernels::eights::{are_eights, rows_of_eights};
use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Halves, Kernel, Step, Variant, fold_groups,
    no_constants, reduce::lanes, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `optim/grad_norm.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements of the gradient.
    pub length: u32,
    /// Elements that one workgroup sums.
    pub group_elements: u32,
    /// Groups that are written; together they hold the gradient.
    pub group_count: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    /// `length` elements in `group_count` groups of `group_elements`.
    pub fn new(length: u32, group_elements: u32, group_count: u32) -> Self {
        Self { length, group_elements, group_count, reserved: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "grad_norm",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("gradient", Element::F32), Binding::write("partial", Element::F32)],
    variants: &[
        Variant::base(include_str!("../../../shaders/optim/grad_norm.wgsl"), groups),
        rows_of_eights(
            include_str!("../../../shaders/optim/grad_norm.lanes_eights.wgsl"),
            takes_eights,
            groups,
        ),
    ],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.group_count as usize)
}

fn takes_eights(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    are_eights(&[params.length, params.group_elements])
}

fn cost(params: &[u8], _counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let length = u64::from(params.length);
    Cost {
        flops: 2 * length,
        read_bytes: 4 * length,
        written_bytes: 8 * u64::from(params.group_count),
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let [length, group_elements, group_count] =
        [params.length, params.group_elements, params.group_count].map(|count| count as usize);
    assert!(length <= group_elements * group_count, "grad_norm: the groups hold the gradient");
    let (gradient, partial) = (&call.f(0)[..length], call.f_mut(1));
    let groups = partial[..2 * group_count].par_chunks_mut(2).enumerate();
    groups.for_each(|(group, partial)| {
        let first = (group * group_elements).min(length);
        let gradient = &gradient[first..(first + group_elements).min(length)];
        partial.copy_from_slice(&squares_and_flag(gradient));
    });
}

/// The two numbers of one group.
pub(in crate::kernels) fn squares_and_flag(gradient: &[f32]) -> [f32; 2] {
    let squares = lanes::sum(gradient, |value| value * value);
    // A finite sum has finite terms; otherwise it may have overflowed by itself.
    if squares.is_finite() {
        return [squares, 0.0];
    }
    let flag = gradient.iter().any(|value| !value.is_finite());
    let square = |value: f32| if value.is_finite() { value * value } else { 0.0 };
    [lanes::sum(gradient, square), flag.into()]
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let partial = call.f_mut(1);
    partial[..2 * params.group_count as usize].fill(0.0);
    let gradient = &call.f(0)[..params.length as usize];
    oracle::optim::grad_norm(gradient, partial, params.group_elements as usize);
}

fn cases() -> Vec<Case> {
    // length, elements a group, groups
    let shapes = [
        (1, 1, 1),
        (7, 8, 3),
        (1031, 256, 5),
        (1000, 257, 4),
        (1000, 256, 5),
        (70_001, 1, 70_002),
        (40_000, 16_384, 32),
    ];
    let case = |(length, group_elements, group_count): (usize, u32, u32)| {
        let params = Params::new(length as u32, group_elements, group_count);
        let mut gradient = values(length as u64, length + 3);
        if length == 1000 {
            gradient[3] = f32::NAN;
            gradient[300] = f32::INFINITY;
            gradient[600] = f32::NEG_INFINITY;
        }
        // What lies beyond the length must not be looked at.
        gradient[length..].fill(f32::NAN);
        let name = format!("length {length}, {group_count} groups of {group_elements}");
        Case::new(name, &params, Step::of(Counts::default()))
            .f(gradient)
            .out(2 * group_count as usize + 3)
    };
    shapes.into_iter().map(case).collect()
}
