//! Generation of text, byte by byte.

mod caches;
mod generator;
mod place;
pub mod sampling;
mod seed_tables;
mod slot;
mod step_tables;
mod stream_plans;
mod streams;

pub use generator::Generator;
pub use slot::Added;
pub use streams::{StreamId, Streams, can_stream};
