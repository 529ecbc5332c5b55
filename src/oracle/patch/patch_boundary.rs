//! Where patches begin in one row of bytes (spec §3.2-3.6, §3.8, §3.13; paper §2).
//!
//! The answer is one flag per position, 1 where a patch starts. With N bytes, `flags` has N
//! positions, or N + 1 to include the virtual position of the byte that comes next (spec §3.1).
//! Positions 0 and 1 always start a patch. `entropy[i]` is in nats and belongs to the prediction
//! made after byte i, so it decides about position i + 1.

use crate::oracle::Real;

/// How entropies decide. Comparisons are strict and made in `R`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EntropyRule<R> {
    /// `entropy[t - 1] > threshold` (spec §3.4).
    Global { threshold: R },
    /// `entropy[t - 1] - entropy[t - 2] > threshold`, and always at 2 (spec §3.5).
    Monotonic { threshold: R },
    /// Both, `add` being the threshold of the rise; always at 2 and never at 3 (spec §3.6).
    Combined { threshold: R, add: R },
}

/// Flags from the entropies of one row, `entropy [N]`, `flags [N]` or `[N + 1]`.
pub fn patch_boundary<R: Real>(entropy: &[R], rule: EntropyRule<R>, flags: &mut [u32]) {
    assert_flag_count(entropy.len(), flags);
    for t in 0..flags.len() {
        let starts = t < 2
            || match rule {
                EntropyRule::Global { threshold } => entropy[t - 1] > threshold,
                EntropyRule::Monotonic { threshold } => {
                    t == 2 || entropy[t - 1] - entropy[t - 2] > threshold
                }
                EntropyRule::Combined { threshold, add } => {
                    let rises = entropy[t - 1] - entropy[t - 2] > add;
                    t == 2 || (t > 3 && rises && entropy[t - 1] > threshold)
                }
            };
        flags[t] = u32::from(starts);
    }
}

/// Flags of space patching from the ids of one row (spec §3.8): a patch ends with the first of a
/// run of space-like bytes and with every special id. `ids [N]`, `flags [N]` or `[N + 1]`.
pub fn patch_boundary_space(ids: &[u32], flags: &mut [u32]) {
    assert_flag_count(ids.len(), flags);
    for t in 0..flags.len() {
        let ends = |i: usize| ids[i] < 4 || (space_like(ids[i]) && !space_like(ids[i - 1]));
        flags[t] = u32::from(t < 2 || ends(t - 1));
    }
}

/// Starts a patch wherever the current one would grow past `max_patch_length` (spec §3.13).
pub fn limit_patch_length(flags: &mut [u32], max_patch_length: usize) {
    assert!(max_patch_length > 0, "limit_patch_length: patches of no length");
    let mut start = 0;
    for t in 0..flags.len() {
        if t - start == max_patch_length {
            flags[t] = 1;
        }
        if flags[t] == 1 {
            start = t;
        }
    }
}

fn assert_flag_count(byte_count: usize, flags: &[u32]) {
    let next = flags.len() == byte_count + 1;
    assert!(next || flags.len() == byte_count, "patch_boundary: one flag per position");
}

