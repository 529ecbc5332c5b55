//! The Byte Latent Transformer in a browser: what a Worker does for a page.
//!
//! Everything here but `glue/` is plain Rust over a [`Device`](blt_wgpu::device::Device) and runs
//! natively too, where it is tested. A [`Model`] is loaded from files in memory; [`cutting`],
//! [`prediction`], [`ngrams`] and [`sight`] look at a text with it, [`generation`] goes on with
//! one. [`training`] makes a model of a text, [`benchmark`] measures the device, and
//! [`kernel_check`] compares its kernels with their oracles. `glue/`, on wasm32 alone, makes
//! JavaScript of it. Long jobs let the event loop of the Worker run now and then
//! ([`Surroundings::breathe`]), so that they can be interrupted.

pub mod archive;
pub mod benchmark;
pub mod cutting;
pub mod failure;
pub mod generation;
#[cfg(target_arch = "wasm32")]
mod glue;
pub mod kernel_check;
pub mod model;
pub mod ngrams;
pub mod prediction;
pub mod sight;
pub mod surroundings;
pub mod text_limit;
pub mod training;

pub use failure::{Failure, Kind};
pub use model::{Model, ModelInfo};
pub use surroundings::Surroundings;

/// What fallible functions of this crate return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
