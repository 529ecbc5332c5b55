//! What a training is asked to do.

use crate::{Failure, Kind, Result};
use serde::Deserialize;

/// How a text is learnt.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TrainOptions {
    /// `tiny` or `small`.
    pub preset: String,
    /// Optimiser steps of the model.
    pub steps: u64,
    /// Optimiser steps of its entropy model before; half as many where nothing is said.
    pub entropy_steps: Option<u64>,
    /// The largest of the model; that of the entropy model keeps its proportion.
    pub learning_rate: Option<f32>,
    /// Bytes that one step reads, about.
    pub batch_bytes: Option<usize>,
    /// Steps of the model from one text that it writes to the next; 0: none.
    pub sample_every: u64,
    /// Bytes of such a text.
    pub sample_bytes: usize,
    /// Steps from one measurement of held-out text to the next; 0: none.
    pub evaluate_every: u64,
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            preset: "tiny".into(),
            steps: 300,
            entropy_steps: None,
            learning_rate: None,
            batch_bytes: None,
            sample_every: 50,
            sample_bytes: 120,
            evaluate_every: 50,
            seed: 1,
        }
    }
}

/// Steps beyond which a page would have to wait for days.
const MOST_STEPS: u64 = 1_000_000;
const MOST_BATCH_BYTES: usize = 1 << 16;

impl TrainOptions {
    /// Steps of the entropy model.
    pub fn entropy_step_count(&self) -> u64 {
        self.entropy_steps.unwrap_or(self.steps / 2).max(1)
    }

    /// That the numbers mean something.
    ///
    /// # Errors
    /// [`Kind::Input`] naming the one that does not.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str, range: &str, got: String| {
            let message = format!("{what}: expected {range}, got {got}");
            Err(Failure::new(Kind::Input, message))
        };
        for (what, count) in [("steps", self.steps), ("entropySteps", self.entropy_step_count())] {
            if !(1..=MOST_STEPS).contains(&count) {
                return refuse(what, &format!("1 to {MOST_STEPS}"), count.to_string());
            }
        }
        if let Some(rate) = self.learning_rate
            && !(rate > 0.0 && rate < 1.0)
        {
            return refuse("learningRate", "a number between 0 and 1", rate.to_string());
        }
        if let Some(bytes) = self.batch_bytes
            && !(64..=MOST_BATCH_BYTES).contains(&bytes)
        {
            return refuse("batchBytes", &format!("64 to {MOST_BATCH_BYTES}"), bytes.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let options = |json: &str| serde_json::from_str::<TrainOptions>(json).unwrap();
        assert!(options("{}").check().is_ok());
        assert_eq!(options(r#"{"steps": 20}"#).entropy_step_count(), 10);
        for (json, name) in [
            (r#"{"steps": 0}"#, "steps"),
            (r#"{"entropySteps": 2000000}"#, "entropySteps"),
            (r#"{"learningRate": 0}"#, "learningRate"),
            (r#"{"batchBytes": 1}"#, "batchBytes"),
        ] {
            let failure = options(json).check().unwrap_err();
            assert!(failure.message.starts_with(name), "{failure}");
        }
        assert!(serde_json::from_str::<TrainOptions>(r#"{"step": 1}"#).is_err());
    }
}
