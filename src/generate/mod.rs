//! Generation of text, byte by byte.
//!
//! A [`Predictor`] is a model with a text that it has read; [`Recompute`] reads it all again for
//! every prediction. A [`TextStream`] over one has what a person sees: prompts and answers, a
//! [`sampling::Sampler`] that chooses ids, [`Stops`], whole characters, limits.

mod predictor;
mod recompute;
pub mod sampling;
#[cfg(test)]
mod sampling_test;
mod stops;
mod text_stream;
#[cfg(test)]
mod text_stream_test;

pub use predictor::{Prediction, Predictor};
pub use recompute::Recompute;
pub use stops::{End, Stops};
pub use text_stream::{ByteEvent, OnLimit, Piece, TextStream, patch_lengths};
