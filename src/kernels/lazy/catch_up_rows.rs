//! Rows that are about to be read replay the steps that they have missed.
//!
//! rows `[touched]` are rows of a table, increasing, each once. weight, moment1 and moment2
//! [row_count, cols] begin with row `first_row` of it; rows outside are left to calls over the
//! other shards. last_step `[table rows]` says which applied step each row is up to; it replays
//! those from there to the applied steps of `train_state` `[16]`, with a gradient of zero and the
//! factors in records [record_count, 4], and is up to them then. No row has missed more steps than
//! there are records.

use super::replay::{Shard, TableCase, catch_up};
use super::step_record::RECORD_LENGTH;
use crate::kernels::optim::adamw::Rule;
use crate::kernels::optim::train_state::FIELD_COUNT;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `lazy/catch_up_rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub touched: Extent,
    pub cols: u32,
    /// Row of the table where the shard begins.
    pub first_row: u32,
    /// Rows of the shard.
    pub row_count: u32,
    pub record_count: u32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 48);

pub static KERNEL: Kernel = Kernel {
    name: "catch_up_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("train_state", Element::F32),
        Binding::read("records", Element::F32),
        Binding::read("rows", Element::U32),
        Binding::update("last_step", Element::U32),
        Binding::update("weight", Element::F32),
        Binding::update("moment1", Element::F32),
        Binding::update("moment2", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/lazy/catch_up_rows.wgsl"), groups)],
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

/// One workgroup for every touched row.
fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.touched.length(counts))
}

/// As if every touched row lay in the shard and had missed one step: how many is no parameter.
fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (touched, cols) = (params.touched.length(counts) as u64, u64::from(params.cols));
    Cost {
        flops: 16 * touched * cols,
        read_bytes: 4 * (touched * (3 * cols + 2) + FIELD_COUNT as u64),
        written_bytes: 4 * touched * (3 * cols + 1),
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let length = (params.row_count * params.cols) as usize;
    let Params { beta1, beta2, eps, record_count, .. } = params;
    let records = &call.f(1)[..record_count as usize * RECORD_LENGTH];
    let rows = &call.u(2)[..call.length(params.touched)];
    let last_step = call.u_mut(3);
    let [weight, moment1, moment2] = [4, 5, 6].map(|index| &mut call.f_mut(index)[..length]);
    let (first_row, cols) = (params.first_row as usize, params.cols as usize);
    let shard = Shard { first_row, cols, weight, moment1, moment2 };
    let rows = rows.iter().map(|&row| row as usize);
    catch_up(rows, last_step, shard, [call.f(0), records], Rule { beta1, beta2, eps });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let length = (params.row_count * params.cols) as usize;
    let rows = &call.u(2)[..call.length(params.touched)];
    let last_step = call.u_mut(3);
    let [w, m, v] = [4, 5, 6].map(|index| &mut call.f_mut(index)[..length]);
    let (first_row, cols) = (params.first_row as usize, params.cols as usize);
    let how = oracle::lazy::CatchUp {
        state: call.f(0),
        records: &call.f(1)[..params.record_count as usize * RECORD_LENGTH],
        beta1: params.beta1.into(),
        beta2: params.beta2.into(),
        eps: params.eps.into(),
    };
    let mut shard = oracle::lazy::Shard { first_row, cols, w, m, v };
    let rows = rows.iter().map(|&row| row as usize);
    oracle::lazy::catch_up_rows(rows, last_step, &mut shard, &how);
}

fn cases() -> Vec<Case> {
    // Touched rows, stride of them, columns, first row and rows of the shard, applied, records.
    let shapes = [
        [1, 1, 1, 0, 1, 3, 4],
        [5, 3, 7, 0, 16, 20, 5],
        [40, 2, 64, 11, 50, 100, 64],
        [13, 1, 516, 0, 13, 5, 64],
        [6, 1, 130, 2, 3, 9, 8],
        [66_000, 2, 4, 100, 131_000, 7, 8],
    ];
    let case = |(seed, shape): (usize, [usize; 7])| {
        let [touched, stride, cols, first_row, row_count, applied, record_count] = shape;
        let params = Params {
            touched: Extent::of(Axis::HashRows),
            cols: cols as u32,
            first_row: first_row as u32,
            row_count: row_count as u32,
            record_count: record_count as u32,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-3,
            reserved: [0; 3],
        };
        let step = Step::of(Counts::default().with(Axis::HashRows, touched));
        let table_rows = (first_row + row_count).max(touched * stride);
        let counts = [applied as u32, record_count as u32];
        let table = TableCase::new(10 * seed as u64, table_rows, row_count * cols + 4, counts);
        let name = format!("{touched} rows of {cols}, shard {first_row} + {row_count}");
        let case = Case::new(name, &params, step).f(table.state).f(table.records);
        let rows = (0..touched).map(|index| (index * stride) as u32).collect();
        let case = case.u(rows).u(table.last_step);
        table.shard.into_iter().fold(case, Case::f)
    };
    shapes.into_iter().enumerate().map(case).collect()
}
