//! The best score on held-out text so far, and when to give up hoping for a better one.

use serde::{Deserialize, Serialize};

/// Scores of a run up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestScore {
    /// Updates behind it, and the bits of its bits per byte; nothing before the first score.
    pub best: Option<(u64, u64)>,
    /// Scores since then, none of them better.
    pub since: u64,
}

impl BestScore {
    /// Takes in a score after so many updates. One that is not finite is never the best.
    pub fn add(&mut self, step: u64, bits_per_byte: f64) {
        let is_better = self.bits_per_byte().is_none_or(|best| bits_per_byte < best);
        if bits_per_byte.is_finite() && is_better {
            *self = Self { best: Some((step, bits_per_byte.to_bits())), since: 0 };
        } else {
            self.since += 1;
        }
    }

    /// Updates behind the best score.
    pub fn step(&self) -> Option<u64> {
        self.best.map(|(step, _)| step)
    }

    /// The best score.
    pub fn bits_per_byte(&self) -> Option<f64> {
        self.best.map(|(_, bits)| f64::from_bits(bits))
    }

    /// Whether there were as many scores in a row that were no better.
    pub fn is_hopeless(&self, patience: Option<u64>) -> bool {
        patience.is_some_and(|patience| self.since >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_better_score_is_the_best() {
        let mut score = BestScore::default();
        score.add(1, f64::NAN);
        assert_eq!((score.step(), score.since), (None, 1));
        score.add(2, 2.5);
        score.add(3, 2.5);
        score.add(4, f64::INFINITY);
        assert_eq!((score.step(), score.bits_per_byte(), score.since), (Some(2), Some(2.5), 2));
        assert!(score.is_hopeless(Some(2)) && !score.is_hopeless(Some(3)));
        assert!(!score.is_hopeless(None));
        score.add(5, 2.4);
        assert_eq!((score.step(), score.since), (Some(5), 0));
        let text = serde_json::to_string(&score).unwrap();
        assert_eq!(serde_json::from_str::<BestScore>(&text).unwrap(), score);
    }
}
