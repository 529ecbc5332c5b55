//! The demo: a text in, a trained Byte Latent Transformer out, in a few minutes on any machine.
//!
//! It trains an entropy model, calibrates the threshold of its patches, trains a small BLT on them,
//! and measures both on the last tenth of the text. [`Demo::step`] does one training step or one
//! phase and says what happened. A [`Training`] is what it trains each of them by, over rows in
//! memory; a host with a budget of its own may use it alone.

mod budget;
mod job;
mod measure;
mod record;
mod report;
mod rows;
mod shape;
mod text;
mod training;
mod variants;

pub use budget::Extent;
pub use job::{Demo, DemoEvent, DemoOptions, DemoOutcome, Excerpt, Which};
pub use record::Record;
pub use rows::{entropy_rows, packed_rows};
pub use shape::Shape;
pub use text::SHAKESPEARE;
pub use training::{StepFigures, Training};
pub use variants::Variants;
