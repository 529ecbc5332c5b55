//! Training rows of the two models from one text.

use super::shape::Shape;
use crate::blt::tables::Row;
use crate::error::Result;
use crate::train::packing::{BytePacker, Packer, PackerOptions};

/// Rows of the entropy model, of ids with BOS and EOS.
///
/// # Errors
/// Fewer than 2 ids.
pub fn entropy_rows(ids: &[u32], shape: &Shape) -> Result<Vec<Row>> {
    let mut packer = BytePacker::new(shape.entropy_row_bytes)?;
    packer.push(ids)?;
    let mut rows: Vec<_> = std::iter::from_fn(|| packer.pop()).collect();
    rows.extend(std::iter::from_fn(|| packer.flush()));
    Ok(rows)
}

/// Rows of the BLT: the same number of patches in each, of together at most four times as many
/// bytes as calibrated patches have.
///
/// # Errors
/// Lengths that do not sum to the ids.
pub fn packed_rows(ids: &[u32], patch_lengths: &[u32], shape: &Shape) -> Result<Vec<Row>> {
    let mut packer = Packer::new(PackerOptions {
        row_patch_count: shape.row_patch_count,
        max_row_bytes: shape.row_patch_count * 16,
        reference: false,
    })?;
    packer.push(ids, patch_lengths)?;
    let mut rows: Vec<_> = std::iter::from_fn(|| packer.pop()).collect();
    rows.extend(std::iter::from_fn(|| packer.flush()));
    Ok(rows)
}
