//! The configuration of a training run: `blt train CONFIG.toml [--set a.b=c]...`.
//!
//! Groups and keys have the names of the reference implementation (spec §18) with a few of our
//! own. Reading is strict: an unknown key is refused with the nearest known one, a wrong type with
//! what was expected. Keys that mean something there and nothing here are accepted with a warning.
//! The resolved configuration is written beside a run's checkpoints and reads back as itself.

mod checkpoint;
mod data;
mod ignored;
mod nearest;
mod optim;
mod overrides;
mod run;
mod sample;
mod section;
#[cfg(test)]
mod tests;

pub use checkpoint::{CheckpointConfig, EvalConfig, LoggingConfig, SaveConfig};
pub use data::{DataConfig, MAX_DOCUMENT_BYTES, PatcherConfig, PatchingMode, Source};
pub use nearest::nearest;
pub use optim::OptimConfig;
pub use overrides::apply_override;
pub use run::{ModelKeys, RunConfig};
pub use sample::SampleConfig;
