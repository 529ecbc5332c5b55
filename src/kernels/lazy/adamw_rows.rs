//! [AdamW](crate::kernels::optim::adamw) on the rows of a table that gradients have reached.
//!
//! rows `[touched]`, increasing, are touched rows of the table, which have caught up with the step
//! before; the gradient of `rows[i]` is row `slots[i]` of gradient [slots, cols]. weight, moment1
//! and moment2 [row_count, cols] begin with row `first_row`; rows outside are left to calls over
//! the other shards. Afterwards the gradients are zero, and last_step `[table rows]` says that the
//! rows are up to the applied steps of `train_state` `[16]`; if that says skip, nothing but the
//! gradients has changed.

use super::replay::TableCase;
use super::row_slices::disjoint_rows;
use crate::kernels::optim::adamw::{Chunk, Factors, Rule};
use crate::kernels::optim::train_state::{
    APPLIED_STEPS, BETA1_POWER, BETA2_POWER, FIELD_COUNT, GRADIENT_SCALE, SKIP,
};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use pulp::Arch;
use rayon::prelude::*;

/// The `Params` uniform of `lazy/adamw_rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub touched: Extent,
    pub cols: u32,
    /// Row of the table where the shard begins.
    pub first_row: u32,
    /// Rows of the shard.
    pub row_count: u32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
    /// What the learning rate of the step is multiplied by here.
    pub learning_rate_scale: f32,
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<Params>() == 48);

pub static KERNEL: Kernel = Kernel {
    name: "adamw_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("train_state", Element::F32),
        Binding::read("rows", Element::U32),
        Binding::read("slots", Element::U32),
        Binding::update("gradient", Element::F32),
        Binding::update("last_step", Element::U32),
        Binding::update("weight", Element::F32),
        Binding::update("moment1", Element::F32),
        Binding::update("moment2", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/lazy/adamw_rows.wgsl"), groups)],
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

/// As if every touched row lay in the shard.
fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (touched, cols) = (params.touched.length(counts) as u64, u64::from(params.cols));
    Cost {
        flops: 16 * touched * cols,
        read_bytes: 4 * (touched * (4 * cols + 2) + FIELD_COUNT as u64),
        written_bytes: 4 * touched * (4 * cols + 1),
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (first_row, cols) = (params.first_row, params.cols as usize);
    let length = params.row_count as usize * cols;
    let touched = call.length(params.touched);
    let (state, rows, slots) = (call.f(0), &call.u(1)[..touched], call.u(2));
    let position = |row: u32| rows.partition_point(|&other| other < row);
    let here = position(first_row)..position(first_row + params.row_count);
    let (rows, slots) = (&rows[here.clone()], &slots[here]);
    let (gradient, last_step) = (call.f_mut(3), call.u_mut(4));
    let mut gradients: Vec<_> = disjoint_rows(gradient, cols, rows.len(), |index| {
        slots[index] as usize..slots[index] as usize + 1
    });
    if state[SKIP] != 0.0 {
        gradients.par_iter_mut().for_each(|(_, gradient)| gradient.fill(0.0));
        return;
    }
    rows.iter().for_each(|&row| last_step[row as usize] = state[APPLIED_STEPS] as u32);
    // They come in the order of the slots and are wanted in that of the rows.
    gradients.sort_unstable_by_key(|(index, _)| *index);
    let place = |index: usize| {
        let row = (rows[index] - first_row) as usize;
        row..row + 1
    };
    let [weight, moment1, moment2] = [5, 6, 7]
        .map(|binding| disjoint_rows(&mut call.f_mut(binding)[..length], cols, rows.len(), place));
    let rate = call.step.learning_rate * params.learning_rate_scale;
    let factors = Factors::new(rate, params.weight_decay, state);
    let rule = Rule { beta1: params.beta1, beta2: params.beta2, eps: params.eps };
    let (rule, factors, scale) = (&rule, &factors, state[GRADIENT_SCALE]);
    let work = gradients.into_par_iter().zip(weight).zip(moment1).zip(moment2);
    work.for_each(|((((_, gradient), (_, weight)), (_, moment1)), (_, moment2))| {
        Arch::new().dispatch(Chunk { rule, factors, scale, weight, gradient, moment1, moment2 });
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rate = call.step.learning_rate * params.learning_rate_scale;
    let rule = oracle::optim::AdamW {
        learning_rate: f64::from(rate),
        beta1: f64::from(params.beta1),
        beta2: f64::from(params.beta2),
        eps: f64::from(params.eps),
        weight_decay: f64::from(params.weight_decay),
    };
    let length = (params.row_count * params.cols) as usize;
    let rows = &call.u(1)[..call.length(params.touched)];
    let touched = oracle::lazy::TouchedRows { rows, slots: call.u(2) };
    let (gradient, last_step) = (call.f_mut(3), call.u_mut(4));
    let [w, m, v] = [5, 6, 7].map(|index| &mut call.f_mut(index)[..length]);
    let (first_row, cols) = (params.first_row as usize, params.cols as usize);
    let mut shard = oracle::lazy::Shard { first_row, cols, w, m, v };
    oracle::lazy::adamw_rows(touched, gradient, last_step, &mut shard, call.f(0), &rule);
}

fn cases() -> Vec<Case> {
    // Touched rows, stride of them, columns, first row and rows of the shard, skip.
    let shapes = [
        [1, 1, 1, 0, 1, 0],
        [5, 3, 7, 0, 16, 0],
        [40, 2, 64, 11, 50, 0],
        [13, 1, 516, 0, 13, 0],
        [40, 2, 64, 11, 50, 1],
        [66_000, 2, 4, 100, 131_000, 0],
    ];
    let case = |(seed, shape): (usize, [usize; 6])| {
        let [touched, stride, cols, first_row, row_count, skip] = shape;
        let params = Params {
            touched: Extent::of(Axis::HashRows),
            cols: cols as u32,
            first_row: first_row as u32,
            row_count: row_count as u32,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-3,
            weight_decay: 0.1,
            learning_rate_scale: 0.5,
            reserved: [0; 2],
        };
        let mut step = Step::of(Counts::default().with(Axis::HashRows, touched));
        step.learning_rate = 0.75;
        let table_rows = (first_row + row_count).max(touched * stride);
        let seed = 10 * seed as u64;
        let mut table = TableCase::new(seed, table_rows, row_count * cols + 4, [9, 4]);
        table.state[SKIP] = skip as f32;
        table.state[GRADIENT_SCALE] = if skip == 1 { 0.0 } else { 0.625 };
        (table.state[BETA1_POWER], table.state[BETA2_POWER]) = (0.729, 0.857);
        let name =
            format!("{touched} rows of {cols}, shard {first_row} + {row_count}, skip {skip}");
        let case = Case::new(name, &params, step)
            .f(table.state)
            .u((0..touched).map(|index| (index * stride) as u32).collect())
            .u((0..touched).map(|index| ((index * 7 + 1) % touched) as u32).collect())
            .f(values(seed + 5, (touched + 2) * cols))
            .u(table.last_step);
        table.shard.into_iter().fold(case, Case::f)
    };
    shapes.into_iter().enumerate().map(case).collect()
}
