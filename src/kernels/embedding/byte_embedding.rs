//! The table row of every id: `out[i] = table[ids[i]]` (spec §2.1).
//!
//! ids is `[rows]` with numbers below the vocabulary, table [vocabulary, cols], out [rows, cols].
//! Its gradient is [`scatter_add`](super::scatter_add).

use super::gather_rows::copy_rows;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    integers, values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `embedding/byte_embedding.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    pub fn new(rows: Extent, cols: u32) -> Self {
        Self { rows, cols, reserved: 0 }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "byte_embedding",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("ids", Element::U32),
        Binding::read("table", Element::F32),
        Binding::write("out", Element::F32),
    ],
    variants: &[Variant::base(
        include_str!("../../../shaders/embedding/byte_embedding.wgsl"),
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
    vec![wide(params.cols)]
}

/// One workgroup a row.
fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    Cost { flops: 0, read_bytes: 4 * (rows * cols + rows), written_bytes: 4 * rows * cols }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    copy_rows(call.f(1), &call.u(0)[..rows], call.f_mut(2), params.cols as usize);
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let ids = &call.u(0)[..rows];
    oracle::embedding::byte_embedding(ids, call.f(1), call.f_mut(2), params.cols as usize);
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (5, 7), (65, 64), (300, 129), (66_000, 4)];
    let case = |(rows, cols): (usize, usize)| {
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32);
        let mut ids = integers(rows as u64, rows, VOCABULARY);
        ids[rows / 2] = VOCABULARY - 1;
        Case::new(format!("rows {rows}, cols {cols}"), &params, step)
            .u(ids)
            .f(values(cols as u64, VOCABULARY as usize * cols))
            .out(rows * cols)
    };
    shapes.into_iter().map(case).collect()
}

/// Ids of the byte tokenizer: four special ones and all bytes.
const VOCABULARY: u32 = 260;
