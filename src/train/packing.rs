//! Documents into rows: a row is a list `T` of `N + 1` tokens, of which `T[..N]` are read and
//! `T[1..]` are predicted, and the patch lengths of `T`, which is what the model wants as lengths
//! with sum `N + 1` (spec §15.4-15.6).
//!
//! Documents follow each other without gaps; where one row ends the next begins. The model needs
//! a first patch of length 1, so a row that begins inside a patch splits it, `[1, L - 1, ...]`.
//! The reference then drops the row's last patch to keep their number (§15.5); ours leaves it at
//! the head of the next row. A row that reaches `max_row_bytes` is cut there and the rest of its
//! last patch begins the next row. No padding exists, so every token of every document is in
//! exactly one `T`.
//!
//! [`PackerOptions::reference`] with [`pad_reference_batch`] reproduces the reference instead:
//! the packer does §15.4 and step 1 of §15.5, sequence by sequence, and the batch function
//! steps 2 to 5; a shuffle may lie between them, as it does there.

mod byte_packer;
mod reference_batch;
#[cfg(test)]
mod tests;

pub use byte_packer::BytePacker;
pub use reference_batch::pad_reference_batch;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::blt::tables::Row;
use crate::error::{Error, Result};

/// The shape of packed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackerOptions {
    /// Patches of a row, at least 3: `seq_len` of the data, the context of the latent model.
    pub row_patch_count: usize,
    /// Largest `N` of a row, at least 2. Not looked at with `reference`, whose rows are cut by
    /// [`pad_reference_batch`].
    pub max_row_bytes: usize,
    /// Drop the last patch of a row whose first patch is split, and what is left at the end.
    pub reference: bool,
}

/// Packs patched documents into rows. What is pending is its whole state, and serialisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PackerState")]
pub struct Packer {
    options: PackerOptions,
    tokens: VecDeque<u32>,
    lengths: VecDeque<u32>,
}

/// A packer as it was read, before it is believed.
#[derive(Deserialize)]
struct PackerState {
    options: PackerOptions,
    tokens: VecDeque<u32>,
    lengths: VecDeque<u32>,
}

impl Packer {
    /// An empty packer.
    ///
    /// # Errors
    /// Fewer than 3 patches or 2 bytes per row: smaller rows could not always give a last token
    /// that is left alone a token to be predicted from.
    pub fn new(options: PackerOptions) -> Result<Self> {
        check_least("patches per row", options.row_patch_count, 3)?;
        check_least("bytes per row", options.max_row_bytes, 2)?;
        Ok(Self { options, tokens: VecDeque::new(), lengths: VecDeque::new() })
    }

    /// Adds a document: its ids with BOS and EOS, and patch lengths with the same sum.
    ///
    /// # Errors
    /// Fewer than 2 ids, a length of 0, or another sum.
    pub fn push(&mut self, ids: &[u32], patch_lengths: &[u32]) -> Result<()> {
        check_least("ids of a document", ids.len(), 2)?;
        check_sum(ids.len(), patch_lengths.iter().copied())?;
        self.tokens.extend(ids);
        self.lengths.extend(patch_lengths);
        Ok(())
    }

    /// The next full row, or `None` when more documents are needed.
    pub fn pop(&mut self) -> Option<Row> {
        if self.options.reference { self.pop_reference() } else { self.pop_ours(false) }
    }

    /// After the last document: what is left, full rows first, then the short one, then `None`.
    /// With `reference` the short row is dropped.
    pub fn flush(&mut self) -> Option<Row> {
        if !self.options.reference {
            return self.pop_ours(true);
        }
        self.pop_reference().or_else(|| {
            self.tokens.clear();
            self.lengths.clear();
            None
        })
    }

    /// Tokens that are in no row yet.
    pub fn pending_byte_count(&self) -> usize {
        self.tokens.len()
    }

    fn pop_ours(&mut self, flush: bool) -> Option<Row> {
        self.split_head();
        let limit = self.options.max_row_bytes.saturating_add(1);
        let (mut token_count, mut patch_count) = (0, 0);
        while patch_count < self.options.row_patch_count && token_count < limit {
            let Some(&length) = self.lengths.get(patch_count) else { break };
            token_count += length as usize;
            patch_count += 1;
        }
        let full = patch_count == self.options.row_patch_count || token_count >= limit;
        token_count = token_count.min(limit);
        // A token that is alone in a row predicts nothing: wait for the next document, or at
        // the end give it the token before it. A full row has at least 3.
        let left_count = self.tokens.len() - token_count;
        if !flush && (!full || left_count == 1) || token_count == 0 {
            return None;
        }
        Some(self.take(if left_count == 1 { token_count - 1 } else { token_count }))
    }

    fn pop_reference(&mut self) -> Option<Row> {
        let patch_count = self.options.row_patch_count;
        if self.lengths.len() < patch_count {
            return None;
        }
        let token_count: usize = self.lengths.iter().take(patch_count).map(|&l| l as usize).sum();
        if self.lengths[0] == 1 {
            return Some(self.take(token_count));
        }
        let dropped_count = self.lengths[patch_count - 1] as usize;
        self.split_head();
        let row = self.take(token_count - dropped_count);
        self.tokens.drain(..dropped_count);
        self.lengths.pop_front();
        Some(row)
    }

    /// A row begins with a patch of length 1 (spec §4.4).
    fn split_head(&mut self) {
        if self.lengths.front().is_some_and(|&head| head > 1) {
            self.lengths[0] -= 1;
            self.lengths.push_front(1);
        }
    }

    /// The row of the first `token_count` tokens; a patch that crosses its end is cut there.
    fn take(&mut self, token_count: usize) -> Row {
        let mut patch_lengths = Vec::new();
        let mut left = token_count as u32;
        while left > 0 {
            let head = self.lengths.front_mut().expect("lengths have the sum of the tokens");
            let taken = left.min(*head);
            *head -= taken;
            if *head == 0 {
                self.lengths.pop_front();
            }
            patch_lengths.push(taken);
            left -= taken;
        }
        Row::from_tokens(self.tokens.drain(..token_count).collect(), patch_lengths)
    }
}

impl TryFrom<PackerState> for Packer {
    type Error = Error;

    fn try_from(state: PackerState) -> Result<Self> {
        let empty = Self::new(state.options)?;
        check_sum(state.tokens.len(), state.lengths.iter().copied())?;
        Ok(Self { tokens: state.tokens, lengths: state.lengths, ..empty })
    }
}

fn check_least(subject: &str, got: usize, least: usize) -> Result<()> {
    if got < least {
        return Err(Error::input(subject, format!("expected at least {least}, got {got}")));
    }
    Ok(())
}

fn check_sum(token_count: usize, patch_lengths: impl Iterator<Item = u32>) -> Result<()> {
    let (sum, least) = patch_lengths
        .fold((0, 1), |(sum, least), length| (sum + u64::from(length), length.min(least)));
    if sum != token_count as u64 || least == 0 {
        let problem =
            format!("expected no 0 and the sum {token_count}, got {sum} with least {least}");
        return Err(Error::input("patch lengths", problem));
    }
    Ok(())
}
