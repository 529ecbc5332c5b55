//! Evaluation: bits per byte, and what to hold them against.

pub mod baselines;
pub mod bits_per_byte;
mod score;

pub use score::{ScoreOptions, ScoredDocument, Scorer};
