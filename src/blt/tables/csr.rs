//! Compressed sparse rows: which entries touched which row of a table.
//!
//! The gradient of a gather is a scatter-add. Without float atomics it is done row by row: each
//! touched row sums its entries in increasing order, so the bits are always the same.

use crate::blt::hash::HashConfig;

/// Bits of one radix digit: two passes for tables of up to four million rows, and counts that
/// stay in the first-level cache.
const DIGIT_BITS: u32 = 11;

/// Touched rows of a table, in increasing order, with the entries that touched each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsrRows {
    /// Touched table rows, increasing, `[touched]`.
    pub rows: Vec<u32>,
    /// Where each row's entries begin in `entries`, then their number, `[touched + 1]`.
    pub offsets: Vec<u32>,
    /// Entries row by row, increasing inside a row.
    pub entries: Vec<u32>,
}

impl CsrRows {
    /// Entry `e` touched row `row_of_entry[e]`.
    pub fn new(row_of_entry: &[u32]) -> Self {
        let mut csr = Self::with_capacity(row_of_entry.len());
        csr.append(row_of_entry.iter().copied(), 0, &mut Sorter::default());
        csr
    }

    /// Touched rows of the fused hash table: byte `i` touched row
    /// `table * rows_per_table + hash_ids[i, table]` for every table.
    ///
    /// `hash_ids` is `[bytes, tables]`, as [`hash_ids`](crate::blt::hash::hash_ids) makes them.
    ///
    /// # Panics
    /// If the number of hash ids is no multiple of the table count, or the config is over its
    /// limits.
    pub fn of_hash_tables(hash_ids: &[u32], config: &HashConfig) -> Self {
        config.check().expect("the hash config was checked when it was made");
        let mut csr = Self::with_capacity(hash_ids.len());
        let table_count = config.table_count();
        if table_count == 0 {
            assert!(hash_ids.is_empty(), "hash ids without tables");
            return csr;
        }
        assert!(hash_ids.len().is_multiple_of(table_count), "hash ids are [bytes, tables]");
        // Rows of different tables never mix, so each table is sorted alone: fewer digits.
        let mut sorter = Sorter::default();
        for table in 0..table_count {
            let column = hash_ids.iter().skip(table).step_by(table_count).copied();
            csr.append(column, table as u32 * config.rows_per_table, &mut sorter);
        }
        csr
    }

    /// Number of touched rows.
    pub fn touched_count(&self) -> usize {
        self.rows.len()
    }

    fn with_capacity(entry_count: usize) -> Self {
        Self { rows: Vec::new(), offsets: vec![0], entries: Vec::with_capacity(entry_count) }
    }

    /// Adds the entries `0..` of a column whose rows start at `first_row`, above all so far.
    fn append(&mut self, column: impl Iterator<Item = u32>, first_row: u32, sorter: &mut Sorter) {
        let mut previous = None;
        for &pair in sorter.sort(column) {
            let row = (pair >> 32) as u32;
            if previous != Some(row) {
                if previous.is_some() {
                    self.offsets.push(self.entries.len() as u32);
                }
                self.rows.push(first_row + row);
                previous = Some(row);
            }
            self.entries.push(pair as u32);
        }
        if previous.is_some() {
            self.offsets.push(self.entries.len() as u32);
        }
    }
}

/// Stable radix sort of `(row, entry)` pairs packed in a `u64`, with its two buffers.
#[derive(Default)]
struct Sorter {
    pairs: Vec<u64>,
    scratch: Vec<u64>,
}

impl Sorter {
    /// The pairs `(row, position in column)`, by row, then by position.
    fn sort(&mut self, column: impl Iterator<Item = u32>) -> &[u64] {
        self.pairs.clear();
        self.pairs.extend(column.zip(0u64..).map(|(row, entry)| u64::from(row) << 32 | entry));
        assert!(self.pairs.len() <= u32::MAX as usize, "entries are numbered in 32 bits");
        self.scratch.resize(self.pairs.len(), 0);
        let largest = self.pairs.iter().copied().max().unwrap_or(0) >> 32;
        let mut shift = 0;
        // Positions start out in order and every pass is stable, so only rows are looked at.
        while largest >> shift != 0 {
            self.pass(32 + shift);
            shift += DIGIT_BITS;
        }
        &self.pairs
    }

    fn pass(&mut self, shift: u32) {
        let digit = |pair: u64| (pair >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut next = [0u32; 1 << DIGIT_BITS];
        for &pair in &self.pairs {
            next[digit(pair)] += 1;
        }
        let mut sum = 0;
        for slot in &mut next {
            sum += std::mem::replace(slot, sum);
        }
        for &pair in &self.pairs {
            let slot = &mut next[digit(pair)];
            self.scratch[*slot as usize] = pair;
            *slot += 1;
        }
        std::mem::swap(&mut self.pairs, &mut self.scratch);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::blt::hash::hash_ids;

    fn check(csr: &CsrRows, touches: impl Iterator<Item = (u32, u32)>) {
        let mut expected: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (row, entry) in touches {
            expected.entry(row).or_default().push(entry);
        }
        assert_eq!(csr.offsets.len(), csr.rows.len() + 1);
        assert_eq!(csr.touched_count(), expected.len());
        for (at, (row, entries)) in expected.into_iter().enumerate() {
            let range = csr.offsets[at] as usize..csr.offsets[at + 1] as usize;
            assert_eq!((csr.rows[at], &csr.entries[range]), (row, &entries[..]));
        }
        assert_eq!(*csr.offsets.last().unwrap() as usize, csr.entries.len());
    }

    #[test]
    fn a_small_table_by_hand() {
        let csr = CsrRows::new(&[5, 1, 5, 0, 1, 5]);
        assert_eq!(csr.rows, [0, 1, 5]);
        assert_eq!(csr.offsets, [0, 1, 3, 6]);
        assert_eq!(csr.entries, [3, 1, 4, 0, 2, 5]);
    }

    #[test]
    fn nothing_touched_is_an_empty_table() {
        let csr = CsrRows::new(&[]);
        assert_eq!((csr.rows.len(), csr.offsets, csr.entries.len()), (0, vec![0], 0));
        let config = HashConfig { group_sizes: vec![], function_count: 1, rows_per_table: 9 };
        assert_eq!(CsrRows::of_hash_tables(&[], &config), CsrRows::new(&[]));
    }

    proptest! {
        #[test]
        fn rows_and_entries_equal_an_ordered_map(
            rows in prop_oneof![
                prop::collection::vec(0u32..3, 0..60),
                prop::collection::vec(0u32..5000, 0..300),
                prop::collection::vec(any::<u32>(), 0..300),
            ],
        ) {
            check(&CsrRows::new(&rows), rows.iter().copied().zip(0..));
        }

        #[test]
        fn hash_tables_lie_one_below_the_other(
            ids in prop::collection::vec(0u32..260, 1..80),
            rows_per_table in 1u32..20_000,
            function_count in 1u32..3,
        ) {
            let config = HashConfig { group_sizes: vec![2, 3, 5], function_count, rows_per_table };
            let hashes = hash_ids(&ids, &config);
            let tables = config.table_count() as u32;
            let touches = (0..tables).flat_map(|table| {
                hashes.iter().skip(table as usize).step_by(tables as usize).zip(0u32..)
                    .map(move |(&hash, byte)| (table * rows_per_table + hash, byte))
            });
            check(&CsrRows::of_hash_tables(&hashes, &config), touches);
        }
    }
}
