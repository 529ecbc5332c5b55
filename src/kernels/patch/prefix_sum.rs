//! Exclusive prefix sums of counts: `out[i] = x[0] + .. + x[i - 1]`, wrapping (spec §4.1).
//!
//! x and out are `[rows]`. With boundary flags the patch of byte i is `out[i] + x[i] - 1`; with
//! patch lengths out is where each patch begins.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, integers,
    no_constants,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `patch/prefix_sum.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    pub fn new(rows: Extent) -> Self {
        Self { rows, reserved: [0; 2] }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "prefix_sum",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::U32), Binding::write("out", Element::U32)],
    variants: &[Variant::base(include_str!("../../../shaders/patch/prefix_sum.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// One workgroup walks over all rows.
fn groups(_params: &[u8], _counts: &Counts) -> [u32; 3] {
    [1, 1, 1]
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let rows = params.rows.length(counts) as u64;
    Cost { flops: 0, read_bytes: 4 * rows, written_bytes: 4 * rows }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let (x, out) = (call.u(0), call.u_mut(1));
    let mut sum = 0u32;
    for (out, x) in out[..rows].iter_mut().zip(&x[..rows]) {
        *out = sum;
        sum = sum.wrapping_add(*x);
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    oracle::patch::prefix_sum(&call.u(0)[..rows], &mut call.u_mut(1)[..rows]);
}

fn cases() -> Vec<Case> {
    // The last sum of a single row is zero, which no case may expect alone: two rows are fewest.
    let shapes = [(2, 9), (7, 2), (256, 2), (1023, 5), (1024, 3), (1025, 3), (70_001, 17)];
    let wrapping = (5000, u32::MAX);
    let case = |(rows, bound): (usize, u32)| {
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let mut x = integers(rows as u64, rows, bound);
        x[0] = 1;
        Case::new(format!("rows {rows} below {bound}"), &Params::new(Extent::of(Axis::Bytes)), step)
            .u(x)
            .out_u(rows)
    };
    shapes.into_iter().chain([wrapping]).map(case).collect()
}
