//! Training of a small BLT on a text, from nothing: its entropy model, where patches begin, the
//! model.
//!
//! It is the demo of the program with a count of steps in the place of a budget of seconds, and it
//! is stepped: between steps others may use the device, and what is trained can be taken away as a
//! model directory.

mod job;
mod options;
mod preset;

pub use job::{Phase, TrainStep, Training};
pub use options::TrainOptions;
pub use preset::{PRESETS, preset};
