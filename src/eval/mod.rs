//! Evaluation: bits per byte, and what to hold them against.

pub mod baselines;
pub mod bits_per_byte;
mod evaluate;
mod patcher;
mod score;

pub use evaluate::{Evaluation, Evaluator};
pub use patcher::{Cut, Patcher};
pub use score::{PreparedScore, ScoreOptions, ScoredDocument, Scorer, Scoring};
