//! Tables of the byte axis: what both the entropy model and the BLT read.

use super::row::Row;
use super::segments::{Documents, Segments, window_ranges};
use crate::error::{Error, Result};

/// The bytes of all rows, one after the other, and causal windowed attention over them.
#[derive(Clone, Debug, PartialEq)]
pub struct ByteTables {
    /// Input ids, `[bytes]`, each below 260.
    pub ids: Vec<u32>,
    /// Id that follows, `[bytes]`, each below 260.
    pub targets: Vec<u32>,
    /// Weight of each target in the loss, `[bytes]`.
    pub weights: Vec<f32>,
    /// Index within the row, for the rotary embedding, `[bytes]`.
    pub byte_position: Vec<u32>,
    /// First byte of the row, where n-gram windows end, `[bytes]`.
    pub row_start: Vec<u32>,
    /// First byte of each row, then the number of bytes, `[rows + 1]`.
    pub row_offsets: Vec<u32>,
    /// Keys that each byte sees, `[bytes, 2]`.
    pub byte_key_range: Vec<u32>,
    /// Queries that see each byte, `[bytes, 2]`.
    pub byte_query_range: Vec<u32>,
    /// Where attention over bytes stops; for [`window_ranges`] with another window.
    pub segments: Segments,
}

impl ByteTables {
    /// Tables of `rows` with `window` keys per query, itself included; `None` sees all before.
    ///
    /// # Errors
    /// No rows, a row that fails [`Row::check_bytes`], a window of 0, or more than `2^31` bytes.
    pub fn new(rows: &[Row], documents: Documents, window: Option<u32>) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::input("batch", "expected at least 1 row, got none"));
        }
        for (index, row) in rows.iter().enumerate() {
            row.check_bytes(index)?;
        }
        check_window("attention window", window)?;
        let count = flat_count("bytes of a batch", rows.iter().map(|row| row.ids.len()))?;
        let mut byte_position = Vec::with_capacity(count);
        let mut row_start = Vec::with_capacity(count);
        let mut row_offsets = vec![0u32];
        for row in rows {
            let (start, length) = (byte_position.len() as u32, row.ids.len() as u32);
            byte_position.extend(0..length);
            row_start.extend(std::iter::repeat_n(start, row.ids.len()));
            row_offsets.push(start + length);
        }
        let segments = Segments::of_bytes(rows, documents);
        let ranges = window_ranges(&segments, window);
        Ok(Self {
            ids: rows.iter().flat_map(|row| &row.ids).copied().collect(),
            targets: rows.iter().flat_map(|row| &row.targets).copied().collect(),
            weights: rows.iter().flat_map(|row| &row.weights).copied().collect(),
            byte_position,
            row_start,
            row_offsets,
            byte_key_range: ranges.key_range,
            byte_query_range: ranges.query_range,
            segments,
        })
    }

    /// Number of bytes of all rows.
    pub fn byte_count(&self) -> usize {
        self.ids.len()
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.row_offsets.len() - 1
    }
}

/// A window of 0 sees nothing, not even itself, and is a mistake.
pub(super) fn check_window(subject: &str, window: Option<u32>) -> Result<()> {
    match window {
        Some(0) => Err(Error::config(subject, "expected at least 1, got 0")),
        _ => Ok(()),
    }
}

/// Length of a flat axis; half of what 32 bits number, so that `[count, 2]` tables fit too.
pub(super) fn flat_count(limit: &str, parts: impl Iterator<Item = usize>) -> Result<usize> {
    const AVAILABLE: u64 = 1 << 31;
    let needed: u64 = parts.map(|part| part as u64).sum();
    if needed > AVAILABLE {
        return Err(Error::Limit {
            limit: limit.into(),
            needed,
            available: AVAILABLE,
            hint: "use fewer or shorter rows in a batch".into(),
        });
    }
    Ok(needed as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |ids: &[u32], targets: &[u32], weight: f32| Row {
            ids: ids.to_vec(),
            targets: targets.to_vec(),
            weights: vec![weight; ids.len()],
            patch_lengths: vec![],
        };
        vec![row(&[1, 9, 2], &[9, 2, 1], 1.0), row(&[7, 8], &[8, 9], 0.5)]
    }

    #[test]
    fn rows_lie_one_after_the_other() {
        let tables = ByteTables::new(&rows(), Documents::Reference, Some(2)).unwrap();
        assert_eq!(tables.ids, [1, 9, 2, 7, 8]);
        assert_eq!(tables.targets, [9, 2, 1, 8, 9]);
        assert_eq!(tables.weights, [1.0, 1.0, 1.0, 0.5, 0.5]);
        assert_eq!(tables.byte_position, [0, 1, 2, 0, 1]);
        assert_eq!(tables.row_start, [0, 0, 0, 3, 3]);
        assert_eq!(tables.row_offsets, [0, 3, 5]);
        assert_eq!(tables.byte_key_range, [0, 1, 0, 2, 1, 3, 3, 4, 3, 5]);
        assert_eq!(tables.byte_query_range, [0, 2, 1, 3, 2, 3, 3, 5, 4, 5]);
        assert_eq!((tables.byte_count(), tables.row_count()), (5, 2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |rows: &[Row], window| {
            ByteTables::new(rows, Documents::Ignored, window).unwrap_err().to_string()
        };
        assert!(problem(&[], None).contains("at least 1 row"));
        assert!(problem(&rows(), Some(0)).contains("attention window: expected at least 1"));
        let mut wrong = rows();
        wrong[1].ids[1] = 999;
        assert_eq!(problem(&wrong, None), "row 1: id at 1: expected one below 260, got 999");
    }

    #[test]
    fn an_axis_too_long_to_number_is_an_error() {
        let huge = [1usize << 31, 1];
        assert!(flat_count("bytes", huge.into_iter()).is_err());
        assert_eq!(flat_count("bytes", huge.into_iter().take(1)).unwrap(), 1 << 31);
    }
}
