//! A part of the table catches up in every step, so that no row misses more than is recorded.

use super::catch_up_rows::{CatchUp, catch_up_rows};
use super::step_record::number;
use super::table::Shard;
use crate::oracle::Real;
use crate::oracle::optim::TrainState;
use std::ops::Range;

/// The rows whose turn it is after so many steps, applied or skipped: one of `part_count` parts of
/// the table, as equal as can be, one after the other and all over again.
pub fn part_of_step(step: usize, table_rows: usize, part_count: usize) -> Range<usize> {
    let rows = table_rows.div_ceil(part_count);
    let first = (step % part_count * rows).min(table_rows);
    first..(first + rows).min(table_rows)
}

/// [`catch_up_rows`] for the part whose turn it is of a table as long as `last_step`.
pub fn sweep_rows<R: Real>(
    part_count: usize,
    last_step: &mut [u32],
    shard: &mut Shard<'_, R>,
    how: &CatchUp<'_, R>,
) {
    let state = TrainState::read(how.state);
    let step = number(state.applied_steps) + number(state.skipped_steps);
    let part = part_of_step(step, last_step.len(), part_count);
    catch_up_rows(part, last_step, shard, how);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_turn_once_in_a_round() {
        for (rows, parts) in [(1, 1), (10, 4), (64, 64), (7, 64), (1000, 64)] {
            let turns = (5..5 + parts).flat_map(|step| part_of_step(step, rows, parts));
            let mut turns: Vec<_> = turns.collect();
            turns.sort_unstable();
            assert!(turns.into_iter().eq(0..rows), "{rows} rows in {parts} parts");
        }
    }

    #[test]
    fn skipped_steps_have_a_turn_and_are_not_replayed() {
        let mut state = [0.0; 9];
        TrainState { applied_steps: 2.0, skipped_steps: 3.0, ..Default::default() }
            .write(&mut state);
        let records = [0.5, 0.0, 1.0, 0.0];
        let how = CatchUp { state: &state, records: &records, beta1: 0.5, beta2: 0.5, eps: 1.0 };
        let (mut w, mut m, mut v) = ([1.0; 4], [0.0; 4], [0.0; 4]);
        let mut shard = Shard { first_row: 0, cols: 1, w: &mut w, m: &mut m, v: &mut v };
        let mut last_step = [0, 1, 0, 0];
        // The fifth step is the turn of rows 2 and 3, the second of two parts.
        sweep_rows(2, &mut last_step, &mut shard, &how);
        assert_eq!((w, last_step), ([1.0, 1.0, 0.25, 0.25], [0, 1, 2, 2]));
    }
}
