//! Space patching: a patch ends with a space-like byte. Spec §3.8, paper §2.2.
//!
//! Space-like is what is no ASCII letter or digit and no UTF-8 continuation byte. Only the first of
//! a run ends its patch: the others head the next one, so that each patch has something else in it.
//! A special id ends its patch always.

use crate::text::BYTE_OFFSET;

/// Whether a patch starts at `start`, from 2 on, because one ends in front of it.
pub(super) fn starts_at(ids: &[u32], start: usize) -> bool {
    ends_patch(ids[start - 2], ids[start - 1])
}

/// Whether a patch ends with `id`, which `previous_id` stands in front of.
pub(super) fn ends_patch(previous_id: u32, id: u32) -> bool {
    id < BYTE_OFFSET || (is_space_like(id) && !is_space_like(previous_id))
}

/// UTF-8 lead bytes count as space-like; so do special ids, as neighbours.
fn is_space_like(id: u32) -> bool {
    match id.checked_sub(BYTE_OFFSET) {
        None => true,
        Some(byte) => !matches!(byte, 0x30..=0x39 | 0x41..=0x5a | 0x61..=0x7a | 0x80..=0xbf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{BOE_ID, BOS_ID, BPE_ID, EOS_ID};

    #[test]
    fn space_like_are_the_ranges_of_the_definition() {
        for id in 0..260 {
            let byte = id as i32 - 4;
            let expected = byte < 0x30
                || (0x39 < byte && byte < 0x41)
                || (0x5a < byte && byte < 0x61)
                || (0x7a < byte && byte < 0x80)
                || byte >= 0xc0;
            assert_eq!(is_space_like(id), expected, "id {id}");
        }
    }

    #[test]
    fn special_ids_end_patches_and_are_space_like_neighbours() {
        let [letter, space] = [u32::from(b'a') + 4, u32::from(b' ') + 4];
        for special in [BOE_ID, BOS_ID, EOS_ID, BPE_ID] {
            assert!(ends_patch(letter, special));
            assert!(ends_patch(space, special));
            assert!(!ends_patch(special, space), "the second of a run");
        }
        assert!(ends_patch(letter, space));
        assert!(!ends_patch(space, letter));
        assert!(!ends_patch(letter, letter));
    }
}
