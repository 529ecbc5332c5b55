//! Generation of text, byte by byte.
//!
//! A [`TextStream`] is what a person sees: prompts and answers, with [`Stops`], whole characters
//! and limits. Its ids come from a [`Source`], where a model reads and a [`sampling::Sampler`]
//! chooses: [`Cached`] keeps caches, [`Recompute`] reads everything again for every id and so says
//! what is true, [`ModelSource`] is the one that suits a model. [`Streams`] are many texts in one
//! batch; an [`Answer`] for each makes pieces of text of what they add. A [`SelfCheck`] compares
//! them with full passes on any device.

mod added;
mod agreement;
mod answer;
mod cached;
mod caches;
mod linked;
#[cfg(test)]
mod linked_test;
mod model_source;
mod parts;
mod piece_stream;
#[cfg(test)]
mod piece_stream_test;
mod place;
mod prompts;
mod recompute;
mod room;
pub mod sampling;
#[cfg(test)]
mod sampling_test;
mod seed_tables;
mod self_check;
mod self_check_texts;
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
pub use agreement::{Agreement, Tie};
pub use answer::{Answer, Piece};
pub use cached::Cached;
pub use model_source::ModelSource;
pub use piece_stream::PieceStream;
pub use recompute::{FullPass, Recompute};
pub use self_check::{CheckForm, RunningCheck, SelfCheck};
pub use source::Source;
pub use stops::{End, Stops};
pub use streams::{BYTES_A_SUBMISSION, MOST_BYTES_A_SUBMISSION, StreamId, Streams, can_stream};
pub use text_stream::{OnLimit, TextStream};
