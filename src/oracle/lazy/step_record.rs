//! Records of applied steps, from which rows that missed them can replay them.

use crate::oracle::Real;
use crate::oracle::optim::{AdamW, TrainState};

/// Numbers of a record: what is left of a weight after its decay, the learning rate over the bias
/// correction of the first moment, one over the root of that of the second, and nothing.
pub const RECORD_LENGTH: usize = 4;

/// Records the step that `state` has decided, in `records [count, 4]` at its number modulo count.
/// A skipped step is none and is not recorded.
pub fn step_record<R: Real>(state: &[R], records: &mut [R], rule: &AdamW<R>) {
    let state = TrainState::read(state);
    if !state.skip.is_zero() {
        return;
    }
    let one = R::one();
    let count = records.len() / RECORD_LENGTH;
    let at = RECORD_LENGTH * (number(state.applied_steps) % count);
    records[at] = one - rule.learning_rate * rule.weight_decay;
    records[at + 1] = rule.learning_rate / (one - state.beta1_power);
    records[at + 2] = one / (one - state.beta2_power).sqrt();
    records[at + 3] = R::zero();
}

/// A count of the state as the whole number that it is.
pub(super) fn number<R: Real>(count: R) -> usize {
    count.to_usize().expect("counts are whole numbers and not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applied_steps_take_turns_and_skipped_ones_leave_no_record() {
        let rule =
            AdamW { learning_rate: 0.5, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let mut state = TrainState::new(1.0);
        (state.applied_steps, state.beta1_power, state.beta2_power) = (5.0, 0.5, 0.75);
        let mut buffer = [0.0; 9];
        state.write(&mut buffer);
        let mut records = [9.0; 12];
        step_record(&buffer, &mut records, &rule);
        let expected = [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 0.95, 1.0, 2.0, 0.0];
        assert_eq!(records, expected);
        state.skip = 1.0;
        state.write(&mut buffer);
        let mut records = [9.0; 12];
        step_record(&buffer, &mut records, &rule);
        assert_eq!(records, [9.0; 12]);
    }
}
