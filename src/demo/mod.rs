//! The demo: a text in, a trained Byte Latent Transformer out, in a few minutes on any machine.
//!
//! It trains an entropy model, calibrates the threshold of its patches, trains a small BLT on them,
//! and measures both on the last tenth of the text. [`Demo::step`] does one training step or one
//! phase and says what happened.

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
pub use shape::Shape;
pub use text::SHAKESPEARE;
pub use variants::Variants;
