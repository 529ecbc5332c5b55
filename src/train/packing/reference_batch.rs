//! What the reference makes of its packed sequences: batches padded to one length (spec §15.5).

use super::check_least;
use crate::blt::tables::Row;
use crate::error::{Error, Result};

/// Steps 2 to 5 of spec §15.5: rows of one batch of the reference, from its packed sequences.
///
/// Every row is padded with id 0 and weight 0 to the longest of the batch, with the padding in
/// its last patch; rows of padding alone fill up to `row_count`; then all are cut to
/// `max_row_bytes`, or padded to it with `pad_to_max_length`. Patches cut away entirely vanish,
/// where the reference keeps lengths of 0; no byte sees either.
///
/// # Errors
/// No rows, more than `row_count`, or a limit below 1.
pub fn pad_reference_batch(
    rows: &mut Vec<Row>,
    row_count: usize,
    max_row_bytes: usize,
    pad_to_max_length: bool,
) -> Result<()> {
    check_least("bytes per row", max_row_bytes, 1)?;
    if rows.is_empty() || rows.len() > row_count {
        let got = rows.len();
        return Err(Error::input("batch", format!("expected 1 to {row_count} rows, got {got}")));
    }
    let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    for row in rows.iter_mut() {
        row.pad_to(longest);
    }
    let mut filler = Row::default();
    filler.pad_to(longest);
    filler.patch_lengths.clone_from(&rows[rows.len() - 1].patch_lengths);
    rows.resize(row_count, filler);
    for row in rows {
        if longest > max_row_bytes {
            row.cut_to(max_row_bytes);
        } else if pad_to_max_length {
            row.pad_to(max_row_bytes);
        }
    }
    Ok(())
}
