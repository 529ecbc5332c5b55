//! Training data: text files to documents, documents to patches, patches to rows, rows to batches.
//!
//! ```text
//! sources -> DocumentReader -> ids, patch lengths -> RowPacker -> block of rows, shuffled -> Batch
//! ```
//!
//! A [`RowStream`] reads weighted sources over and over, cuts every document on its own into
//! patches, packs documents into rows without losing a byte, and hands the rows out in blocks of
//! which each is shuffled. Where it stands is a [`DataState`]: a few numbers, from which another
//! stream over the same texts goes on with the same rows. A [`BatchStream`] puts rows together, in
//! threads of its own where there are some.
//!
//! Everything is a function of the texts, the options and the seed; the order never depends on
//! time or on threads.

mod batches;
mod document_queue;
mod patcher;
mod reader;
mod row_packer;
mod row_stream;
mod slice;
mod sources;
#[cfg(test)]
mod tests;

pub use batches::{BatchOptions, BatchStream, DealtBatch, Share};
pub use document_queue::ScoringProgress;
pub use patcher::{
    ENTROPY_CONTEXT, EntropyScorer, EntropySource, NoEntropies, patching_config, patching_of,
};
pub use reader::{DocumentReader, ReadDocument, SourcePosition};
pub use row_packer::RowPacker;
pub use row_stream::{DataState, RowOptions, RowStream, RowUnit};
pub(crate) use slice::Slice;
pub use sources::{OpenTexts, SourceTexts, document_options, source_texts, text_files};
