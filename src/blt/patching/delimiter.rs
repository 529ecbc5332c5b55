//! BPE-delimiter patching: a patch ends with a delimiter id. Spec §3.11.
//!
//! The text carries the delimiter in front of every subword. A delimiter that is the last id of the
//! row starts nothing, virtual token included: the reference looks at ids 0 to N - 2 only. (With an
//! id more behind it, it does; the two rows agree up to there.)

use crate::text::BPE_ID;

/// Whether a patch starts at `start`, from 2 on, because a delimiter stands in front of it.
pub(super) fn starts_at(ids: &[u32], start: usize) -> bool {
    start < ids.len() && ids[start - 1] == BPE_ID
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_starts_nothing() {
        let ids = [1, 3, 76, 3, 3];
        let starts: Vec<usize> = (2..=5).filter(|&start| starts_at(&ids, start)).collect();
        assert_eq!(starts, [2, 4]);
    }
}
