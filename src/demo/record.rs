//! The record of a demo: everything that decides its bits on a device.

use super::shape::Shape;
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
    pub entropy_step_count: u64,
    pub blt_step_count: u64,
}
