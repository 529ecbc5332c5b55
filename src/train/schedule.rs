//! Learning-rate schedules: what the learning rate is multiplied by at a scheduler step (spec
//! §16.2).
//!
//! The scheduler step of the first update is 0, of the last `step_count - 1`. Schedules count
//! steps, never the clock. Everything is f64; the product with `optim.lr` is rounded to f32 once.
//!
//! What surprises, kept as the reference implementation has it:
//! - The multiplier of step 0 is 0 when there is a warmup: the first update only fills the moments.
//! - `cosine` jumps back up at exactly `s = step_count` (to 1 with the defaults), because its sign
//!   flips there. No update of a whole run uses that step.
//! - The default floor is a tenth of the peak; the paper decays to 0 (`lr_min_ratio = 0`).
//! - `wsd` ends its decay at `1 / (f / r + 1 - f)` of the peak, not at `r`; `f` is the decay
//!   fraction.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The family of curves; the names are those of `optim.scheduler`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Warmup, then half a cosine (or several, by `cycle_length`) down to the floor.
    #[default]
    Cosine,
    /// Warmup, then a straight line down to the floor.
    Linear,
    /// Warmup, then `(warmup / s) ^ exp_factor`, never under the floor.
    InvSqrt,
    /// 1 always, no warmup.
    Constant,
    /// Warmup, stable, decay: 1 until the last part of each cycle, then a hyperbola down.
    Wsd,
}

impl ScheduleKind {
    /// Every kind with the name it has in a configuration.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("cosine", Self::Cosine),
        ("linear", Self::Linear),
        ("inv_sqrt", Self::InvSqrt),
        ("constant", Self::Constant),
        ("wsd", Self::Wsd),
    ];
}

/// A schedule: a pure function of the step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub kind: ScheduleKind,
    /// Updates in the whole run (`steps`, not `max_steps`: stopping early does not bend the curve).
    pub step_count: u64,
    /// Updates over which the rate rises linearly from 0.
    pub warmup_count: u64,
    /// The floor as a part of the peak.
    pub min_ratio: f64,
    /// Length of a cycle as a part of the run; `cosine` and `wsd`.
    pub cycle_length: f64,
    /// Exponent of the progress inside the cosine.
    pub cosine_theta: f64,
    /// The part of a `wsd` cycle that decays.
    pub decay_fraction: f64,
    /// Exponent of `inv_sqrt`.
    pub exp_factor: f64,
}

impl Schedule {
    /// Linear warmup over `warmup_count` updates, then cosine down to a tenth at `step_count`.
    pub fn new(kind: ScheduleKind, step_count: u64, warmup_count: u64) -> Self {
        Self {
            kind,
            step_count,
            warmup_count,
            min_ratio: 0.1,
            cycle_length: 1.0,
            cosine_theta: 1.0,
            decay_fraction: 0.1,
            exp_factor: 0.5,
        }
    }

    /// Refuses parameters for which the curve is not defined.
    ///
    /// # Errors
    /// `Config` with the key of `[optim]`: a floor outside 0..=1, a cycle shorter than one update,
    /// an exponent or fraction out of range, `inv_sqrt` without warmup, `wsd` with floor 0.
    pub fn check(&self) -> Result<()> {
        use ScheduleKind::{Cosine, InvSqrt, Wsd};
        range("lr_min_ratio", self.min_ratio, 0.0, 1.0)?;
        range("decay_fraction", self.decay_fraction, 0.0, 1.0)?;
        range("cosine_theta", self.cosine_theta, 0.0, f64::MAX)?;
        range("exp_factor", self.exp_factor, 0.0, f64::MAX)?;
        range("cycle_length", self.cycle_length, 0.0, f64::MAX)?;
        let cycle = self.cycle();
        if matches!(self.kind, Cosine | Wsd) && self.step_count > 0 && cycle < 1.0 {
            let problem = format!("a cycle is {cycle} updates, expected at least 1");
            return Err(Error::config("optim.cycle_length", problem));
        }
        if self.kind == InvSqrt && self.warmup_count == 0 {
            let problem = "expected at least 1 with the inv_sqrt scheduler, got 0";
            return Err(Error::config("optim.warmup", problem));
        }
        if self.kind == Wsd && self.min_ratio == 0.0 {
            let problem = "expected more than 0 with the wsd scheduler, got 0: its decay is 1 / x";
            return Err(Error::config("optim.lr_min_ratio", problem));
        }
        Ok(())
    }

