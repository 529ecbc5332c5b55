//! Embeddings that are made on the host, of a hash table that stays where it is stored: for devices
//! that have not the memory for it (spec §2.1).
//!
//! Graphs know nothing of it. Where a layout has no hash table, compiling puts the input
//! [`EMBEDDED`] in the place of what the device would have computed, in the same order of sums.

use super::hash::{HashConfig, hash_ids};
use crate::engine::Inputs;
use crate::error::Result;
use crate::graph::EMBEDDED;
use rayon::prelude::*;

/// Rows of a table that is not on the device.
pub trait TableRows: Send + Sync {
    /// The numbers of a row.
    ///
    /// # Errors
    /// A number that is not finite.
    fn read_row(&self, row: usize, out: &mut [f32]) -> Result<()>;
}

/// Byte embedding and hash tables of a model.
pub struct HostEmbedding {
    hash: HashConfig,
    /// Rows of the byte embedding.
    bytes: Vec<f32>,
    cols: usize,
    table: Box<dyn TableRows>,
}

/// A text, of whose last ids embeddings are wanted.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedText<'a> {
    /// From the begin of the text, or at least from seven ids before the first that is wanted.
    pub ids: &'a [u32],
    pub count: usize,
}

impl HostEmbedding {
    /// `bytes` [260, cols] and the rows of the tables, one below the other.
    pub fn new(
        hash: HashConfig,
        bytes: Vec<f32>,
        cols: usize,
        table: impl TableRows + 'static,
    ) -> Self {
        Self { hash, bytes, cols, table: Box::new(table) }
    }

    /// Sets the input of a graph that reads these texts, one behind the other.
    ///
    /// # Errors
    /// A row with a number that is not finite.
    pub fn set<'a>(
        &self,
        inputs: &mut Inputs,
        texts: impl Iterator<Item = EmbeddedText<'a>>,
    ) -> Result<()> {
        let mut embedded = Vec::new();
        for EmbeddedText { ids, count } in texts {
            let (first, tables) = (ids.len() - count, self.hash.table_count());
            let hashes = hash_ids(ids, &self.hash);
            let begin = embedded.len();
            embedded.resize(begin + count * self.cols, 0.0);
            let rows = embedded[begin..].par_chunks_mut(self.cols).zip(&ids[first..]);
            let rows = rows.zip(hashes[first * tables..].par_chunks(tables));
            rows.try_for_each(|((out, &id), hashes)| self.embed(id, hashes, out))?;
        }
        inputs.set_f(EMBEDDED, embedded);
        Ok(())
    }

    /// The row of a byte plus those of its hashes, in table order.
    fn embed(&self, id: u32, hashes: &[u32], out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(&self.bytes[id as usize * self.cols..][..self.cols]);
        let mut values = vec![0.0; self.cols];
        for (table, &hash) in hashes.iter().enumerate() {
            let row = table * self.hash.rows_per_table as usize + hash as usize;
            self.table.read_row(row, &mut values)?;
            out.iter_mut().zip(&values).for_each(|(out, value)| *out += value);
        }
        Ok(())
    }
}
