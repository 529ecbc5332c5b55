//! Replaying missed steps on the CPU, and cases of it.

use super::row_slices::disjoint_rows;
use super::step_record::RECORD_LENGTH;
use crate::kernels::optim::adamw::{Factors, Rule};
use crate::kernels::optim::train_state::{APPLIED_STEPS, SKIPPED_STEPS, initial};
use crate::kernels::values;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Weights and moments [rows, cols] from row `first_row` of the table on.
pub(super) struct Shard<'a> {
    pub first_row: usize,
    pub cols: usize,
    pub weight: &'a mut [f32],
    pub moment1: &'a mut [f32],
    pub moment2: &'a mut [f32],
}

/// Brings those of `rows`, increasing, that lie in the shard up to the applied steps of `state`.
///
/// # Panics
/// If a row has missed more steps than there are records.
pub(super) fn catch_up(
    rows: impl Iterator<Item = usize>,
    last_step: &mut [u32],
    shard: Shard<'_>,
    [state, records]: [&[f32]; 2],
    rule: Rule,
) {
    let applied = state[APPLIED_STEPS] as u32;
    let Shard { first_row, cols, weight, moment1, moment2 } = shard;
    let here = first_row..first_row + weight.len() / cols;
    let late = rows.filter(|row| here.contains(row)).filter_map(|row| {
        let last = std::mem::replace(&mut last_step[row], applied);
        (last < applied).then_some((row, last))
    });
    let late: Vec<(usize, u32)> = late.collect();
    let record_count = records.len() / RECORD_LENGTH;
    let most = late.iter().map(|(_, last)| applied - last).max().unwrap_or(0);
    assert!(most as usize <= record_count, "a row missed {most} steps of {record_count} recorded");
    let place = |index: usize| late[index].0 - first_row..late[index].0 - first_row + 1;
    let [weight, moment1, moment2] =
        [weight, moment1, moment2].map(|all| disjoint_rows(all, cols, late.len(), place));
    let work = weight.into_par_iter().zip(moment1).zip(moment2);
    work.for_each(|(((index, weight), (_, moment1)), (_, moment2))| {
        let missed = late[index].1 + 1..=applied;
        let factors = missed.map(|step| {
            let at = step as usize % record_count * RECORD_LENGTH;
            Factors { kept: records[at], rate: records[at + 1], root_factor: records[at + 2] }
        });
        Arch::new().dispatch(Row { rule, factors, weight, moment1, moment2 });
    });
}

/// One row; a type and no closure, so that it is inlined where vectors are wide.
struct Row<'a, F> {
    rule: Rule,
    factors: F,
    weight: &'a mut [f32],
    moment1: &'a mut [f32],
    moment2: &'a mut [f32],
}

impl<F: Iterator<Item = Factors>> NullaryFnOnce for Row<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for factors in self.factors {
            let moments = self.moment1.iter_mut().zip(&mut *self.moment2);
            for (weight, (m, v)) in self.weight.iter_mut().zip(moments) {
                self.rule.step(&factors, 0.0, weight, m, v);
            }
        }
    }
}

/// A table in a case: state after `applied` steps and two skipped ones, records, what rows are up
/// to, weight, moment1, moment2 of a shard.
pub(super) struct TableCase {
    pub state: Vec<f32>,
    pub records: Vec<f32>,
    pub last_step: Vec<u32>,
    pub shard: [Vec<f32>; 3],
}

impl TableCase {
    /// With rows that are up to different steps, none further back than there are records.
    pub fn new(
        seed: u64,
        table_rows: usize,
        shard_length: usize,
        [applied, record_count]: [u32; 2],
    ) -> Self {
        let mut state = initial(1.0);
        (state[APPLIED_STEPS], state[SKIPPED_STEPS]) = (applied as f32, 2.0);
        let record = |index: usize| {
            let part = (index % record_count as usize) as f32 / record_count as f32;
            [1.0 - 0.01 * part, 0.1 * part, 1.5 - 0.5 * part, 0.0]
        };
        let least = applied.saturating_sub(record_count);
        let last_step = (0..table_rows as u32).map(|row| applied - row * 7 % (applied - least + 1));
        let square = |value: f32| value * value;
        let shard = [0, 1, 2].map(|index| values(seed + index, shard_length));
        let [weight, moment1, moment2] = shard;
        Self {
            state: state.to_vec(),
            records: (0..record_count as usize).flat_map(record).collect(),
            last_step: last_step.collect(),
            shard: [weight, moment1, moment2.into_iter().map(square).collect()],
        }
    }
}
