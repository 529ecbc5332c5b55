//! Sums of squares of the gradient of a table of which only touched rows lie in memory, with the
//! bits that [`grad_norm`](crate::kernels::optim::grad_norm) has over all of it.
//!
//! rows `[touched]`, increasing, are touched rows of the table; the gradient of `rows[i]` is row
//! `slots[i]` of gradient [slots, cols], and all other rows have a gradient of zero. Zeros change
//! no sum, so that leaving them out and adding the rest in the same places and order is exact.
//! partial [group_count, 2] are the groups of rows `first_row .. first_row + row_count`, which lie
//! in an arena of `length` elements.

use crate::kernels::optim::grad_norm::squares_and_flag;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `lazy/grad_norm_rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub touched: Extent,
    pub cols: u32,
    /// Row of the table where the shard begins.
    pub first_row: u32,
    /// Rows of the shard.
    pub row_count: u32,
    /// Elements of the arena in which the weights of these rows lie: the rows, and zeros.
    pub length: u32,
    /// Elements that one workgroup sums.
    pub group_elements: u32,
    /// Groups that are written; together they hold the arena.
    pub group_count: u32,
}

const _: () = assert!(size_of::<Params>() == 32);

pub static KERNEL: Kernel = Kernel {
    name: "grad_norm_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("rows", Element::U32),
        Binding::read("slots", Element::U32),
        Binding::read("gradient", Element::F32),
        Binding::write("partial", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/lazy/grad_norm_rows.wgsl"), groups)],
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

/// As if every touched row lay in the shard.
fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (touched, cols) = (params.touched.length(counts) as u64, u64::from(params.cols));
    Cost {
        flops: 2 * touched * cols,
        read_bytes: 4 * touched * (cols + 2),
        written_bytes: 8 * u64::from(params.group_count),
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let Params { cols, first_row, row_count, length, group_elements, group_count, .. } = params;
    let [cols, length, group_elements] = [cols, length, group_elements].map(|count| count as usize);
    assert!(length <= group_elements * group_count as usize, "the groups hold the arena");
    let touched = call.length(params.touched);
    let (rows, slots, gradient) = (&call.u(0)[..touched], &call.u(1)[..touched], call.f(2));
    let position = |row: u32| rows.partition_point(|&other| other < row);
    let here = position(first_row)..position(first_row + row_count);
    let (rows, slots) = (&rows[here.clone()], &slots[here]);
    let groups = call.f_mut(3)[..2 * group_count as usize].par_chunks_mut(2).enumerate();
    groups.for_each_init(Vec::new, |dense: &mut Vec<f32>, (group, partial)| {
        let first = (group * group_elements).min(length);
        let end = (first + group_elements).min(length);
        let start_of = |row: u32| (row - first_row) as usize * cols;
        let from = rows.partition_point(|&row| start_of(row) + cols <= first);
        let until = rows.partition_point(|&row| start_of(row) < end);
        if from >= until {
            partial.fill(0.0);
            return;
        }
        // The group as it would lie in memory.
        dense.clear();
        dense.resize(end - first, 0.0);
        for (&row, &slot) in rows[from..until].iter().zip(&slots[from..until]) {
            let (start, slot) = (start_of(row), slot as usize * cols);
            let (low, high) = (start.max(first), (start + cols).min(end));
            dense[low - first..high - first]
                .copy_from_slice(&gradient[slot + low - start..slot + high - start]);
        }
        partial.copy_from_slice(&squares_and_flag(dense));
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let touched = call.length(params.touched);
    let partial = call.f_mut(3);
    partial[..2 * params.group_count as usize].fill(0.0);
    let rows = oracle::lazy::TouchedRows { rows: &call.u(0)[..touched], slots: call.u(1) };
    let length = (params.row_count * params.cols) as usize;
    let places = [params.first_row as usize, length, params.group_elements as usize];
    oracle::lazy::grad_norm_rows(rows, call.f(2), partial, params.cols as usize, places);
}

fn cases() -> Vec<Case> {
    // Touched rows, stride of them, columns, first row and rows of the shard, elements a group.
    let shapes = [
        [1, 1, 1, 0, 1, 1],
        [5, 3, 7, 0, 16, 16],
        [40, 2, 64, 11, 50, 256],
        [30, 1, 300, 4, 20, 128],
        [6, 9, 512, 0, 90, 16_384],
        [2000, 100, 3, 100, 199_000, 8],
    ];
    let case = |(seed, shape): (usize, [usize; 6])| {
        let [touched, stride, cols, first_row, row_count, group_elements] = shape;
        let length = (row_count * cols).next_multiple_of(128);
        let group_count = length.div_ceil(group_elements) + 2;
        let params = Params {
            touched: Extent::of(Axis::HashRows),
            cols: cols as u32,
            first_row: first_row as u32,
            row_count: row_count as u32,
            length: length as u32,
            group_elements: group_elements as u32,
            group_count: group_count as u32,
        };
        let step = Step::of(Counts::default().with(Axis::HashRows, touched));
        let mut gradient = values(seed as u64, (touched + 2) * cols);
        if cols == 300 {
            gradient[3210] = f32::NAN;
            gradient[5000] = f32::INFINITY;
        }
        let name = format!("{touched} rows of {cols}, shard {first_row} + {row_count}");
        Case::new(name, &params, step)
            .u((0..touched).map(|index| (index * stride) as u32).collect())
            .u((0..touched).map(|index| ((index * 7 + 1) % touched) as u32).collect())
            .f(gradient)
            .out(2 * group_count + 3)
    };
    shapes.into_iter().enumerate().map(case).collect()
}
