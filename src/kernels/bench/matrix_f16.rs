//! Products of 16 x 16 by 16 x 16 in f16 that add up in f32, operands in registers: how fast the
//! matrix unit is. The base variant computes the same without one and is no measure of anything.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Needs, Step, Variant,
    fold_groups, no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use half::f16;

/// The `Params` uniform of `bench/matrix_f16.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Results of 16 x 16, all alike.
    pub slots: Extent,
    /// How often every product is added.
    pub step_count: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

/// Elements of a matrix.
pub const MATRIX: usize = 256;
/// Matrices on either side.
pub const SIDE: usize = 4;
/// Slots of a workgroup of the variant `coop`.
const GROUP_SLOTS: usize = 4;

pub static KERNEL: Kernel = Kernel {
    name: "matrix_f16",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("a", Element::F32),
        Binding::read("b", Element::F32),
        Binding::write("out", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/bench/matrix_f16.wgsl"), |params, counts| {
            fold_groups(slot_count(params, counts))
        }),
        Variant {
            name: "coop",
            source: include_str!("../../../shaders/bench/matrix_f16.coop.wgsl"),
            defines: &[],
            needs: Needs { f16: true, subgroups: true, cooperative_matrix: true, ..Needs::NOTHING },
            takes: |_, _| true,
            suits: |_| true,
            keeps_bits: false,
            groups: |params, counts| fold_groups(slot_count(params, counts).div_ceil(GROUP_SLOTS)),
        },
    ],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

impl Params {
    /// So many slots.
    pub fn new(slots: Extent, step_count: u32) -> Self {
        Self { slots, step_count, reserved: 0 }
    }
}

fn slot_count(params: &[u8], counts: &Counts) -> usize {
    let params: Params = bytemuck::pod_read_unaligned(params);
    params.slots.length(counts)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let slots = params.slots.length(counts) as u64;
    let products = slots * u64::from(params.step_count) * (SIDE * SIDE) as u64;
    Cost {
        flops: 2 * products * 16 * MATRIX as u64,
        read_bytes: 8 * (SIDE * MATRIX) as u64,
        written_bytes: 4 * slots * MATRIX as u64,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let slots = call.length(params.slots);
    let halves = |x: &[f32]| -> Vec<f32> {
        x[..SIDE * MATRIX].iter().map(|&x| f16::from_f32(x).to_f32()).collect()
    };
    let (a, b) = (halves(call.f(0)), halves(call.f(1)));
    let out = &mut call.f_mut(2)[..slots * MATRIX];
    oracle::bench::matrix_f16(&a, &b, params.step_count as usize, out);
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let slots = call.length(params.slots);
    let (a, b) = (&call.f(0)[..SIDE * MATRIX], &call.f(1)[..SIDE * MATRIX]);
    let out = &mut call.f_mut(2)[..slots * MATRIX];
    oracle::bench::matrix_f16(a, b, params.step_count as usize, out);
}

/// Operands that f16 represents, so that only the order of the sums differs; products do not
/// commute, so that a transposed operand is seen.
fn cases() -> Vec<Case> {
    let operands = |seed| {
        let of = values(seed, SIDE * MATRIX).into_iter();
        of.map(|x| f16::from_f32(x).to_f32()).collect::<Vec<_>>()
    };
    let case = |(slots, steps): (usize, u32)| {
        let params = Params::new(Extent::of(Axis::Bytes), steps);
        let step = Step::of(Counts::default().with(Axis::Bytes, slots));
        Case::new(format!("{slots} slots, {steps} steps"), &params, step)
            .f(operands(1))
            .f(operands(2))
            .out(slots * MATRIX + 4)
            .tolerance(1e-4)
    };
    [(1, 1), (3, 2), (4, 1), (7, 3), (16, 5)].into_iter().map(case).collect()
}
