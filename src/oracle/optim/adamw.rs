//! AdamW with decoupled weight decay, as PyTorch has it (spec §16.1).

use super::train_state::TrainState;
use crate::oracle::Real;

/// The constants of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW<R> {
    pub learning_rate: R,
    pub beta1: R,
    pub beta2: R,
    pub eps: R,
    /// Decays every weight, norms and embeddings included.
    pub weight_decay: R,
}

/// One step on weights `w`, gradients `g`, first moments `m` and second moments `v`, all of one
/// length, with `state` a buffer of [`TrainState`] that `update_decision` has written:
///
/// `g' = g · gradient_scale`, `w -= lr · weight_decay · w`, `m = beta1 · m + (1 - beta1) · g'`,
/// `v = beta2 · v + (1 - beta2) · g'²`,
/// `w -= lr · (m / (1 - beta1_power)) / (sqrt(v / (1 - beta2_power)) + eps)`.
///
/// If the state says skip, `w`, `m` and `v` stay. `g` is cleared either way.
pub fn adamw<R: Real>(
    w: &mut [R],
    g: &mut [R],
    m: &mut [R],
    v: &mut [R],
    state: &[R],
    rule: &AdamW<R>,
) {
    assert!(g.len() == w.len() && m.len() == w.len() && v.len() == w.len(), "adamw: lengths");
    let state = TrainState::read(state);
    let AdamW { learning_rate, beta1, beta2, eps, weight_decay } = *rule;
    let one = R::one();
    for i in 0..w.len() {
        if state.skip.is_zero() {
            let gradient = g[i] * state.gradient_scale;
            w[i] -= learning_rate * weight_decay * w[i];
            m[i] = beta1 * m[i] + (one - beta1) * gradient;
            v[i] = beta2 * v[i] + (one - beta2) * gradient * gradient;
            let mean = m[i] / (one - state.beta1_power);
            let root = (v[i] / (one - state.beta2_power)).sqrt();
            w[i] -= learning_rate * mean / (root + eps);
        }
        g[i] = R::zero();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::{Random, assert_close};
    use crate::oracle::optim::{UpdateRule, grad_norm, update_decision};

    const RULE: AdamW<f64> =
        AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };

    fn decision(g: &[f64]) -> [f64; 9] {
        let rule = UpdateRule {
            clip: 1.0,
            beta1: RULE.beta1,
            beta2: RULE.beta2,
            dynamic: true,
            growth_interval: 100.0,
            min_loss_scale: 1.0,
            max_loss_scale: 64.0,
        };
        let mut state = [0.0; 9];
        TrainState::new(16.0).write(&mut state);
        let mut partial = [0.0; 2];
        grad_norm(g, &mut partial, g.len());
        update_decision(&partial, &rule, &mut state);
        state
    }

    #[test]
    fn the_first_step_moves_by_the_learning_rate() {
        // After one step mean and root are g and |g|, whatever the scale of g.
        let mut w = [1.0, -2.0, 0.5];
        let mut g = [300.0, -5.0, 0.0];
        let (mut m, mut v) = ([0.0; 3], [0.0; 3]);
        let state = decision(&g);
        let scaled = g.map(|g| g * state[5]);
        adamw(&mut w, &mut g, &mut m, &mut v, &state, &RULE);
        let decay = 1.0 - 1e-4;
        assert_close("w", &[decay - 1e-3, -2.0 * decay + 1e-3, 0.5 * decay], &w, 1e-8);
        assert_close("m", &scaled.map(|g| 0.1 * g), &m, 1e-15);
        assert_close("v", &scaled.map(|g| 0.05 * g * g), &v, 1e-15);
        assert!(m[0] > 0.09, "clipped to a norm of one: {m:?}");
        assert_eq!(g, [0.0; 3]);
    }

    #[test]
    fn the_golden_first_step_follows_from_its_signs() {
        // Spec §25.7, the decoder norm before and after step 1: its gradients are far above eps,
        // so their size cancels and w · (1 - lr · wd) ∓ lr remains.
        let mut w = [1.1401722431, 1.0295732021, 1.1641821867, 1.1804733276];
        let after = [1.1410582254, 1.0304702430, 1.1650657660, 1.1793552807];
        let mut g = [-1.0, -1.0, -1.0, 1.0];
        let (mut m, mut v) = ([0.0; 4], [0.0; 4]);
        let mut state = [0.0; 9];
        TrainState {
            beta1_power: 0.9,
            beta2_power: 0.95,
            gradient_scale: 1.0,
            ..Default::default()
        }
        .write(&mut state);
        adamw(&mut w, &mut g, &mut m, &mut v, &state, &RULE);
        assert_close("w", &after, &w, 1e-8);
    }

    #[test]
    fn several_steps_agree_with_the_textbook() {
        let mut random = Random::new(14);
        let (mut w, mut m, mut v) = (0.3, [0.0], [0.0]);
        let mut got = [w];
        let (mut mean, mut square) = (0.0_f64, 0.0_f64);
        for t in 1..=5 {
            let gradient = random.value();
            let state = TrainState {
                gradient_scale: 0.25,
                beta1_power: 0.9_f64.powi(t),
                beta2_power: 0.95_f64.powi(t),
                ..Default::default()
            };
            let mut buffer = [0.0; 9];
            state.write(&mut buffer);
            adamw(&mut got, &mut [4.0 * gradient], &mut m, &mut v, &buffer, &RULE);

            mean += 0.1 * (gradient - mean);
            square += 0.05 * (gradient * gradient - square);
            let unbiased = mean / (1.0 - 0.9_f64.powi(t));
            let root = (square / (1.0 - 0.95_f64.powi(t))).sqrt();
            w = w * (1.0 - 1e-4) - 1e-3 * unbiased / (root + 1e-8);
        }
        assert!((w - 0.3).abs() > 1e-4);
        assert_close("w", &[w], &got, 1e-14);
    }

    #[test]
    fn a_skipped_step_clears_the_gradient_and_nothing_else() {
        let mut g = [1.0, f64::NAN];
        let state = decision(&g);
        let (mut w, mut m, mut v) = ([1.0, 2.0], [0.3, 0.4], [0.5, 0.6]);
        adamw(&mut w, &mut g, &mut m, &mut v, &state, &RULE);
        assert_eq!((w, m, v, g), ([1.0, 2.0], [0.3, 0.4], [0.5, 0.6], [0.0, 0.0]));
    }
}
