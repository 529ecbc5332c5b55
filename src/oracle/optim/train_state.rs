//! What lives in the device buffer `train_state`: the optimiser's own decisions.
//!
//! The host never waits for these numbers; every kernel of `update` reads them where they are. All
//! are floats of one type, counts included (exact up to 2^24 steps).

use crate::oracle::Real;

/// The fields of the buffer, in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainState<R> {
    /// What the loss of the coming micro-steps is multiplied by.
    pub loss_scale: R,
    /// Updates applied since the loss scale last changed.
    pub good_steps: R,
    /// Updates left out because a gradient was not finite.
    pub skipped_steps: R,
    /// Updates applied: the step count of the bias corrections.
    pub applied_steps: R,
    /// 1 if the update in progress is to be left out, else 0.
    pub skip: R,
    /// What gradients are multiplied by: unscaling and clipping in one. 0 when skipping.
    pub gradient_scale: R,
    /// L2 norm of all unscaled gradients before clipping. 0 when skipping.
    pub grad_norm: R,
    /// beta1 to the power of `applied_steps`.
    pub beta1_power: R,
    /// beta2 to the power of `applied_steps`.
    pub beta2_power: R,
}

impl<R: Real> TrainState<R> {
    /// How many elements the buffer has at least.
    pub const FIELD_COUNT: usize = 9;

    /// Before the first step. `loss_scale` is 1 where the scale is not dynamic.
    pub fn new(loss_scale: R) -> Self {
        let one = R::one();
        Self { loss_scale, beta1_power: one, beta2_power: one, ..Self::default() }
    }

    /// The state a buffer holds.
    pub fn read(buffer: &[R]) -> Self {
        Self {
            loss_scale: buffer[0],
            good_steps: buffer[1],
            skipped_steps: buffer[2],
            applied_steps: buffer[3],
            skip: buffer[4],
            gradient_scale: buffer[5],
            grad_norm: buffer[6],
            beta1_power: buffer[7],
            beta2_power: buffer[8],
        }
    }

    /// Puts the state into a buffer; elements past the fields are left alone.
    pub fn write(&self, buffer: &mut [R]) {
        buffer[0] = self.loss_scale;
        buffer[1] = self.good_steps;
        buffer[2] = self.skipped_steps;
        buffer[3] = self.applied_steps;
        buffer[4] = self.skip;
        buffer[5] = self.gradient_scale;
        buffer[6] = self.grad_norm;
        buffer[7] = self.beta1_power;
        buffer[8] = self.beta2_power;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let buffer = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let state = TrainState::read(&buffer);
        assert_eq!(state.loss_scale, 1.0);
        assert_eq!(state.beta2_power, 9.0);
        let mut again = [0.5_f32; TrainState::<f32>::FIELD_COUNT + 1];
        state.write(&mut again);
        assert_eq!(again[..9], buffer);
        assert_eq!(again[9], 0.5);
    }

    #[test]
    fn a_new_state_has_taken_no_step() {
        let state = TrainState::new(1024.0_f32);
        assert_eq!((state.loss_scale, state.applied_steps), (1024.0, 0.0));
        assert_eq!((state.beta1_power, state.beta2_power), (1.0, 1.0));
    }
}
