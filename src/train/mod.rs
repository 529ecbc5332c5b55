//! Training: packing, schedules, the optimiser's step, metrics and the configuration of a run.

pub mod config;
pub mod data;
pub mod metrics;
pub mod packing;
pub mod run;
pub mod schedule;
mod trainer;
mod update;

pub use trainer::Trainer;
pub use update::{AdamW, update_recording};
