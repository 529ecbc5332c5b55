//! The buffer `train_state` `[16]`: what the optimiser decides on the device, and nobody waits for.
//!
//! All fields are f32, counts included (exact up to 2^24 steps). The shaders have the same indices
//! in `shaders/shared/train_state.wgsl`; the oracle reads the same order.

/// What the loss of the coming micro-steps is multiplied by.
pub const LOSS_SCALE: usize = 0;
/// Updates applied since the loss scale last changed.
pub const GOOD_STEPS: usize = 1;
/// Updates left out because a gradient was not finite.
pub const SKIPPED_STEPS: usize = 2;
/// Updates applied: the step count of the bias corrections.
pub const APPLIED_STEPS: usize = 3;
/// 1 if the update in progress is left out, else 0.
pub const SKIP: usize = 4;
/// What gradients are multiplied by: unscaling and clipping in one. 0 when skipping.
pub const GRADIENT_SCALE: usize = 5;
/// L2 norm of all unscaled gradients before clipping. 0 when skipping.
pub const GRAD_NORM: usize = 6;
/// beta1 to the power of the applied steps.
pub const BETA1_POWER: usize = 7;
/// beta2 to the power of the applied steps.
pub const BETA2_POWER: usize = 8;

/// Fields in use.
pub const FIELD_COUNT: usize = 9;
/// Elements of the buffer; those past the fields are zero.
pub const LENGTH: usize = 16;

/// What the host learns from the buffer, when it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainState {
    /// See [`SKIPPED_STEPS`].
    pub skipped_steps: f32,
    /// See [`APPLIED_STEPS`].
    pub applied_steps: f32,
    /// Whether the last update was left out.
    pub is_skipped: bool,
    /// See [`GRAD_NORM`].
    pub grad_norm: f32,
    /// See [`LOSS_SCALE`].
    pub loss_scale: f32,
}

impl TrainState {
    /// What a buffer holds.
    ///
    /// # Panics
    /// If it is shorter than [`FIELD_COUNT`].
    pub fn read(buffer: &[f32]) -> Self {
        Self {
            skipped_steps: buffer[SKIPPED_STEPS],
            applied_steps: buffer[APPLIED_STEPS],
            is_skipped: buffer[SKIP] > 0.0,
            grad_norm: buffer[GRAD_NORM],
            loss_scale: buffer[LOSS_SCALE],
        }
    }
}

/// Before the first step. `loss_scale` is 1 where the scale is not dynamic.
pub fn initial(loss_scale: f32) -> [f32; LENGTH] {
    let mut state = [0.0; LENGTH];
    state[LOSS_SCALE] = loss_scale;
    state[BETA1_POWER] = 1.0;
    state[BETA2_POWER] = 1.0;
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::optim::TrainState as Oracle;

    const NAMES: [(&str, usize); FIELD_COUNT] = [
        ("LOSS_SCALE", LOSS_SCALE),
        ("GOOD_STEPS", GOOD_STEPS),
        ("SKIPPED_STEPS", SKIPPED_STEPS),
        ("APPLIED_STEPS", APPLIED_STEPS),
        ("SKIP", SKIP),
        ("GRADIENT_SCALE", GRADIENT_SCALE),
        ("GRAD_NORM", GRAD_NORM),
        ("BETA1_POWER", BETA1_POWER),
        ("BETA2_POWER", BETA2_POWER),
    ];

    #[test]
    fn the_shaders_have_the_same_indices() {
        let text = include_str!("../../../shaders/shared/train_state.wgsl");
        for (name, index) in NAMES {
            assert!(text.contains(&format!("\nconst {name}: u32 = {index}u;\n")), "{name}");
        }
        assert_eq!(text.matches("\nconst ").count(), FIELD_COUNT);
    }

    #[test]
    fn the_oracle_has_the_same_order() {
        let numbers: Vec<f32> = (0..FIELD_COUNT).map(|index| index as f32).collect();
        let at = |index: usize| numbers[index];
        let expected = Oracle {
            loss_scale: at(LOSS_SCALE),
            good_steps: at(GOOD_STEPS),
            skipped_steps: at(SKIPPED_STEPS),
            applied_steps: at(APPLIED_STEPS),
            skip: at(SKIP),
            gradient_scale: at(GRADIENT_SCALE),
            grad_norm: at(GRAD_NORM),
            beta1_power: at(BETA1_POWER),
            beta2_power: at(BETA2_POWER),
        };
        assert_eq!(Oracle::read(&numbers), expected);
        assert_eq!(Oracle::<f32>::FIELD_COUNT, FIELD_COUNT);
    }

    #[test]
    fn the_initial_state_is_the_oracles() {
        let mut expected = [0.0; LENGTH];
        Oracle::new(1024.0_f32).write(&mut expected);
        assert_eq!(initial(1024.0), expected);
    }

    #[test]
    fn the_host_reads_what_the_oracle_writes() {
        let mut buffer = [0.0; LENGTH];
        let oracle = Oracle {
            loss_scale: 512.0,
            good_steps: 3.0,
            skipped_steps: 2.0,
            applied_steps: 7.0,
            skip: 1.0,
            gradient_scale: 0.25,
            grad_norm: 1.5,
            beta1_power: 0.5,
            beta2_power: 0.75,
        };
        oracle.write(&mut buffer);
        let expected = TrainState {
            skipped_steps: 2.0,
            applied_steps: 7.0,
            is_skipped: true,
            grad_norm: 1.5,
            loss_scale: 512.0,
        };
        assert_eq!(TrainState::read(&buffer), expected);
        assert!(!TrainState::read(&initial(1.0)).is_skipped);
    }
}
