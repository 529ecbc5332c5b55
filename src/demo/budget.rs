//! How a demo spends its seconds: plain arithmetic over measured speeds.
//!
//! Besides training there is work that no step count controls: the entropies of the text that is
//! cut, and the scoring of held-out text. Where it would take too much of the time, less of the
//! text is read and less is scored.

/// Seconds that training takes a byte, on one device at one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speeds {
    pub entropy: f64,
    pub blt: f64,
}

/// How much of a text is learnt from and measured on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub train_bytes: usize,
    pub held_out_bytes: usize,
}

/// Seconds of scoring a byte, in those of training it: a third for the forward pass alone, twice,
/// because half of every window is context only, and something for plans and reading back.
const SCORING: f64 = 0.75;
/// Part of the time that scoring may take.
const SCORING_PART: f64 = 0.35;
/// Part of the time of both trainings that is the entropy model's.
const ENTROPY_PART: f64 = 0.31;
/// Part of the time for the sample and the files at the end, and its least in seconds.
const CLOSING_PART: f64 = 0.03;
const CLOSING_LEAST: f64 = 0.3;
/// The least that is read, of a text that has it.
const LEAST: Extent = Extent { train_bytes: 1 << 16, held_out_bytes: 1 << 13 };
/// Steps that are measured before a step count is fixed.
pub(super) const MEASURED_STEPS: u64 = 10;
/// Evaluations in the course of one training, and of how many windows one is scored in each.
pub(super) const EVALUATION_COUNT: u64 = 6;
pub(super) const QUICK_EVERY: usize = 8;

/// What is left of the seconds of a demo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Of the whole demo.
    pub seconds: f64,
    /// Of those, gone.
    pub elapsed: f64,
}

impl Budget {
    /// As much of the text as can be scored in its part of the time.
    pub fn extent(&self, speeds: Speeds, all: Extent) -> Extent {
        let part = self.left() * SCORING_PART / scoring(speeds, all).max(1e-9);
        let scaled = |all: usize, least: usize| {
            ((all as f64 * part.clamp(0.0, 1.0)) as usize).max(least.min(all))
        };
        Extent {
            train_bytes: scaled(all.train_bytes, LEAST.train_bytes),
            held_out_bytes: scaled(all.held_out_bytes, LEAST.held_out_bytes),
        }
    }

    /// Seconds that the demo will have taken at the least, if those are more than it has.
    pub fn overrun(&self, speeds: Speeds, extent: Extent, batch_bytes: usize) -> Option<f64> {
        let steps = (MEASURED_STEPS as usize * batch_bytes) as f64 * (speeds.entropy + speeds.blt);
        let least = self.elapsed + steps + scoring(speeds, extent) + self.closing();
        (least > self.seconds).then_some(least)
    }

    /// Seconds from now on for the training of the entropy model, which has had `spent`.
    pub fn entropy_seconds(&self, speeds: Speeds, extent: Extent, spent: f64) -> f64 {
        ((self.training(speeds, extent) + spent) * ENTROPY_PART - spent).max(0.0)
    }

    /// Seconds for the training of a BLT, before either model is trained.
    pub fn blt_seconds(&self, speeds: Speeds, extent: Extent) -> f64 {
        self.training(speeds, extent) * (1.0 - ENTROPY_PART)
    }

    /// Seconds from now on for the training of the BLT, after all that comes before it.
    pub fn blt_seconds_left(&self, speeds: Speeds, extent: Extent) -> f64 {
        let scoring = score(speeds.blt, extent.held_out_bytes) + evaluations(speeds.blt, extent);
        (self.left() - scoring - self.closing()).max(0.0)
    }

    fn left(&self) -> f64 {
        (self.seconds - self.elapsed).max(0.0)
    }

    fn closing(&self) -> f64 {
        (self.seconds * CLOSING_PART).max(CLOSING_LEAST)
    }

    fn training(&self, speeds: Speeds, extent: Extent) -> f64 {
        (self.left() - scoring(speeds, extent) - self.closing()).max(0.0)
    }
}