    /// What the peak learning rate is multiplied by at update `step_index` (from 0).
    pub fn multiplier(&self, step_index: u64) -> f64 {
        if self.kind == ScheduleKind::Constant {
            return 1.0;
        }
        if step_index < self.warmup_count {
            return step_index as f64 / self.warmup_count as f64;
        }
        match self.kind {
            ScheduleKind::Cosine => self.cosine(step_index),
            ScheduleKind::Linear => self.linear(step_index),
            ScheduleKind::InvSqrt => self.inv_sqrt(step_index),
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Wsd => self.wsd(step_index),
        }
    }

    fn cosine(&self, step_index: u64) -> f64 {
        let Some(progress) = self.progress(step_index) else { return self.min_ratio };
        let half_count = (step_index as f64 / self.cycle()).floor();
        let sign = 1.0 - 2.0 * (half_count % 2.0);
        let angle = std::f64::consts::PI * progress.powf(self.cosine_theta) / self.cycle_length;
        self.min_ratio + 0.5 * (1.0 - self.min_ratio) * (sign * angle.cos() + 1.0)
    }

    fn linear(&self, step_index: u64) -> f64 {
        match self.progress(step_index) {
            Some(progress) => progress * self.min_ratio + (1.0 - progress),
            None => self.min_ratio,
        }
    }

    fn inv_sqrt(&self, step_index: u64) -> f64 {
        let warmup = (self.warmup_count as f64).powf(self.exp_factor);
        (warmup / (step_index as f64).powf(self.exp_factor)).max(self.min_ratio)
    }

    fn wsd(&self, step_index: u64) -> f64 {
        let cycle = self.cycle() as u64;
        if cycle == 0 {
            return self.min_ratio;
        }
        let end = cycle * (step_index / cycle + 1);
        let decay_count = (end as f64 * self.decay_fraction) as u64;
        let decay_start = end - decay_count;
        if step_index <= decay_start {
            return 1.0;
        }
        let part = (step_index - decay_start) as f64 / end as f64;
        1.0 / (part / self.min_ratio + 1.0 - part)
    }

    /// How much of the run after the warmup is done, 0..=1; `None` past its end, and where the
    /// warmup leaves nothing of it.
    fn progress(&self, step_index: u64) -> Option<f64> {
        if step_index > self.step_count || self.step_count <= self.warmup_count {
            return None;
        }
        let done = (step_index - self.warmup_count) as f64;
        Some(done / (self.step_count - self.warmup_count) as f64)
    }

    /// Updates in a cycle.
    fn cycle(&self) -> f64 {
        self.step_count as f64 * self.cycle_length
    }
}