/// Neither an ASCII letter or digit nor a continuation byte of UTF-8. Specials (ids below 4) are
/// space-like.
fn space_like(id: u32) -> bool {
    let byte = i64::from(id) - 4;
    byte < 0x30
        || (byte > 0x39 && byte < 0x41)
        || (byte > 0x5A && byte < 0x61)
        || (byte > 0x7A && byte < 0x80)
        || byte >= 0xC0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec §25.2.
    const ENTROPY: [f32; 24] = [
        3.2, 2.1, 1.0, 1.4, 1.3, 0.2, 1.5, 1.7, 1.6, 0.1, 0.9, 2.5, 0.3, 0.3, 1.33544, 1.33545,
        0.0, 3.0, 2.9, 3.1, 0.4, 0.5, 1.9, 0.6,
    ];
    const THRESHOLD: f32 = 1.335_442_1;

    fn lengths(flags: &[u32]) -> Vec<usize> {
        let mut starts: Vec<usize> = (0..flags.len()).filter(|t| flags[*t] == 1).collect();
        starts.push(flags.len());
        starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Checks the lengths with the virtual position, and that without it the last patch is shorter.
    fn check(entropy: &[f32], rule: EntropyRule<f32>, max: Option<usize>, expected: &[usize]) {
        for include_next in [1, 0] {
            let mut flags = vec![9; entropy.len() + include_next];
            patch_boundary(entropy, rule, &mut flags);
            if let Some(max) = max {
                limit_patch_length(&mut flags, max);
            }
            let mut expected = expected.to_vec();
            *expected.last_mut().unwrap() -= 1 - include_next;
            expected.retain(|length| *length > 0);
            assert_eq!(lengths(&flags), expected, "{rule:?}, max {max:?}, next {include_next}");
        }
    }

    #[test]
    fn entropy_rules_give_the_golden_lengths() {
        let global = EntropyRule::Global { threshold: THRESHOLD };
        check(&ENTROPY, global, None, &[1, 1, 2, 3, 1, 1, 3, 4, 2, 1, 1, 3, 2]);
        check(&ENTROPY, global, Some(3), &[1, 1, 2, 3, 1, 1, 3, 3, 1, 2, 1, 1, 3, 2]);
        let monotonic = EntropyRule::Monotonic { threshold: 0.5 };
        check(&ENTROPY, monotonic, None, &[1, 1, 5, 4, 1, 3, 3, 5, 2]);
        let combined = EntropyRule::Combined { threshold: THRESHOLD, add: 0.1 };
        check(&ENTROPY, combined, None, &[1, 1, 2, 3, 1, 4, 6, 2, 3, 2]);
        let mut falling = [0.1; 24];
        falling[0] = 3.0;
        check(&falling, global, None, &[1, 24]);
    }

    #[test]
    fn short_rows_are_all_starts() {
        let rule = EntropyRule::Global { threshold: THRESHOLD };
        for byte_count in 1..=3 {
            check(&[3.0; 3][..byte_count], rule, None, &vec![1; byte_count + 1]);
        }
    }

    #[test]
    fn the_threshold_itself_starts_nothing() {
        let mut flags = [9; 4];
        patch_boundary(&[0.0, 1.5, 1.5], EntropyRule::Global { threshold: 1.5 }, &mut flags);
        assert_eq!(flags, [1, 1, 0, 0]);
        patch_boundary(&[0.0, 1.5, 1.75], EntropyRule::Monotonic { threshold: 0.25 }, &mut flags);
        assert_eq!(flags, [1, 1, 1, 0]);
    }

    /// Text to ids with BOS and EOS around it.
    fn ids(text: &str) -> Vec<u32> {
        let mut ids = vec![1];
        ids.extend(text.bytes().map(|byte| u32::from(byte) + 4));
        ids.push(2);
        ids
    }

    #[test]
    fn space_patching_gives_the_golden_lengths() {
        let mixed = "Hello, world! 12+3=15\n\n  naïve café — 日本語 🎉 foo_bar";
        let lengths_mixed = [1, 6, 7, 4, 2, 3, 6, 4, 4, 2, 4, 4, 3, 3, 5, 4, 4, 1];
        let golden: [(&str, &[usize]); 6] = [
            (mixed, &lengths_mixed),
            ("a  b", &[1, 2, 3, 1]),
            ("x1y2", &[1, 5, 1]),
            ("", &[1, 1, 1]),
            ("ab cd ef gh", &[1, 3, 3, 3, 3, 1]),
            ("abcdefghijk", &[1, 12, 1]),
        ];
        for (text, expected) in golden {
            let ids = ids(text);
            let mut flags = vec![9; ids.len() + 1];
            patch_boundary_space(&ids, &mut flags);
            assert_eq!(lengths(&flags), expected, "{text:?}");
            // EOS closes a patch, so the virtual position is alone.
            let mut flags = vec![9; ids.len()];
            patch_boundary_space(&ids, &mut flags);
            assert_eq!(lengths(&flags), expected[..expected.len() - 1], "{text:?} without next");
        }
    }
}
