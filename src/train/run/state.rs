//! `train_state.json`: everything of a run that is neither a weight nor a moment.

use serde::{Deserialize, Serialize};

use super::best::BestScore;
use super::interval::SavedInterval;
use crate::train::data::DataState;
use crate::train::schedule::Schedule;

/// The name of the file in a checkpoint.
pub const STATE_FILE: &str = "train_state.json";
/// The resolved configuration beside it.
pub const CONFIG_FILE: &str = "config.toml";
/// What the run was compiled to.
pub const PLAN_FILE: &str = "plan.json";

/// A run between two updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedState {
    /// Version of the program that wrote it.
    pub program: String,
    /// Device it ran on.
    pub engine: String,
    /// Updates so far, applied or skipped.
    pub step: u64,
    /// Micro-batches into the next update: always 0, checkpoints lie between updates.
    pub acc_step: u64,
    /// The schedule of the learning rate, of which the next update is number `step`.
    pub schedule: Schedule,
    /// The place in the texts from which the next update reads.
    pub data: DataState,
    /// The bits of the device's `train_state`: loss scale, counts and powers of the betas.
    pub device_words: Vec<u32>,
    /// Patches of all updates, or bytes where the entropy model trains.
    pub patch_count: u64,
    /// Updates skipped in a row up to now.
    pub skipped_in_a_row: u64,
    /// The update after which held-out text was last scored.
    pub evaluated_step: Option<u64>,
    /// The best score on held-out text; none in checkpoints of before there was one.
    #[serde(default)]
    pub score: BestScore,
    /// What has been added up since the last line of metrics.
    pub interval: SavedInterval,
}
