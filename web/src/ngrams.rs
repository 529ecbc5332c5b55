//! Which rows of the hash tables a byte of a text reads.

use crate::{Failure, Kind, Model, Result};
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::hash::hash_ids;
use blt_wgpu::blt::hash_config;
use blt_wgpu::text::{byte_of, encode};
use serde::Serialize;

/// An n-gram that ends with a byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ngram {
    /// Bytes it has, those before the text included.
    pub size: usize,
    /// Those of them that stand in the text, the byte itself last.
    pub bytes: Vec<u8>,
    /// The row of each hash function's table.
    pub rows: Vec<u32>,
}

/// The longest n-gram that there can be.
const MOST_NGRAM_BYTES: usize = 8;

impl Model<'_> {
    /// The n-grams that the local encoder adds to byte `at` of a text, in the order of their sizes
    /// in the configuration; none where the model hashes nothing.
    ///
    /// # Errors
    /// A place outside the text.
    pub fn hashes(&self, text: &[u8], at: usize) -> Result<Vec<Ngram>> {
        if at >= text.len() {
            let message = format!("at: expected a byte in 0..{}, got {at}", text.len());
            return Err(Failure::new(Kind::Input, message));
        }
        let ModelConfig::Blt(config) = &self.loaded.model.config else { return Ok(Vec::new()) };
        let hash = hash_config(&config.hash);
        if hash.table_count() == 0 {
            return Ok(Vec::new());
        }
        // BOS stands before the text, and nothing before that: it is hashed where it is seen.
        let start = (at + 1).saturating_sub(MOST_NGRAM_BYTES);
        let ids = encode(&text[start..=at], start == 0, false);
        let tables = hash_ids(&ids, &hash);
        let rows = &tables[tables.len() - hash.table_count()..];
        let sizes = hash.table_sizes();
        let ngrams = config.hash.group_sizes.iter().map(|&size| {
            let seen = ids[ids.len().saturating_sub(size)..].iter();
            let own = sizes.iter().zip(rows).filter(|(own, _)| **own as usize == size);
            Ngram {
                size,
                bytes: seen.filter_map(|&id| byte_of(id)).collect(),
                rows: own.map(|(_, &row)| row).collect(),
            }
        });
        Ok(ngrams.collect())
    }
}
