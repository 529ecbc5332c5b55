//! What several integration tests need: tiny models with known weights, and engines to run them on.

#![allow(dead_code, unused_imports, reason = "no test needs all of it")]

pub mod failing;
mod fixture;
mod golden;
#[cfg(feature = "gpu")]
mod gpu;
mod numbers;
mod problem;
pub mod runs;
mod session;
mod small;
pub mod streaming;

pub use fixture::{FIXTURES, Fixture};
pub use golden::{GOLDEN_TOKENS, golden_blt, golden_entropy, golden_row, write_golden_weights};
#[cfg(feature = "gpu")]
pub use gpu::gpu_engine;
pub use numbers::{assert_close, relative_distance, worst};
pub use problem::{FUNCTIONAL, Problem, STEP};
pub use session::Session;
pub use small::{small_batch, small_blt};
