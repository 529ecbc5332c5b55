//! Patched documents into rows, whichever model they are for.

use crate::blt::tables::Row;
use crate::error::Result;
use crate::train::packing::{BytePacker, Packer, PackerOptions};

/// A packer of patches or of bytes that takes documents of any length.
///
/// Its state is a function of the documents that were pushed and of the number of tokens that have
/// left in rows, so that is all that has to be kept of it.
#[derive(Clone, Debug)]
pub struct RowPacker {
    packer: Kind,
    /// A document of one token, which waits for the next to stand in front of.
    waiting: Option<u32>,
}

#[derive(Clone, Debug)]
enum Kind {
    Patches(Packer),
    Bytes(BytePacker),
}

impl RowPacker {
    /// Packs patches.
    ///
    /// # Errors
    /// Rows too small to be packed.
    pub fn patches(options: PackerOptions) -> Result<Self> {
        Ok(Self { packer: Kind::Patches(Packer::new(options)?), waiting: None })
    }

    /// Packs bytes without patches, for the entropy model.
    ///
    /// # Errors
    /// Rows too small to be packed.
    pub fn bytes(row_bytes: usize) -> Result<Self> {
        Ok(Self { packer: Kind::Bytes(BytePacker::new(row_bytes)?), waiting: None })
    }

    /// Adds a document of which the first `skipped_count` tokens have left in rows before.
    ///
    /// # Errors
    /// Patch lengths that do not sum to the ids.
    pub fn push_from(
        &mut self,
        ids: &[u32],
        patch_lengths: &[u32],
        skipped_count: usize,
    ) -> Result<()> {
        let mut skipped = skipped_count as u32;
        let mut lengths = Vec::with_capacity(patch_lengths.len() + 1);
        for &length in patch_lengths {
            let gone = skipped.min(length);
            skipped -= gone;
            lengths.extend((length > gone).then_some(length - gone));
        }
        self.push(&ids[skipped_count..], &lengths)
    }

    /// Adds a document: its ids, and patch lengths with the same sum, none where bytes are packed.
    ///
    /// # Errors
    /// Patch lengths that do not sum to the ids.
    pub fn push(&mut self, ids: &[u32], patch_lengths: &[u32]) -> Result<()> {
        let Some(waiting) = self.waiting.take() else {
            if let [id] = ids {
                self.waiting = Some(*id);
                return Ok(());
            }
            return self.push_whole(ids, patch_lengths);
        };
        let ids = [&[waiting], ids].concat();
        let patch_lengths = [&[1], patch_lengths].concat();
        self.push_whole(&ids, &patch_lengths)
    }

    fn push_whole(&mut self, ids: &[u32], patch_lengths: &[u32]) -> Result<()> {
        match &mut self.packer {
            _ if ids.is_empty() => Ok(()),
            Kind::Patches(packer) => packer.push(ids, patch_lengths),
            Kind::Bytes(packer) => packer.push(ids),
        }
    }

    /// The next full row, or `None` when more documents are needed.
    pub fn pop(&mut self) -> Option<Row> {
        match &mut self.packer {
            Kind::Patches(packer) => packer.pop(),
            Kind::Bytes(packer) => packer.pop(),
        }
    }

    /// After the last document: what is left, full rows first.
    ///
    /// A lone token that still waits predicts nothing and has nothing before it to be predicted
    /// from: it is in no row.
    pub fn flush(&mut self) -> Option<Row> {
        match &mut self.packer {
            Kind::Patches(packer) => packer.flush(),
            Kind::Bytes(packer) => packer.flush(),
        }
    }

    /// Tokens that are in no row yet.
    pub fn pending_byte_count(&self) -> usize {
        let packed = match &self.packer {
            Kind::Patches(packer) => packer.pending_byte_count(),
            Kind::Bytes(packer) => packer.pending_byte_count(),
        };
        packed + usize::from(self.waiting.is_some())
    }
}
