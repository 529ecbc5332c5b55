//! Generation of text, byte by byte.
//!
//! A [`TextStream`] is what a person sees: prompts and answers, with [`Stops`], whole characters
//! and limits. Its ids come from a [`Source`], where a model reads and a [`sampling::Sampler`]
//! chooses: [`Cached`] keeps caches, [`Recompute`] reads everything again for every id and so says
//! what is true, [`ModelSource`] is the one that suits a model. [`Streams`] are many texts in one
//! batch; an [`Answer`] for each makes pieces of text of what they add. A [`SelfCheck`] compares
//! them with full passes on any device.

mod added;
mod answer;
mod cached;
mod caches;
mod linked;
mod model_source;
mod parts;
mod place;
mod prompts;
mod recompute;
mod room;
pub mod sampling;
#[cfg(test)]
mod sampling_test;
mod seed_tables;
mod self_check;
mod slot;
mod source;
mod step_tables;
mod stops;
mod stream_plans;
mod stream_step;
mod streams;
mod text_stream;
#[cfg(test)]
mod text_stream_test;

pub use added::{Added, ByteEvent, patch_lengths};
pub use answer::{Answer, Piece};
pub use cached::Cached;
pub use model_source::ModelSource;
pub use recompute::Recompute;
pub use self_check::{Agreement, SelfCheck};
pub use source::Source;
pub use stops::{End, Stops};
pub use streams::{BYTES_A_SUBMISSION, MOST_BYTES_A_SUBMISSION, StreamId, Streams, can_stream};
pub use text_stream::{OnLimit, TextStream};
