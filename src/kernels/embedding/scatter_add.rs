//! Gradient of a lookup: `table[row - first_row] += sum of dout[entry]` over the entries of a row.
//!
//! rows `[touched]` names each touched row once, in any order; entries `ranges[i].0..ranges[i].1`
//! of `entries` are the rows of dout [_, cols] that used `rows[i]`, summed in their order. table is
//! [row_count, cols] and begins with row `first_row` of the whole: touched rows outside of it are
//! left to calls over the other shards. No atomics, so the bits are always the same.

use crate::kernels::eights::{are_eights, chunk_groups, lanes_eights};
use crate::kernels::patch::disjoint_rows::for_disjoint_rows;
use crate::kernels::scratch::with_scratch;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Halves, Kernel, Step, Variant,
    fold_groups, integers, lane_count, values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `embedding/scatter_add.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub touched: Extent,
    pub cols: u32,
    /// Row of the whole table where `table` begins.
    pub first_row: u32,
    /// Rows of `table`.
    pub row_count: u32,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    pub fn new(touched: Extent, cols: u32, first_row: u32, row_count: u32) -> Self {
        Self { touched, cols, first_row, row_count, reserved: [0; 3] }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "scatter_add",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("rows", Element::U32),
        Binding::read("ranges", Element::U32),
        Binding::read("entries", Element::U32),
        Binding::read("dout", Element::F32),
        Binding::update("table", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/embedding/scatter_add.wgsl"), groups),
        lanes_eights(
            include_str!("../../../shaders/embedding/scatter_add.lanes_eights.wgsl"),
            takes_eights,
            eights_groups,
        ),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Lanes of columns that one workgroup takes.
const BLOCK: usize = 128;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.cols)]
}

/// One workgroup for every block of columns of every touched row.
fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let lanes = params.cols as usize / lane_count(params.cols);
    fold_groups(params.touched.length(counts) * lanes.div_ceil(BLOCK))
}

fn takes_eights(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    are_eights(&[params.cols])
}

fn eights_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    chunk_groups(params.touched.length(counts) * params.cols as usize)
}

/// As if every touched row lay in the table of this call and had one entry: how many there are is
/// no parameter.
fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (touched, cols) = (params.touched.length(counts) as u64, u64::from(params.cols));
    Cost {
        flops: touched * cols,
        read_bytes: 4 * (2 * touched * cols + 4 * touched),
        written_bytes: 4 * touched * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (touched, cols) = (call.length(params.touched), params.cols as usize);
    let (rows, ranges, entries, dout) = (call.u(0), call.u(1), call.u(2), call.f(3));
    // Rows of other shards become empty ranges, before or behind, so that ranges keep their order.
    let place_of = |index: usize| {
        let row = rows[index].saturating_sub(params.first_row).min(params.row_count);
        let own = rows[index] >= params.first_row && row < params.row_count;
        row as usize..row as usize + usize::from(own)
    };
    for_disjoint_rows(call.f_mut(4), cols, touched, place_of, |index, out| {
        let range = ranges[2 * index] as usize..ranges[2 * index + 1] as usize;
        let row_of = |entry: u32| &dout[entry as usize * cols..(entry as usize + 1) * cols];
        let Some((&first, others)) = entries[range].split_first() else { return };
        if others.is_empty() {
            add(out, row_of(first));
            return;
        }
        with_scratch(cols, |sum| {
            sum.copy_from_slice(row_of(first));
            others.iter().for_each(|&entry| add(sum, row_of(entry)));
            add(out, sum);
        });
    });
}

fn add(out: &mut [f32], values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += value;
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let touched = call.length(params.touched);
    let shard = params.first_row..params.first_row + params.row_count;
    let (mut rows, mut offsets, mut entries) = (Vec::new(), vec![0], Vec::new());
    for (&row, range) in call.u(0)[..touched].iter().zip(call.u(1).chunks(2)) {
        if shard.contains(&row) {
            rows.push(row - params.first_row);
            entries.extend_from_slice(&call.u(2)[range[0] as usize..range[1] as usize]);
            offsets.push(entries.len() as u32);
        }
    }
    let cols = params.cols as usize;
    oracle::embedding::scatter_add(&rows, &offsets, &entries, call.f(3), call.f_mut(4), cols);
}

fn cases() -> Vec<Case> {
    // Touched rows, rows of dout, columns, first row of the shard, rows of the shard.
    let shapes = [
        [1, 1, 1, 0, 1],
        [5, 30, 7, 0, 50],
        [40, 70, 65, 3, 100],
        [3, 400, 130, 0, 9],
        [30, 60, 300, 17, 31],
        [66_000, 100, 2, 0, 198_000],
        [80, 300, 72, 3, 200],
    ];
    shapes.into_iter().enumerate().map(|(seed, shape)| case(seed as u64, shape)).collect()
}

fn case(seed: u64, shape: [usize; 5]) -> Case {
    let [touched, dout_rows, cols, first_row, row_count] = shape;
    let step = Step::of(Counts::default().with(Axis::HashRows, touched));
    let params =
        Params::new(Extent::of(Axis::HashRows), cols as u32, first_row as u32, row_count as u32);
    // Every third row, those of even index first: not in order, some beyond the shard.
    let order = (0..touched).step_by(2).chain((1..touched).step_by(2));
    let rows = order.map(|index| 3 * index as u32).collect();
    // Entries of a row: none, one, or as many as make full and broken groups of four; with an
    // entry between the ranges that belongs to nobody.
    let mut ranges = Vec::new();
    let mut end = 0;
    for count in integers(seed, touched, if touched > 1000 { 3 } else { 23 }) {
        let count = if end == 0 { 1 } else { count };
        ranges.extend([end + 1, end + 1 + count]);
        end += 1 + count;
    }
    let name = format!("touched {touched}, cols {cols}, rows {first_row}+{row_count}");
    Case::new(name, &params, step)
        .u(rows)
        .u(ranges)
        .u(integers(seed + 100, end as usize, dout_rows as u32))
        .f(values(seed + 200, dout_rows * cols))
        // One row more than belongs to the shard: it keeps what it holds.
        .f(values(seed + 300, (row_count + 1) * cols))
}
