//! The last byte states of each patch, for an encoder that concatenates instead of pooling.
//!
//! Without cross-attention and without a pooling string a patch vector is the concatenation of
//! the `patch_size` byte states that end at the patch's last byte (spec §7, last paragraph).
//! They may reach into patches before; before the row's first byte they repeat it.

use super::bytes::{check_window, flat_count};
use super::csr::CsrRows;
use super::{ByteTables, PatchTables};
use crate::error::Result;

/// Which byte state goes into which slot of a patch vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchGather {
    /// Flat byte of each slot, oldest first, `[patches, patch_size]`.
    pub byte_index: Vec<u32>,
    /// For each byte that is read, the slots that read it, for the gradient.
    pub slots: CsrRows,
}

impl PatchGather {
    /// Slots of every patch. A patch without bytes ends at the row's last byte; no byte ever
    /// sees that patch, so its vector only has to be finite.
    ///
    /// # Errors
    /// A patch size of 0, or more than `2^31` slots.
    pub fn new(bytes: &ByteTables, patches: &PatchTables, patch_size: u32) -> Result<Self> {
        check_window("patch size", Some(patch_size))?;
        let slot_count = patches.patch_count().saturating_mul(patch_size as usize);
        let slot_count = flat_count("slots of patch vectors", std::iter::once(slot_count))?;
        let mut byte_index = Vec::with_capacity(slot_count);
        for range in patches.patch_byte_range.chunks_exact(2) {
            // The first patch of a row has a byte, so this stays inside the row.
            let last = range[1] - 1;
            let first = bytes.row_start[last as usize];
            byte_index.extend((0..patch_size).rev().map(|b| first.max(last.saturating_sub(b))));
        }
        let slots = CsrRows::new(&byte_index);
        Ok(Self { byte_index, slots })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Documents, Row};
    use super::*;

    fn gather(patch_size: u32) -> Result<PatchGather> {
        let row = |lengths: &[u32]| Row {
            ids: vec![50; 4],
            targets: vec![50; 4],
            weights: vec![1.0; 4],
            patch_lengths: lengths.to_vec(),
        };
        let rows = [row(&[1, 1, 3]), row(&[1, 3, 1])];
        let bytes = ByteTables::new(&rows, Documents::Ignored, None).unwrap();
        let patches = PatchTables::new(&rows, &bytes, Documents::Ignored, None, None).unwrap();
        PatchGather::new(&bytes, &patches, patch_size)
    }

    #[test]
    fn slots_end_at_the_last_byte_and_stay_in_the_row() {
        let gather = gather(3).unwrap();
        let expected = [[0, 0, 0], [0, 0, 1], [1, 2, 3], [4, 4, 4], [5, 6, 7], [5, 6, 7]];
        assert_eq!(gather.byte_index, expected.as_flattened());
        assert_eq!(gather.slots.rows, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(gather.slots.offsets, [0, 5, 7, 8, 9, 12, 14, 16, 18]);
        assert_eq!(gather.slots.entries[..9], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(gather.slots.entries[9..], [9, 10, 11, 12, 15, 13, 16, 14, 17]);
    }

    #[test]
    fn a_patch_size_of_nothing_is_an_error() {
        assert!(gather(0).unwrap_err().to_string().starts_with("patch size"));
    }
}
