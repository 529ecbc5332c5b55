//! What a training run leaves behind, for a page about one or several of them.

use super::data::{Fact, Sample};
use crate::train::metrics::Metrics;

/// A training run, up to where it has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingRun {
    /// What it is called on the page.
    pub name: String,
    /// What is worth a row in a table: model, batch, device.
    pub facts: Vec<Fact>,
    /// Its lines of metrics, in the order of updates.
    pub lines: Vec<Metrics>,
    /// What its model wrote last.
    pub samples: Vec<Sample>,
}
