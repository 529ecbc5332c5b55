//! Tables of the patch axis: how bytes fall into patches, and what sees what across the two.
//!
//! A row of `N` bytes has patch lengths with sum `N + 1`; position `N` is virtual, the byte to be
//! predicted next, and belongs to the last patch. With `starts[j]` the first position of patch
//! `j`, all relations are ranges:
//!
//! - encoder patch of byte `i` (spec §4.1): the patch that contains `i`;
//! - decoder patch of byte `i` (spec §4.2): the last patch complete before byte `i + 1`, so that
//!   of byte `i + 1` minus one;
//! - pooling (spec §7): patch `j` sees its own bytes, and with a window of `W` those of the
//!   `W - 1` patches before it;
//! - unpooling (spec §9): byte `i` sees its decoder patch, and with a window of `W` the `W - 1`
//!   patches before that one.

use super::bytes::{ByteTables, check_window, flat_count};
use super::row::Row;
use super::segments::{Documents, Segments, window_ranges};
use crate::error::{Error, Result};

/// The patches of all rows, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchTables {
    /// Index within the row, for the rotary embedding, `[patches]`.
    pub patch_position: Vec<u32>,
    /// First patch of each row, then the number of patches, `[rows + 1]`.
    pub row_offsets: Vec<u32>,
    /// Patches that each patch sees in the latent transformer, `[patches, 2]`.
    pub patch_key_range: Vec<u32>,
    /// Patches that see each patch in the latent transformer, `[patches, 2]`.
    pub patch_query_range: Vec<u32>,
    /// Bytes of each patch, `[patches, 2]`; empty for a patch of only the virtual position.
    pub patch_byte_range: Vec<u32>,
    /// Bytes that each patch sees when pooling, `[patches, 2]`.
    pub pool_key_range: Vec<u32>,
    /// Patches that see each byte when pooling, `[bytes, 2]`.
    pub pool_query_range: Vec<u32>,
    /// Patches that each byte sees when unpooling, `[bytes, 2]`.
    pub unpool_key_range: Vec<u32>,
    /// Bytes that see each patch when unpooling, `[patches, 2]`; may be empty.
    pub unpool_query_range: Vec<u32>,
    /// Patch that contains each byte, `[bytes]`.
    pub byte_patch: Vec<u32>,
    /// Last patch complete before the byte after each byte, `[bytes]`.
    pub byte_decoder_patch: Vec<u32>,
}

impl PatchTables {
    /// Tables of `rows`, whose byte axis is `bytes`; windows count patches, `None` is 1.
    ///
    /// # Errors
    /// A row that fails [`Row::check_patches`], a window of 0, rows that are not those of
    /// `bytes`, or more than `2^31` patches.
    pub fn new(
        rows: &[Row],
        bytes: &ByteTables,
        documents: Documents,
        pool_window: Option<u32>,
        unpool_window: Option<u32>,
    ) -> Result<Self> {
        if rows.len() != bytes.row_count() {
            let (expected, got) = (bytes.row_count(), rows.len());
            return Err(Error::input("batch", format!("expected {expected} rows, got {got}")));
        }
        for (index, row) in rows.iter().enumerate() {
            row.check_patches(index)?;
        }
        check_window("encoder cross-attention window", pool_window)?;
        check_window("decoder cross-attention window", unpool_window)?;
        let count = flat_count("patches of a batch", rows.iter().map(|r| r.patch_lengths.len()))?;
        let mut tables = Self::with_capacity(count, bytes.byte_count());
        let attention = window_ranges(&Segments::of_patches(rows, documents), None);
        tables.patch_key_range = attention.key_range;
        tables.patch_query_range = attention.query_range;
        for (row, &first_byte) in rows.iter().zip(&bytes.row_offsets) {
            let patches = RowPatches::new(row, first_byte, tables.patch_position.len() as u32);
            tables.push_row(&patches, pool_window.unwrap_or(1), unpool_window.unwrap_or(1));
        }
        assert_eq!(tables.byte_patch.len(), bytes.byte_count(), "rows differ from the byte axis");
        Ok(tables)
    }

    /// Number of patches of all rows.
    pub fn patch_count(&self) -> usize {
        self.patch_position.len()
    }

    fn with_capacity(patch_count: usize, byte_count: usize) -> Self {
        Self {
            patch_position: Vec::with_capacity(patch_count),
            row_offsets: vec![0],
            patch_key_range: Vec::new(),
            patch_query_range: Vec::new(),
            patch_byte_range: Vec::with_capacity(2 * patch_count),
            pool_key_range: Vec::with_capacity(2 * patch_count),
            pool_query_range: Vec::with_capacity(2 * byte_count),
            unpool_key_range: Vec::with_capacity(2 * byte_count),
            unpool_query_range: Vec::with_capacity(2 * patch_count),
            byte_patch: Vec::with_capacity(byte_count),
            byte_decoder_patch: Vec::with_capacity(byte_count),
        }
    }