fn range(key: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let bound = if most == f64::MAX { "or more".into() } else { format!("to {most}") };
    Err(Error::config(format!("optim.{key}"), format!("expected {least} {bound}, got {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: Schedule, expected: &[(u64, f64)]) {
        schedule.check().unwrap();
        for &(step_index, value) in expected {
            let got = schedule.multiplier(step_index);
            assert!((got - value).abs() < 1e-12, "{:?} {step_index}: {got}", schedule.kind);
        }
    }

    #[test]
    fn cosine_golden() {
        let schedule = Schedule::new(ScheduleKind::Cosine, 100_000, 2000);
        check(schedule, &[(0, 0.0), (1, 0.0005), (1000, 0.5), (2000, 1.0), (51_000, 0.55)]);
        // The published value has ten digits.
        assert!((schedule.multiplier(99_999) - 0.100_000_000_2).abs() < 5e-11);
    }

    #[test]
    fn cosine_jumps_at_the_final_index_and_stays_low_after() {
        check(
            Schedule::new(ScheduleKind::Cosine, 100_000, 2000),
            &[(100_000, 1.0), (100_001, 0.1), (u64::MAX, 0.1)],
        );
    }

    #[test]
    fn the_first_update_has_rate_zero_only_with_a_warmup() {
        for (_, kind) in ScheduleKind::NAMES {
            let with = Schedule::new(kind, 100, 10).multiplier(0);
            assert_eq!(with, if kind == ScheduleKind::Constant { 1.0 } else { 0.0 });
        }
        for kind in [ScheduleKind::Cosine, ScheduleKind::Linear, ScheduleKind::Wsd] {
            assert_eq!(Schedule::new(kind, 100, 0).multiplier(0), 1.0);
        }
    }

    #[test]
    fn the_floor_of_the_paper_and_the_default_differ() {
        let default = Schedule::new(ScheduleKind::Cosine, 1000, 10);
        let paper = Schedule { min_ratio: 0.0, ..default };
        check(paper, &[(505, 0.5)]);
        assert!(paper.multiplier(999) < 1e-5);
        assert!((default.multiplier(999) - 0.1).abs() < 1e-5);
    }

    #[test]
    fn cosine_cycles_and_theta() {
        let half = Schedule {
            cycle_length: 0.5,
            min_ratio: 0.0,
            ..Schedule::new(ScheduleKind::Cosine, 1000, 0)
        };
        // At 500 the sign flips where the cosine turns: a restart from 1, not a way back up.
        check(half, &[(0, 1.0), (250, 0.5), (500, 1.0), (750, 0.5), (1000, 1.0)]);
        assert!(half.multiplier(499) < 1e-4 && half.multiplier(999) < 1e-4);
        let bent = Schedule { cosine_theta: 2.0, ..Schedule::new(ScheduleKind::Cosine, 1000, 0) };
        check(bent, &[(500, 0.1 + 0.45 * ((std::f64::consts::PI / 4.0).cos() + 1.0))]);
    }

    #[test]
    fn linear_inv_sqrt_constant() {
        check(
            Schedule::new(ScheduleKind::Linear, 1000, 100),
            &[(50, 0.5), (100, 1.0), (550, 0.55), (1000, 0.1), (5000, 0.1)],
        );
        check(
            Schedule::new(ScheduleKind::InvSqrt, 1000, 100),
            &[(50, 0.5), (100, 1.0), (400, 0.5), (2500, 0.2), (10_000, 0.1), (40_000, 0.1)],
        );
        let cubic = Schedule { exp_factor: 2.0, ..Schedule::new(ScheduleKind::InvSqrt, 1000, 100) };
        check(cubic, &[(200, 0.25)]);
        check(Schedule::new(ScheduleKind::Constant, 1000, 100), &[(0, 1.0), (1, 1.0), (2000, 1.0)]);
    }

    #[test]
    fn wsd_is_flat_then_falls_and_starts_anew_each_cycle() {
        let one = Schedule::new(ScheduleKind::Wsd, 1000, 100);
        // u = 50 of E = 1000: 1 / (0.05 / 0.1 + 0.95).
        check(one, &[(50, 0.5), (100, 1.0), (900, 1.0), (950, 1.0 / 1.45)]);
        assert!((one.multiplier(999) - 1.0 / 1.891).abs() < 1e-12);
        let two = Schedule { cycle_length: 0.5, ..one };
        // Second cycle: E = 1000, its last tenth of E decays.
        check(two, &[(450, 1.0), (475, 1.0 / 1.45), (500, 1.0), (900, 1.0), (950, 1.0 / 1.45)]);
    }

    #[test]
    fn every_multiplier_is_finite_and_in_range_even_where_the_warmup_outlasts_the_run() {
        for (_, kind) in ScheduleKind::NAMES {
            for (step_count, warmup_count) in [(0, 1), (1, 1), (10, 20), (10, 10), (100, 7)] {
                let schedule = Schedule::new(kind, step_count, warmup_count);
                for step_index in 0..130 {
                    let value = schedule.multiplier(step_index);
                    assert!((0.0..=1.0).contains(&value), "{schedule:?} {step_index}: {value}");
                }
            }
        }
    }

    #[test]
    fn refuses_what_has_no_curve() {
        let base = Schedule::new(ScheduleKind::Wsd, 1000, 100);
        let refused = [
            (Schedule { min_ratio: 0.0, ..base }, "optim.lr_min_ratio"),
            (Schedule { min_ratio: f64::NAN, ..base }, "optim.lr_min_ratio"),
            (Schedule { cycle_length: 0.0005, ..base }, "optim.cycle_length"),
            (Schedule { decay_fraction: 1.5, ..base }, "optim.decay_fraction"),
            (Schedule { cosine_theta: -1.0, ..base }, "optim.cosine_theta"),
            (Schedule::new(ScheduleKind::InvSqrt, 1000, 0), "optim.warmup"),
        ];
        for (schedule, key) in refused {
            let message = schedule.check().unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
        }
    }
}
