//! What holds for every mode and every row.

use proptest::prelude::*;

use super::{PatchCutter, Patching, PatchingMode, first_patch_of_one};
use crate::text::BPE_ID;

fn threshold() -> impl Strategy<Value = f32> {
    // Few distinct values: equality with an entropy has to be common.
    (0_u8..8).prop_map(|value| f32::from(value) / 4.0)
}

fn mode() -> impl Strategy<Value = PatchingMode> {
    prop_oneof![
        (1_u32..7).prop_map(|patch_size| PatchingMode::Static { patch_size }),
        Just(PatchingMode::Space),
        threshold().prop_map(|threshold| PatchingMode::Entropy { threshold }),
        threshold().prop_map(|threshold| PatchingMode::Monotonic { threshold }),
        (threshold(), threshold()).prop_map(|(threshold, threshold_add)| {
            PatchingMode::Combined { threshold, threshold_add }
        }),
        Just(PatchingMode::Byte),
        Just(PatchingMode::BpeDelimiter),
    ]
}

fn patching() -> impl Strategy<Value = Patching> {
    (mode(), proptest::option::of(1_u32..7), any::<bool>()).prop_map(
        |(mode, max_patch_length, include_next_token)| Patching {
            mode,
            max_patch_length,
            include_next_token,
        },
    )
}

/// Ids and entropies of one row.
fn row() -> impl Strategy<Value = (Vec<u32>, Vec<f32>)> {
    let id = prop_oneof![0_u32..4, Just(36), 0_u32..260, 101_u32..127];
    let entropy = prop_oneof![threshold(), 0.0_f32..5.56];
    proptest::collection::vec((id, entropy), 1..50).prop_map(|row| row.into_iter().unzip())
}

/// Where patches start, `0` not listed.
fn boundaries(lengths: &[u32]) -> Vec<u32> {
    let ends = lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    let mut ends: Vec<u32> = ends.collect();
    ends.pop();
    ends
}

proptest! {
    #[test]
    fn lengths_sum_and_none_is_zero(patching in patching(), (ids, entropies) in row()) {
        let lengths = patching.patch_lengths(&ids, &entropies).unwrap();
        let expected = ids.len() + usize::from(patching.include_next_token);
        prop_assert_eq!(lengths.iter().sum::<u32>() as usize, expected);
        prop_assert!(lengths.iter().all(|&length| length > 0));
        if let Some(max) = patching.max_patch_length {
            prop_assert!(lengths.iter().all(|&length| length <= max));
        }
        if !matches!(patching.mode, PatchingMode::Static { .. }) {
            prop_assert_eq!(lengths[0], 1);
        }
        let usable = first_patch_of_one(&lengths);
        prop_assert_eq!(usable[0], 1);
        prop_assert_eq!(usable.iter().sum::<u32>() as usize, expected);
    }

    #[test]
    fn a_prefix_gives_a_prefix_of_the_boundaries(
        patching in patching(), (ids, entropies) in row(), cut: prop::sample::Index,
    ) {
        let kept = cut.index(ids.len()) + 1;
        let whole = boundaries(&patching.patch_lengths(&ids, &entropies).unwrap());
        let prefix = patching.patch_lengths(&ids[..kept], &entropies[..kept]).unwrap();
        // The delimiter mode does not decide about the virtual token; all others do.
        let is_decided = patching.include_next_token && patching.mode != PatchingMode::BpeDelimiter;
        let end = if is_decided && kept < ids.len() { kept + 1 } else { kept };
        let within = |list: Vec<u32>| -> Vec<u32> {
            list.into_iter().filter(|&start| (start as usize) < end).collect()
        };
        prop_assert_eq!(within(boundaries(&prefix)), within(whole));
    }

    #[test]
    fn without_the_virtual_token_only_the_end_differs(
        patching in patching(), (ids, entropies) in row(),
    ) {
        let with = Patching { include_next_token: true, ..patching };
        let without = Patching { include_next_token: false, ..patching };
        let mut expected = with.patch_lengths(&ids, &entropies).unwrap();
        *expected.last_mut().unwrap() -= 1;
        expected.retain(|&length| length > 0);
        prop_assert_eq!(without.patch_lengths(&ids, &entropies).unwrap(), expected);
    }

    #[test]
    fn the_longest_length_is_the_incremental_rule(
        patching in patching(), (ids, entropies) in row(), max in 1_u32..7,
    ) {
        let free = Patching { max_patch_length: None, ..patching };
        let capped = Patching { max_patch_length: Some(max), ..patching };
        let natural = boundaries(&free.patch_lengths(&ids, &entropies).unwrap());
        let mut expected = Vec::new();
        let mut start = 0;
        for position in 1..ids.len() as u32 + u32::from(patching.include_next_token) {
            if natural.contains(&position) || position - start == max {
                expected.push(position);
                start = position;
            }
        }
        prop_assert_eq!(boundaries(&capped.patch_lengths(&ids, &entropies).unwrap()), expected);
    }

    #[test]
    fn the_cutter_cuts_like_the_row(patching in patching(), (ids, entropies) in row()) {
        let patching = Patching { include_next_token: true, ..patching };
        let mut expected =
            boundaries(&first_patch_of_one(&patching.patch_lengths(&ids, &entropies).unwrap()));
        let last = ids.len() as u32;
        let ends_on_delimiter = patching.mode == PatchingMode::BpeDelimiter
            && ids.last() == Some(&BPE_ID);
        if ends_on_delimiter && expected.last() != Some(&last) {
            expected.push(last);
        }
        let mut cutter = PatchCutter::new(&patching).unwrap();
        for _document in 0..2 {
            let mut found = Vec::new();
            for (next, (&id, &entropy)) in (1..).zip(ids.iter().zip(&entropies)) {
                if cutter.push(id, entropy) {
                    found.push(next);
                }
            }
            prop_assert_eq!(&found, &expected);
            cutter.reset();
        }
    }
}
