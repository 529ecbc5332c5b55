//! Rows replay the steps that they have missed.

use super::step_record::{RECORD_LENGTH, number};
use super::table::Shard;
use crate::oracle::Real;
use crate::oracle::optim::TrainState;

/// What replaying needs besides the rows.
#[derive(Clone, Copy)]
pub struct CatchUp<'a, R> {
    /// A buffer of [`TrainState`].
    pub state: &'a [R],
    /// What [`step_record`](super::step_record()) has left.
    pub records: &'a [R],
    pub beta1: R,
    pub beta2: R,
    pub eps: R,
}

/// Brings `rows` up to the applied steps of the state, each missed step with a gradient of zero:
/// `m = beta1 m`, `v = beta2 v`, `w = kept w - rate m / (root_factor sqrt(v) + eps)`.
///
/// Rows outside of the shard are left alone. `last_step [table rows]` says what each is up to; no
/// row has missed more steps than there are records.
pub fn catch_up_rows<R: Real>(
    rows: impl IntoIterator<Item = usize>,
    last_step: &mut [u32],
    shard: &mut Shard<'_, R>,
    how: &CatchUp<'_, R>,
) {
    let applied = number(TrainState::read(how.state).applied_steps);
    let count = how.records.len() / RECORD_LENGTH;
    for row in rows {
        let Some(elements) = shard.elements(row) else { continue };
        let Shard { w, m, v, .. } = &mut *shard;
        for step in last_step[row] as usize + 1..applied + 1 {
            let record = &how.records[RECORD_LENGTH * (step % count)..];
            for i in elements.clone() {
                m[i] = how.beta1 * m[i];
                v[i] = how.beta2 * v[i];
                w[i] = w[i] * record[0] - record[1] * m[i] / (v[i].sqrt() * record[2] + how.eps);
            }
        }
        last_step[row] = applied as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::assert_close;
    use crate::oracle::lazy::step_record;
    use crate::oracle::optim::{AdamW, adamw};

    const STEPS: usize = 9;

    /// State and rule of every step; the third and the last but one are skipped.
    fn steps() -> Vec<([f64; 9], AdamW<f64>)> {
        let mut state = TrainState::new(1.0);
        let rule =
            AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let step = |step: usize| {
            state.skip = if step == 2 || step + 2 == STEPS { 1.0 } else { 0.0 };
            if state.skip == 0.0 {
                state.applied_steps += 1.0;
                state.beta1_power *= rule.beta1;
                state.beta2_power *= rule.beta2;
            } else {
                state.skipped_steps += 1.0;
            }
            let mut buffer = [0.0; 9];
            state.write(&mut buffer);
            (buffer, AdamW { learning_rate: 0.1 / (step + 1) as f64, ..rule })
        };
        (0..STEPS).map(step).collect()
    }

    #[test]
    fn replayed_steps_are_steps_without_gradient() {
        let mut dense = [[0.7, -0.3], [0.2, -0.5], [0.01, 0.02]];
        let mut lazy = dense;
        let mut records = [0.0; 4 * STEPS];
        for (state, rule) in steps() {
            let [w, m, v] = &mut dense;
            adamw(w, &mut [0.0; 2], m, v, &state, &rule);
            step_record(&state, &mut records, &rule);
        }
        let (state, rule) = steps()[STEPS - 1];
        let AdamW { beta1, beta2, eps, .. } = rule;
        let how = CatchUp { state: &state, records: &records, beta1, beta2, eps };
        // The shard holds rows 1 and 2 of four, and row 2 is up to date already.
        let mut last_step = [0, 0, 7, 0];
        let mut catch_up = |lazy: &mut [[f64; 2]; 3]| {
            let [w, m, v] = lazy;
            let mut shard = Shard { first_row: 1, cols: 1, w, m, v };
            catch_up_rows(0..4, &mut last_step, &mut shard, &how);
            last_step
        };
        assert_eq!(catch_up(&mut lazy), [0, 7, 7, 0]);
        for (dense, lazy) in dense.iter().zip(&lazy) {
            assert_close("row 1", &dense[..1], &lazy[..1], 1e-14);
        }
        assert_eq!([lazy[0][1], lazy[1][1], lazy[2][1]], [-0.3, -0.5, 0.02]);
        let before = lazy;
        catch_up(&mut lazy);
        assert_eq!(lazy, before, "nothing was left to do");
    }
}
