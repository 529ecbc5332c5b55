//! What the job is told.

use std::path::PathBuf;

use crate::text::OnError;

/// What is to be made of which texts.
#[derive(Clone, Debug)]
pub struct EntropyOptions {
    /// Where the shards go.
    pub out: PathBuf,
    /// Bytes of text after which a shard ends.
    pub shard_bytes: u64,
    /// Of the processes that share the work, which this is; and how many there are.
    pub rank: u64,
    pub rank_count: u64,
    /// What to do about lines without a document and documents that are odd.
    pub on_error: OnError,
    /// Positions that are scored at once.
    pub batch_bytes: usize,
}
