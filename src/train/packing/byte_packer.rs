//! Documents into rows of bytes without patches, for the entropy model (spec §15.6).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::check_least;
use crate::blt::tables::Row;
use crate::error::Result;

/// Packs documents into rows of bytes without patches, for the entropy model. `T` has one token
/// more than the row, so that the last target is a real one (spec §15.6 has a pad there).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytePacker {
    row_bytes: usize,
    tokens: VecDeque<u32>,
}

impl BytePacker {
    /// An empty packer for rows of `row_bytes` inputs.
    ///
    /// # Errors
    /// Fewer than 2 bytes per row.
    pub fn new(row_bytes: usize) -> Result<Self> {
        check_least("bytes per row", row_bytes, 2)?;
        Ok(Self { row_bytes, tokens: VecDeque::new() })
    }

    /// Adds a document: its ids with BOS and EOS.
    ///
    /// # Errors
    /// Fewer than 2 ids.
    pub fn push(&mut self, ids: &[u32]) -> Result<()> {
        check_least("ids of a document", ids.len(), 2)?;
        self.tokens.extend(ids);
        Ok(())
    }

    /// The next full row, or `None` when more documents are needed.
    pub fn pop(&mut self) -> Option<Row> {
        let (pending, full) = (self.tokens.len(), self.row_bytes + 1);
        // One token left alone waits for the next document, as in `Packer::pop`.
        if pending < full || pending == full + 1 { None } else { self.flush() }
    }

    /// After the last document: what is left, full rows first, then short ones, then `None`.
    pub fn flush(&mut self) -> Option<Row> {
        let (pending, full) = (self.tokens.len(), self.row_bytes + 1);
        let token_count = if pending == full + 1 { full - 1 } else { full.min(pending) };
        let tokens: Vec<u32> = self.tokens.drain(..token_count).collect();
        (!tokens.is_empty()).then(|| Row::from_tokens(tokens, Vec::new()))
    }

    /// Tokens that are in no row yet.
    pub fn pending_byte_count(&self) -> usize {
        self.tokens.len()
    }
}
