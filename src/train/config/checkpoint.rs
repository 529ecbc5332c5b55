//! `[checkpoint]`, `[logging]` and `[eval]`: what a run leaves behind, and how often.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::section::Section;
use crate::error::Result;

/// Checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Directory of the checkpoints; absent: `checkpoints` in `dump_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Checkpoints to resume from; every 1000 updates, the last 3 are kept.
    pub dump: SaveConfig,
    /// Checkpoints that are evaluated; every 1000 updates, all are kept.
    pub eval: SaveConfig,
    /// Save where held-out text was scored better than ever before, and keep that checkpoint on
    /// top of the last ones; true.
    #[serde(default = "yes")]
    pub best: bool,
    /// Another file of weights, or of moments, is begun where one would pass this many bytes;
    /// 5 000 000 000.
    #[serde(default = "shard_bytes")]
    pub shard_bytes: u64,
}

fn shard_bytes() -> u64 {
    5_000_000_000
}

fn yes() -> bool {
    true
}

/// How often something is saved and how many of it are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveConfig {
    /// Updates from one to the next; 0 is never.
    pub every: u64,
    /// How many of the last are kept; -1 or 0 keeps all.
    pub keep: i64,
}

/// Progress and `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggingConfig {
    /// Updates from one line to the next; 10.
    pub freq: u64,
    /// Write event files for TensorBoard too, into `tensorboard` in `dump_dir`; true.
    #[serde(default = "yes")]
    pub tensorboard: bool,
    /// Measure what the device computes at best, and compare the speed of the run with it; true.
    #[serde(default = "yes")]
    pub peak: bool,
}

/// Held-out bits per byte while the run goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Updates from one evaluation to the next, 0 is never; absent: `checkpoint.eval.every`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Most bytes of held-out text that are scored, from its beginning; absent: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Evaluations in a row without a better score after which the run ends; absent: it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            path: None,
            dump: SaveConfig { every: 1000, keep: 3 },
            eval: SaveConfig { every: 1000, keep: -1 },
            best: true,
            shard_bytes: shard_bytes(),
        }
    }
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { freq: 10, tensorboard: true, peak: true }
    }
}

impl CheckpointConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        Ok(Self {
            path: section.optional_path("path")?,
            dump: section.within("dump", |section| SaveConfig::read(section, default.dump))?,
            eval: section.within("eval", |section| SaveConfig::read(section, default.eval))?,
            best: section.flag("best", default.best)?,
            shard_bytes: section.count("shard_bytes", default.shard_bytes, 1..)?,
        })
    }
}

impl SaveConfig {
    /// Whether something is saved after update `step_count` (from 1).
    pub fn is_due(&self, step_count: u64) -> bool {
        self.every > 0 && step_count > 0 && step_count.is_multiple_of(self.every)
    }

    /// How many of the last are kept; `None` is all.
    pub fn kept_count(&self) -> Option<u64> {
        u64::try_from(self.keep).ok().filter(|&count| count > 0)
    }

    fn read(section: &mut Section<'_>, default: Self) -> Result<Self> {
        let every = section.count("every", default.every, ..)?;
        let keep = match section.take("keep") {
            None => default.keep,
            Some(Value::Integer(keep)) if keep >= -1 => keep,
            Some(other) => return Err(section.wrong("keep", "a whole number from -1", &other)),
        };
        Ok(Self { every, keep })
    }
}

impl LoggingConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        Ok(Self {
            freq: section.count("freq", default.freq, 1..)?,
            tensorboard: section.flag("tensorboard", default.tensorboard)?,
            peak: section.flag("peak", default.peak)?,
        })
    }
}

impl EvalConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self {
            every: section.optional_count("every", ..)?,
            max_bytes: section.optional_count("max_bytes", 1..)?,
            patience: section.optional_count("patience", 1..)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_and_kept() {
        let save = SaveConfig { every: 5, keep: 3 };
        let due: Vec<u64> = (0..=12).filter(|&step| save.is_due(step)).collect();
        assert_eq!(due, [5, 10]);
        assert_eq!(save.kept_count(), Some(3));
        let never = SaveConfig { every: 0, keep: -1 };
        assert!((0..100).all(|step| !never.is_due(step)));
        assert_eq!(never.kept_count(), None);
        assert_eq!(SaveConfig { every: 1, keep: 0 }.kept_count(), None);
    }
}
