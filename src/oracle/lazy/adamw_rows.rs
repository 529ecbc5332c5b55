//! AdamW on the rows that gradients have reached.

use super::step_record::number;
use super::table::{Shard, TouchedRows};
use crate::oracle::Real;
use crate::oracle::optim::{AdamW, TrainState, adamw};

/// [`adamw()`] on the touched rows of the shard, which are up to the step before; that they are up
/// to this one is written into `last_step [table rows]`. `gradient` is [slots, cols]. Other rows
/// are left alone.
pub fn adamw_rows<R: Real>(
    touched: TouchedRows<'_>,
    gradient: &mut [R],
    last_step: &mut [u32],
    shard: &mut Shard<'_, R>,
    state: &[R],
    rule: &AdamW<R>,
) {
    let decided = TrainState::read(state);
    for (row, slot) in touched.pairs() {
        let Some(at) = shard.elements(row) else { continue };
        let Shard { w, m, v, cols, .. } = &mut *shard;
        let g = &mut gradient[slot * *cols..(slot + 1) * *cols];
        adamw(&mut w[at.clone()], g, &mut m[at.clone()], &mut v[at], state, rule);
        if decided.skip.is_zero() {
            last_step[row] = number(decided.applied_steps) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_row_takes_the_dense_step() {
        let rule =
            AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let mut state = [0.0; 9];
        TrainState {
            applied_steps: 3.0,
            gradient_scale: 0.5,
            beta1_power: 0.729,
            beta2_power: 0.857,
            ..Default::default()
        }
        .write(&mut state);
        let mut lazy = [[0.7, -0.3], [0.2, -0.5], [0.01, 0.02]];
        let mut dense = lazy;
        let (mut gradient, mut last_step) = ([2.0, 5.0], [2, 2, 2]);
        let [w, m, v] = &mut lazy;
        // The shard holds rows 0 and 1 of three.
        let mut shard = Shard { first_row: 0, cols: 1, w, m, v };
        let touched = TouchedRows { rows: &[1, 2], slots: &[1, 0] };
        adamw_rows(touched, &mut gradient, &mut last_step, &mut shard, &state, &rule);
        let [w, m, v] = &mut dense;
        adamw(&mut w[1..], &mut [5.0], &mut m[1..], &mut v[1..], &state, &rule);
        assert_eq!((lazy, gradient, last_step), (dense, [2.0, 0.0], [2, 3, 2]));
    }
}
