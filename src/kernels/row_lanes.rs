//! The variants `lanes` of kernels that reduce rows: a row a lane, so that nothing is reduced
//! across lanes. For drivers that compute on the processor, where barriers are dear and loads of
//! distant addresses cost what loads of neighbours do.

use super::Counts;
use super::kernel::{Needs, Variant, always, fold_groups};

/// Rows of one workgroup.
const ROWS: usize = 32;

/// A variant from its source.
pub(super) const fn row_lanes(
    source: &'static str,
    groups: fn(&[u8], &Counts) -> [u32; 3],
) -> Variant {
    Variant {
        name: "lanes",
        source,
        defines: &[],
        needs: Needs::NOTHING,
        takes: always,
        suits: |situation| situation.abilities.software,
        keeps_bits: false,
        groups,
    }
}

/// Workgroups for so many rows.
pub(super) fn row_groups(row_count: usize) -> [u32; 3] {
    fold_groups(row_count.div_ceil(ROWS))
}
