//! From gradient norms to what the update does: skip, or step with which multiplier.
//!
//! Gradients arrive multiplied by the loss scale. One that is not finite (or a norm that is not)
//! means the scale was too high: the update is left out and a dynamic scale is halved. Otherwise
//! the gradients are unscaled and clipped to a global norm in one multiplication, the step counts,
//! and a dynamic scale doubles after `growth_interval` good steps in a row.

use super::train_state::TrainState;
use crate::oracle::Real;

/// The constants of the decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateRule<R> {
    /// The global norm gradients are clipped to; 0 for no clipping.
    pub clip: R,
    pub beta1: R,
    pub beta2: R,
    /// Whether the loss scale moves; if not it stays what it is (1).
    pub dynamic: bool,
    /// Good steps in a row after which a dynamic scale doubles.
    pub growth_interval: R,
    pub min_loss_scale: R,
    pub max_loss_scale: R,
}

/// Reads `partial [groups, 2]` of `grad_norm` (all of it) and brings `state`, a buffer of
/// [`TrainState`], from the last update to this one.
///
/// `grad_norm = sqrt(Σ squares) / loss_scale`, `gradient_scale = min(1, clip / (grad_norm + 1e-6))
/// / loss_scale`, with the loss scale before any change.
pub fn update_decision<R: Real>(partial: &[R], rule: &UpdateRule<R>, state: &mut [R]) {
    let mut next = TrainState::read(state);
    let (mut squares, mut flags) = (R::zero(), R::zero());
    for group in 0..partial.len() / 2 {
        squares += partial[2 * group];
        flags += partial[2 * group + 1];
    }
    if flags > R::zero() || !squares.is_finite() {
        skip(rule, &mut next);
    } else {
        step(squares, rule, &mut next);
    }
    next.write(state);
}

fn skip<R: Real>(rule: &UpdateRule<R>, state: &mut TrainState<R>) {
    state.skip = R::one();
    state.skipped_steps += R::one();
    state.good_steps = R::zero();
    state.gradient_scale = R::zero();
    state.grad_norm = R::zero();
    if rule.dynamic {
        state.loss_scale = (state.loss_scale * R::of(0.5)).max(rule.min_loss_scale);
    }
}

fn step<R: Real>(squares: R, rule: &UpdateRule<R>, state: &mut TrainState<R>) {
    state.skip = R::zero();
    state.applied_steps += R::one();
    state.beta1_power *= rule.beta1;
    state.beta2_power *= rule.beta2;

    let unscale = R::one() / state.loss_scale;
    state.grad_norm = squares.sqrt() * unscale;
    let mut multiplier = R::one();
    if rule.clip > R::zero() {
        multiplier = multiplier.min(rule.clip / (state.grad_norm + R::of(1e-6)));
    }
    state.gradient_scale = unscale * multiplier;

    state.good_steps += R::one();
    if rule.dynamic && state.good_steps >= rule.growth_interval {
        state.loss_scale = (state.loss_scale * R::of(2.0)).min(rule.max_loss_scale);
        state.good_steps = R::zero();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: UpdateRule<f64> = UpdateRule {
        clip: 1.0,
        beta1: 0.9,
        beta2: 0.95,
        dynamic: true,
        growth_interval: 2.0,
        min_loss_scale: 4.0,
        max_loss_scale: 16.0,
    };

    fn decide(partial: &[f64], rule: &UpdateRule<f64>, state: TrainState<f64>) -> TrainState<f64> {
        let mut buffer = [9.0; TrainState::<f64>::FIELD_COUNT];
        state.write(&mut buffer);
        update_decision(partial, rule, &mut buffer);
        TrainState::read(&buffer)
    }

    #[test]
    fn a_large_gradient_is_unscaled_and_clipped() {
        // The scaled norm is 40, so the true norm is 5.
        let state = decide(&[1000.0, 0.0, 600.0, 0.0], &RULE, TrainState::new(8.0));
        assert_eq!((state.skip, state.applied_steps, state.skipped_steps), (0.0, 1.0, 0.0));
        assert_eq!(state.grad_norm, 5.0);
        assert!((state.gradient_scale - 1.0 / (8.0 * (5.0 + 1e-6))).abs() < 1e-15);
        assert_eq!((state.beta1_power, state.beta2_power), (0.9, 0.95));
        assert_eq!((state.loss_scale, state.good_steps), (8.0, 1.0));
    }

    #[test]
    fn a_small_gradient_is_only_unscaled() {
        let small = [4.0, 0.0];
        assert_eq!(decide(&small, &RULE, TrainState::new(8.0)).gradient_scale, 0.125);
        let unclipped = UpdateRule { clip: 0.0, ..RULE };
        let state = decide(&[6400.0, 0.0], &unclipped, TrainState::new(8.0));
        assert_eq!((state.grad_norm, state.gradient_scale), (10.0, 0.125));
    }

    #[test]
    fn overflow_skips_and_halves_down_to_the_floor() {
        let mut state = decide(&[1.0, 0.0], &RULE, TrainState::new(8.0));
        for (skipped, loss_scale) in [(1.0, 4.0), (2.0, 4.0)] {
            state = decide(&[1.0, 0.0, 1.0, 1.0], &RULE, state);
            assert_eq!((state.skip, state.gradient_scale, state.grad_norm), (1.0, 0.0, 0.0));
            assert_eq!((state.skipped_steps, state.loss_scale), (skipped, loss_scale));
            assert_eq!((state.good_steps, state.applied_steps), (0.0, 1.0));
            assert_eq!((state.beta1_power, state.beta2_power), (0.9, 0.95));
        }
        // A step after a skip is a step again, and the counts go on.
        let state = decide(&[1.0, 0.0], &RULE, state);
        assert_eq!((state.skip, state.skipped_steps, state.applied_steps), (0.0, 2.0, 2.0));
        assert_eq!(state.beta1_power, 0.9 * 0.9);
        // A sum that overflowed skips as well.
        assert_eq!(decide(&[f64::INFINITY, 0.0], &RULE, state).skip, 1.0);
    }

    #[test]
    fn good_steps_double_the_scale_up_to_the_ceiling() {
        let mut state = TrainState::new(8.0);
        let mut seen = Vec::new();
        for _ in 0..5 {
            state = decide(&[1.0, 0.0], &RULE, state);
            seen.push((state.loss_scale, state.good_steps));
        }
        assert_eq!(seen, [(8.0, 1.0), (16.0, 0.0), (16.0, 1.0), (16.0, 0.0), (16.0, 1.0)]);
    }

    #[test]
    fn a_fixed_scale_stays() {
        let fixed = UpdateRule { dynamic: false, growth_interval: 1.0, ..RULE };
        let state = decide(&[1.0, 0.0], &fixed, TrainState::new(1.0));
        assert_eq!((state.loss_scale, state.skip, state.applied_steps), (1.0, 0.0, 1.0));
        let state = decide(&[1.0, 1.0], &fixed, state);
        assert_eq!((state.loss_scale, state.skip, state.skipped_steps), (1.0, 1.0, 1.0));
    }
}
