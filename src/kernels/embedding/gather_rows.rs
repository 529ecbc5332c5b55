//! Chosen rows of a matrix: `out[i] = x[index[i]]`.
//!
//! x is [x_rows, cols], index `[rows]` with numbers below x_rows, out [rows, cols]. Its gradient is
//! [`scatter_add`](super::scatter_add).

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, Weight,
    fold_groups, integers, values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `embedding/gather_rows.wgsl`.
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
    name: "gather_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("index", Element::U32),
        Binding::write("out", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/embedding/gather_rows.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Rows that one task of the CPU engine takes.
const ROWS_PER_TASK: usize = 64;

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
    copy_rows(Weight::Numbers(call.f(0)), &call.u(1)[..rows], call.f_mut(2), params.cols as usize);
}

/// `out[i] = table[index[i]]`.
pub(super) fn copy_rows(table: Weight<'_, f32>, index: &[u32], out: &mut [f32], cols: usize) {
    let tasks = out[..index.len() * cols].par_chunks_mut(ROWS_PER_TASK * cols);
    tasks.zip(index.par_chunks(ROWS_PER_TASK)).for_each(|(out, index)| {
        for (out, &row) in out.chunks_exact_mut(cols).zip(index) {
            table.read_rows(row as usize, cols, out);
        }
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let index = &call.u(1)[..rows];
    oracle::embedding::gather_rows(call.f(0), index, call.f_mut(2), params.cols as usize);
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 1, 1), (7, 3, 5), (64, 100, 64), (13, 29, 131), (70_000, 11, 3)];
    let case = |(rows, x_rows, cols): (usize, usize, usize)| {
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32);
        Case::new(format!("rows {rows} of {x_rows}, cols {cols}"), &params, step)
            .f(values(rows as u64, x_rows * cols))
            .u(integers(cols as u64, rows, x_rows as u32))
            .out(rows * cols)
    };
    shapes.into_iter().map(case).collect()
}
