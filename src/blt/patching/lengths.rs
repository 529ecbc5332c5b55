//! From starts to lengths, and what is done to lengths afterwards.

/// Lengths of a row of `row_length` positions of which 0, 1 and those with `starts_at` start
/// patches; the rule is asked about positions 2 and up, in order. Spec §3.2.
pub(super) fn lengths_of_starts(row_length: u32, starts_at: impl Fn(usize) -> bool) -> Vec<u32> {
    assert!(row_length > 0, "a row has at least one position");
    let mut lengths = Vec::new();
    let mut start = 0;
    for position in 1..row_length {
        if position == 1 || starts_at(position as usize) {
            lengths.push(position - start);
            start = position;
        }
    }
    lengths.push(row_length - start);
    lengths
}

/// The number of patches that [`lengths_of_starts`] and then [`cap_lengths`] make, without making
/// them.
pub(super) fn count_patches(
    row_length: u32,
    max_length: Option<u32>,
    starts_at: impl Fn(usize) -> bool,
) -> u64 {
    let pieces = |length: u32| max_length.map_or(1, |max| u64::from(length.div_ceil(max)));
    let mut patch_count = 0;
    let mut start = 0;
    for position in 1..row_length {
        if position == 1 || starts_at(position as usize) {
            patch_count += pieces(position - start);
            start = position;
        }
    }
    patch_count + pieces(row_length - start)
}

/// Patches of `patch_size`, the last of what is left. Spec §3.9.
pub(super) fn strided_lengths(row_length: u32, patch_size: u32) -> Vec<u32> {
    assert!(row_length > 0 && patch_size > 0, "both are checked by the caller");
    cap_lengths(&[row_length], patch_size)
}

/// Every longer patch cut into pieces of `max_length`, from the left; the last piece is what is
/// left, never nothing. Spec §3.13.
pub(super) fn cap_lengths(lengths: &[u32], max_length: u32) -> Vec<u32> {
    let mut capped = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let mut left = length;
        while left > max_length {
            capped.push(max_length);
            left -= max_length;
        }
        capped.push(left);
    }
    capped
}

/// The same row with a first patch of length 1, as the model requires: a longer first patch is
/// split after its first id. The sum stays.
///
/// Only rows of [`Static`](super::PatchingMode::Static) patching need it: with it every byte has a
/// finished patch in front of it to look at. Spec §3.9, §4.4; it is the split of §15.5, which there
/// drops the last patch as well, to keep the number of patches.
pub fn first_patch_of_one(lengths: &[u32]) -> Vec<u32> {
    match lengths {
        [first, rest @ ..] if *first > 1 => {
            let mut split = Vec::with_capacity(lengths.len() + 1);
            split.extend([1, first - 1]);
            split.extend(rest);
            split
        }
        _ => lengths.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_positions_always_start() {
        assert_eq!(lengths_of_starts(1, |_| true), [1]);
        assert_eq!(lengths_of_starts(2, |_| false), [1, 1]);
        assert_eq!(lengths_of_starts(5, |_| false), [1, 4]);
        assert_eq!(lengths_of_starts(5, |position| position == 4), [1, 3, 1]);
        assert_eq!(lengths_of_starts(4, |_| true), [1, 1, 1, 1]);
    }

    #[test]
    fn strides_leave_what_is_left() {
        assert_eq!(strided_lengths(8, 4), [4, 4]);
        assert_eq!(strided_lengths(9, 4), [4, 4, 1]);
        assert_eq!(strided_lengths(3, 4), [3]);
        assert_eq!(strided_lengths(3, u32::MAX), [3]);
    }

    #[test]
    fn long_patches_are_cut_from_the_left() {
        assert_eq!(cap_lengths(&[1, 7, 3, 6], 3), [1, 3, 3, 1, 3, 3, 3]);
        assert_eq!(cap_lengths(&[4, 2], 1), [1; 6]);
        assert_eq!(cap_lengths(&[4, 2], 9), [4, 2]);
    }

    #[test]
    fn the_first_patch_is_split() {
        assert_eq!(first_patch_of_one(&[4, 4, 2]), [1, 3, 4, 2]);
        assert_eq!(first_patch_of_one(&[1, 4]), [1, 4]);
        assert_eq!(first_patch_of_one(&[2]), [1, 1]);
        assert_eq!(first_patch_of_one(&[]), [0_u32; 0]);
    }
}
