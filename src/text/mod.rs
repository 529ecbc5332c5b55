//! Text on its way in and out: files to documents, bytes to ids, ids to readable characters.
//!
//! A document is a run of bytes with a name. Its ids are the bytes plus an offset, with a begin and
//! an end id around them; nothing here knows words or scripts. Text coming out of a model arrives
//! byte by byte, and [`Utf8Stream`] holds a character back until all of it is there.

#[cfg(feature = "arrow")]
pub mod arrow;
mod documents;
mod format;
mod gzip;
mod json_lines;
mod oddities;
#[cfg(feature = "parquet")]
mod parquet;
mod part;
mod plain_text;
mod source;
mod tokenizer;
mod utf8;
mod zstd;

pub use documents::{Document, DocumentOptions, Documents, OnError, Place};
pub use format::{Compression, NAMES, TextFormat, TextKind};
pub use oddities::{DocumentCounts, Oddity};
pub use part::Part;
pub use source::{ByteReader, Files, InMemory, TextSource};
pub use tokenizer::{
    BOE_ID, BOS_ID, BPE_ID, BYTE_OFFSET, EOS_ID, VOCABULARY_SIZE, byte_of, check_ids, decode,
    decode_until_eos, encode,
};
pub use utf8::Utf8Stream;