    fn push_row(&mut self, row: &RowPatches, pool_window: u32, unpool_window: u32) {
        let count = row.patch_count();
        let last = row.first_patch + count;
        self.patch_position.extend(0..count);
        self.row_offsets.push(last);
        for patch in 0..count {
            let own = row.byte_range(patch);
            let oldest = (patch + 1).saturating_sub(pool_window);
            self.patch_byte_range.extend(own);
            self.pool_key_range.extend([row.byte_range(oldest)[0], own[1]]);
            self.unpool_query_range.extend(row.unpool_queries(patch, unpool_window));
            for _ in own[0]..own[1] {
                let flat = row.first_patch + patch;
                self.byte_patch.push(flat);
                self.pool_query_range.extend([flat, flat.saturating_add(pool_window).min(last)]);
            }
        }
        // The decoder patch of byte i is the patch before that of position i + 1, so the bytes
        // of decoder patch j are as many as patch j + 1 has positions.
        for patch in 0..count - 1 {
            let flat = row.first_patch + patch;
            let oldest = row.first_patch + (patch + 1).saturating_sub(unpool_window);
            for _ in 0..row.starts[patch as usize + 2] - row.starts[patch as usize + 1] {
                self.byte_decoder_patch.push(flat);
                self.unpool_key_range.extend([oldest, flat + 1]);
            }
        }
    }
}

/// Where the patches of one row lie.
struct RowPatches {
    /// First position of each patch in the row, then `N + 1`, `[patches + 1]`.
    starts: Vec<u32>,
    byte_count: u32,
    first_byte: u32,
    first_patch: u32,
}

impl RowPatches {
    fn new(row: &Row, first_byte: u32, first_patch: u32) -> Self {
        let mut starts = Vec::with_capacity(row.patch_lengths.len() + 1);
        let mut start = 0;
        starts.push(start);
        for &length in &row.patch_lengths {
            start += length;
            starts.push(start);
        }
        Self { starts, byte_count: row.ids.len() as u32, first_byte, first_patch }
    }

    fn patch_count(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// Flat bytes of a patch, without the virtual position.
    fn byte_range(&self, patch: u32) -> [u32; 2] {
        let position = |at: u32| self.first_byte + self.starts[at as usize].min(self.byte_count);
        [position(patch), position(patch + 1)]
    }

    /// Flat bytes whose decoder patch is one of `patch..patch + window`.
    fn unpool_queries(&self, patch: u32, window: u32) -> [u32; 2] {
        // Byte i has decoder patch j when position i + 1 lies in patch j + 1.
        let end = patch.saturating_add(window).saturating_add(1).min(self.patch_count());
        let before = |at: u32| self.first_byte + self.starts[at as usize] - 1;
        [before(patch + 1), before(end)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(ids: &[u32], lengths: &[u32]) -> PatchTables {
        let row = Row {
            ids: ids.to_vec(),
            targets: ids.to_vec(),
            weights: vec![1.0; ids.len()],
            patch_lengths: lengths.to_vec(),
        };
        let rows = [row];
        let bytes = ByteTables::new(&rows, Documents::Reference, None).unwrap();
        PatchTables::new(&rows, &bytes, Documents::Reference, None, None).unwrap()
    }

    #[test]
    fn patches_of_the_notes_of_the_reference() {
        // Spec §4.2.
        let tables = tables(&[50; 14], &[1, 1, 3, 2, 2, 1, 2, 2, 1]);
        assert_eq!(tables.byte_patch, [0, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7]);
        assert_eq!(tables.byte_decoder_patch, [0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7]);
        assert_eq!(tables.patch_byte_range[16..], [14, 14], "only the virtual position");
        assert_eq!(tables.unpool_query_range[16..], [14, 14], "seen by no byte");
    }

    #[test]
    fn patches_of_the_tiny_model() {
        // Spec §25.6.
        let ids = [1, 76, 109, 48, 36, 70, 80, 88, 37, 2, 1, 101, 102, 103, 2];
        let tables = tables(&ids, &[1, 1, 3, 1, 3, 2, 1, 4]);
        assert_eq!(tables.byte_patch, [0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 6, 7, 7, 7]);
        assert_eq!(tables.byte_decoder_patch, [0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 5, 6, 6, 6, 6]);
        let starts: Vec<u32> = tables.patch_key_range.iter().step_by(2).copied().collect();
        assert_eq!(starts, [0, 0, 0, 0, 0, 0, 6, 6], "a new document after patch 5");
        assert_eq!(tables.patch_byte_range[14..], [12, 15]);
        assert_eq!(tables.patch_position, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = Row {
            ids: vec![1, 50],
            targets: vec![50, 51],
            weights: vec![1.0; 2],
            patch_lengths: vec![1, 2],
        };
        let bytes = ByteTables::new(&[good.clone(), good.clone()], Documents::Ignored, None);
        let bytes = bytes.unwrap();
        let problem = |second: &[u32], pool, unpool| {
            let second = Row { patch_lengths: second.to_vec(), ..good.clone() };
            let rows = [good.clone(), second];
            let tables = PatchTables::new(&rows, &bytes, Documents::Ignored, pool, unpool);
            tables.unwrap_err().to_string()
        };
        assert_eq!(problem(&[2, 1], None, None), "row 1: first patch length: expected 1, got 2");
        assert!(problem(&[1, 1], None, None).contains("ids + 1 = 3, got 2"));
        assert!(problem(&[1, 2], Some(0), None).starts_with("encoder cross-attention window"));
        assert!(problem(&[1, 2], None, Some(0)).starts_with("decoder cross-attention window"));
        let short = PatchTables::new(&[good], &bytes, Documents::Ignored, None, None);
        assert!(short.unwrap_err().to_string().contains("expected 2 rows, got 1"));
    }
}
