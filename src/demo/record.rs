//! The record of a demo: everything that decides its bits on a device.

use super::shape::Shape;
use super::variants::Variants;
use crate::blt::config::ModelConfig;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What `--replay` needs to run a demo again with the same bits on the same device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the program that wrote it.
    pub version: String,
    /// The device it ran on, as `blt devices` names it.
    pub device: String,
    pub seed: u64,
    /// Bytes of the text; another text would be another run.
    pub text_bytes: u64,
    pub shape: Shape,
    /// Of the text to learn from, its first bytes that were read; absent: all of it.
    #[serde(default)]
    pub train_bytes: Option<usize>,
    /// The same of the text to measure on.
    #[serde(default)]
    pub held_out_bytes: Option<usize>,
    pub entropy_step_count: u64,
    pub blt_step_count: u64,
    /// Bytes that the model wrote in the end; absent: as many as it likes.
    #[serde(default)]
    pub sample_bytes: Option<usize>,
    /// Variants of kernels that its programs used, by kernel; a replay on the same device refuses
    /// to run others. Absent: whatever the device uses.
    #[serde(default)]
    pub variants: Option<Variants>,
}

/// Less of a longer text makes no rows.
const MIN_READ_BYTES: usize = 1024;

impl Record {
    /// That a record from outside describes a demo of this text.
    ///
    /// # Errors
    /// Another text, next to nothing of it, no steps, or a shape that makes no model.
    pub fn check(&self, text_bytes: usize) -> Result<()> {
        let wrong = |problem: String| Err(Error::input("record", problem));
        if self.text_bytes != text_bytes as u64 {
            return wrong(format!("it is of {} bytes of text, got {text_bytes}", self.text_bytes));
        }
        if self.entropy_step_count == 0 || self.blt_step_count == 0 {
            return wrong("expected at least one step of each model, got none".into());
        }
        for (name, bytes) in
            [("train_bytes", self.train_bytes), ("held_out_bytes", self.held_out_bytes)]
        {
            if bytes.is_some_and(|bytes| bytes < MIN_READ_BYTES.min(text_bytes / 10)) {
                return wrong(format!("{name}: too little to read, got {bytes:?}"));
            }
        }
        let Shape { entropy_row_bytes, row_patch_count, batch_bytes, .. } = self.shape;
        if entropy_row_bytes < 2 || row_patch_count < 3 || batch_bytes == 0 {
            return wrong("a row holds 2 bytes or 3 patches at least, and a batch 1 byte".into());
        }
        let rates = [self.shape.entropy_learning_rate, self.shape.blt_learning_rate];
        if !rates.iter().all(|rate| rate.is_finite() && *rate > 0.0) {
            return wrong(format!("expected learning rates above 0, got {rates:?}"));
        }
        ModelConfig::Entropy(self.shape.entropy_config()).validate()?;
        ModelConfig::Blt(self.shape.blt_config()).validate()
    }
}
