//! A part of a table replays the steps that its rows have missed: once in `part_count` steps every
//! row has its turn, so that none misses more than are recorded. With one part all rows do.
//!
//! The table is cut into `part_count` parts of as many rows; that whose turn it is has the number
//! of all steps of `train_state` `[16]`, applied and skipped, modulo `part_count`. weight, moment1
//! and moment2 [row_count, cols] begin with row `first_row`; rows outside are left to calls over
//! the other shards. records and last_step `[table_rows]` as in
//! [`catch_up_rows`](super::catch_up_rows).

use super::replay::{Shard, TableCase, catch_up};
use super::step_record::RECORD_LENGTH;
use crate::kernels::optim::adamw::Rule;
use crate::kernels::optim::train_state::{APPLIED_STEPS, FIELD_COUNT, SKIPPED_STEPS};
use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Kernel, Step, Variant, fold_groups, wide,
};
use crate::oracle;
use crate::oracle::lazy::part_of_step;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `lazy/sweep_rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of the whole table.
    pub table_rows: u32,
    pub part_count: u32,
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

impl Params {
    /// Most rows of a part that lie in the shard.
    fn most_rows(&self) -> u32 {
        self.table_rows.div_ceil(self.part_count).min(self.row_count)
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "sweep_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("train_state", Element::F32),
        Binding::read("records", Element::F32),
        Binding::update("last_step", Element::U32),
        Binding::update("weight", Element::F32),
        Binding::update("moment1", Element::F32),
        Binding::update("moment2", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/lazy/sweep_rows.wgsl"), groups)],
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

/// One workgroup for every row of a part that may lie in the shard.
fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.most_rows() as usize)
}

/// As if a whole part lay in the shard and every row had missed `part_count` steps, which is the
/// most.
fn cost(params: &[u8], _counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (u64::from(params.most_rows()), u64::from(params.cols));
    Cost {
        flops: 16 * rows * cols * u64::from(params.part_count),
        read_bytes: 4 * (rows * (3 * cols + 1) + FIELD_COUNT as u64),
        written_bytes: 4 * rows * (3 * cols + 1),
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let length = (params.row_count * params.cols) as usize;
    let Params { beta1, beta2, eps, record_count, .. } = params;
    let (state, last_step) = (call.f(0), call.u_mut(2));
    let records = &call.f(1)[..record_count as usize * RECORD_LENGTH];
    let [weight, moment1, moment2] = [3, 4, 5].map(|index| &mut call.f_mut(index)[..length]);
    let (first_row, cols) = (params.first_row as usize, params.cols as usize);
    let shard = Shard { first_row, cols, weight, moment1, moment2 };
    let step = state[APPLIED_STEPS] as usize + state[SKIPPED_STEPS] as usize;
    let part = part_of_step(step, params.table_rows as usize, params.part_count as usize);
    catch_up(part, last_step, shard, [state, records], Rule { beta1, beta2, eps });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let length = (params.row_count * params.cols) as usize;
    let last_step = &mut call.u_mut(2)[..params.table_rows as usize];
    let [w, m, v] = [3, 4, 5].map(|index| &mut call.f_mut(index)[..length]);
    let (first_row, cols) = (params.first_row as usize, params.cols as usize);
    let how = oracle::lazy::CatchUp {
        state: call.f(0),
        records: &call.f(1)[..params.record_count as usize * RECORD_LENGTH],
        beta1: params.beta1.into(),
        beta2: params.beta2.into(),
        eps: params.eps.into(),
    };
    let mut shard = oracle::lazy::Shard { first_row, cols, w, m, v };
    oracle::lazy::sweep_rows(params.part_count as usize, last_step, &mut shard, &how);
}

fn cases() -> Vec<Case> {
    // Rows of the table, parts, columns, first row and rows of the shard, applied, records.
    let shapes = [
        [1, 1, 1, 0, 1, 3, 4],
        [50, 4, 7, 0, 50, 20, 5],
        [50, 3, 64, 20, 25, 102, 64],
        [50, 1, 516, 7, 31, 5, 64],
        [5, 64, 4, 0, 5, 66, 64],
        [132_000, 1, 4, 500, 131_000, 7, 8],
    ];
    let case = |(seed, shape): (usize, [usize; 7])| {
        let [table_rows, part_count, cols, first_row, row_count, applied, record_count] = shape;
        let params = Params {
            table_rows: table_rows as u32,
            part_count: part_count as u32,
            cols: cols as u32,
            first_row: first_row as u32,
            row_count: row_count as u32,
            record_count: record_count as u32,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-3,
            reserved: [0; 3],
        };
        let counts = [applied as u32, record_count as u32];
        let table = TableCase::new(10 * seed as u64, table_rows, row_count * cols + 4, counts);
        let name = format!(
            "{table_rows} rows of {cols} in {part_count} parts, shard {first_row} + {row_count}"
        );
        let case = Case::new(name, &params, Step::of(Counts::default()));
        let case = case.f(table.state).f(table.records).u(table.last_step);
        table.shard.into_iter().fold(case, Case::f)
    };
    shapes.into_iter().enumerate().map(case).collect()
}