/// Steps, done ones included, of a training that has measured some and may go on for `seconds`.
pub(super) fn step_count(measured: &[f64], seconds: f64, most: u64) -> u64 {
    let step_seconds = median(measured).max(1e-6);
    let done = measured.len() as u64;
    (done + (seconds / step_seconds) as u64).min(most).max(done)
}

/// The middle of some seconds: a machine that was busy for a few of them does not move it.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    assert!(count > 0, "there is no median of nothing");
    (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0
}

/// Everything that is scored: the held-out text by both models and once more for its entropies, the
/// text that is cut, the evaluations.
fn scoring(speeds: Speeds, extent: Extent) -> f64 {
    let Extent { train_bytes, held_out_bytes } = extent;
    score(speeds.entropy, train_bytes + 2 * held_out_bytes)
        + score(speeds.blt, held_out_bytes)
        + evaluations(speeds.entropy, extent)
        + evaluations(speeds.blt, extent)
}

fn score(speed: f64, byte_count: usize) -> f64 {
    speed * SCORING * byte_count as f64
}

fn evaluations(speed: f64, extent: Extent) -> f64 {
    let byte_count = extent.held_out_bytes as f64 / QUICK_EVERY as f64;
    EVALUATION_COUNT as f64 * speed * SCORING * byte_count
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Extent = Extent { train_bytes: 1_000_000, held_out_bytes: 100_000 };
    /// Two cores: 100 and 40 kB/s.
    const SPEEDS: Speeds = Speeds { entropy: 1e-5, blt: 2.5e-5 };

    fn budget(seconds: f64) -> Budget {
        Budget { seconds, elapsed: 1.0 }
    }

    #[test]
    fn a_long_demo_reads_everything_and_a_short_one_less() {
        assert_eq!(budget(150.0).extent(SPEEDS, ALL), ALL);
        let short = budget(10.0).extent(SPEEDS, ALL);
        assert!((200_000..400_000).contains(&short.train_bytes), "{short:?}");
        assert!((20_000..40_000).contains(&short.held_out_bytes), "{short:?}");
        let part = scoring(SPEEDS, short) / 9.0;
        assert!((part - SCORING_PART).abs() < 1e-3, "{part}");
        assert_eq!(budget(1.0).extent(SPEEDS, ALL), LEAST);
        let tiny = Extent { train_bytes: 500, held_out_bytes: 50 };
        assert_eq!(budget(1.0).extent(SPEEDS, tiny), tiny, "a short text is read whole");
    }

    #[test]
    fn the_parts_make_up_the_whole() {
        for seconds in [5.0, 20.0, 150.0] {
            let budget = budget(seconds);
            let extent = budget.extent(SPEEDS, ALL);
            let parts = budget.elapsed
                + budget.entropy_seconds(SPEEDS, extent, 0.0)
                + budget.blt_seconds(SPEEDS, extent)
                + scoring(SPEEDS, extent)
                + budget.closing();
            assert!((parts - seconds).abs() < 1e-9, "{parts}");
            assert_eq!(budget.overrun(SPEEDS, extent, 2048), None);
            // What was spent on the entropy model is not given to it again.
            let later = Budget { elapsed: budget.elapsed + 0.5, ..budget };
            let left = later.entropy_seconds(SPEEDS, extent, 0.5);
            assert!((left + 0.5 - budget.entropy_seconds(SPEEDS, extent, 0.0)).abs() < 1e-9);
        }
        let least = budget(1.5).overrun(SPEEDS, LEAST, 2048).unwrap();
        assert!((2.0..4.0).contains(&least), "{least}");
    }

    #[test]
    fn four_slow_steps_of_ten_change_nothing() {
        let calm = [0.1; 10];
        let mut busy = calm;
        busy[..4].fill(3.0);
        assert_eq!(step_count(&calm, 5.0, u64::MAX), 60);
        assert_eq!(step_count(&busy, 5.0, u64::MAX), 60);
        assert_eq!(step_count(&busy, 5.0, 40), 40);
        assert_eq!(step_count(&busy, 0.0, 40), 10);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
