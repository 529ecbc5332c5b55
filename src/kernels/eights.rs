//! The variants `lanes_eights` of kernels that move numbers more than they compute: for drivers
//! that compute on the processor. A load there is a loop over the lanes, in which four words of 64
//! bits cost little more than one number of f32, and every subgroup that begins costs half a
//! microsecond: so eight lanes walk a chunk, eight numbers at a time.

use super::Counts;
use super::kernel::{Halves, Needs, Variant, fold_groups};
use super::wide::WIDE;

/// Eights that a workgroup takes.
const CHUNK: usize = 512;

/// Rows that a workgroup takes.
const ROW_CHUNK: usize = 64;

/// Numbers of a row that eight lanes hold.
const MOST_COLS: u32 = 128;

/// A variant whose workgroups take chunks of eights: [`chunk_groups`].
pub(super) const fn lanes_eights(
    source: &'static str,
    takes: fn(&[u8], Halves) -> bool,
    groups: fn(&[u8], &Counts) -> [u32; 3],
) -> Variant {
    Variant {
        name: "lanes_eights",
        source,
        defines: &[(WIDE, 1), ("CHUNK", CHUNK as u32)],
        needs: Needs { int64: true, ..Needs::NOTHING },
        takes,
        suits: |situation| situation.abilities.software,
        keeps_bits: false,
        groups,
    }
}

/// A variant whose workgroups take chunks of rows that eight lanes hold, and reduce them:
/// [`row_chunk_groups`].
pub(super) const fn rows_of_eights(
    source: &'static str,
    takes: fn(&[u8], Halves) -> bool,
    groups: fn(&[u8], &Counts) -> [u32; 3],
) -> Variant {
    Variant {
        defines: &[(WIDE, 1), ("CHUNK", ROW_CHUNK as u32)],
        needs: Needs { subgroups: true, subgroup_min: 8, int64: true, ..Needs::NOTHING },
        ..lanes_eights(source, takes, groups)
    }
}

/// Workgroups for so many numbers.
pub(super) fn chunk_groups(count: usize) -> [u32; 3] {
    fold_groups((count / 8).div_ceil(CHUNK))
}

/// Workgroups for so many rows.
pub(super) fn row_chunk_groups(row_count: usize) -> [u32; 3] {
    fold_groups(row_count.div_ceil(ROW_CHUNK))
}

/// Whether all of these are whole eights.
pub(super) fn are_eights(counts: &[u32]) -> bool {
    counts.iter().all(|count| count.is_multiple_of(8))
}

/// Whether eight lanes hold a row of so many columns.
pub(super) fn is_short_row(cols: u32) -> bool {
    are_eights(&[cols]) && cols <= MOST_COLS
}
