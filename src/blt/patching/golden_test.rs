//! Patch lengths that the reference implementation makes, exactly. Spec §25.2 and §25.4.

use serde_json::Value;

use super::{DEFAULT_THRESHOLD, Patching, PatchingMode};
use crate::text::encode;

/// Token ids and patch lengths written down by running the reference.
const PATCHES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/patches.json"));

const ENTROPIES: [f32; 24] = [
    3.2, 2.1, 1.0, 1.4, 1.3, 0.2, 1.5, 1.7, 1.6, 0.1, 0.9, 2.5, 0.3, 0.3, 1.33544, 1.33545, 0.0,
    3.0, 2.9, 3.1, 0.4, 0.5, 1.9, 0.6,
];

const GLOBAL: PatchingMode = PatchingMode::Entropy { threshold: DEFAULT_THRESHOLD };
const MONOTONIC: PatchingMode = PatchingMode::Monotonic { threshold: 0.5 };
const COMBINED: PatchingMode =
    PatchingMode::Combined { threshold: DEFAULT_THRESHOLD, threshold_add: 0.1 };

/// Entropy vectors: the ids do not matter, the lengths are those with the virtual token.
fn check_entropies(patching: Patching, entropies: &[f32], expected: &[u32]) {
    let ids = vec![5; entropies.len()];
    let with = patching.patch_lengths(&ids, entropies).unwrap();
    assert_eq!(with, expected, "{patching:?}");

    let mut expected_without = expected.to_vec();
    *expected_without.last_mut().unwrap() -= 1;
    expected_without.retain(|&length| length > 0);
    let patching = Patching { include_next_token: false, ..patching };
    assert_eq!(patching.patch_lengths(&ids, entropies).unwrap(), expected_without, "{patching:?}");
}

/// Id vectors of a mode without entropies, with and without the virtual token.
fn check_ids(mode: PatchingMode, ids: &[u32], with: &[u32], without: &[u32]) {
    let patching = Patching::new(mode);
    assert_eq!(patching.patch_lengths(ids, &[]).unwrap(), with);
    let patching = Patching { include_next_token: false, ..patching };
    assert_eq!(patching.patch_lengths(ids, &[]).unwrap(), without);
}

/// A list of numbers, or the first list in a list; zeros that fill up a batch are left out.
fn row(golden: &Value, key: &str, row_index: usize) -> Vec<u32> {
    let list = golden[key].as_array().unwrap_or_else(|| panic!("{key} is not in the file"));
    let list = list[row_index].as_array().unwrap_or(list);
    let numbers = list.iter().map(|number| u32::try_from(number.as_u64().unwrap()).unwrap());
    if key.starts_with("tokens") {
        numbers.collect()
    } else {
        numbers.take_while(|&length| length > 0).collect()
    }
}

#[test]
fn global_threshold() {
    let global = Patching::new(GLOBAL);
    check_entropies(global, &ENTROPIES, &[1, 1, 2, 3, 1, 1, 3, 4, 2, 1, 1, 3, 2]);
    let capped = Patching { max_patch_length: Some(3), ..global };
    check_entropies(capped, &ENTROPIES, &[1, 1, 2, 3, 1, 1, 3, 3, 1, 2, 1, 1, 3, 2]);
    let mut flat = [0.1; 24];
    flat[0] = 3.0;
    check_entropies(global, &flat, &[1, 24]);
}

#[test]
fn monotonic_and_combined() {
    check_entropies(Patching::new(MONOTONIC), &ENTROPIES, &[1, 1, 5, 4, 1, 3, 3, 5, 2]);
    check_entropies(Patching::new(COMBINED), &ENTROPIES, &[1, 1, 2, 3, 1, 4, 6, 2, 3, 2]);
}

#[test]
fn rows_of_one_two_and_three_ids() {
    for id_count in 1..=3 {
        let entropies = vec![3.0; id_count];
        check_entropies(Patching::new(GLOBAL), &entropies, &vec![1; id_count + 1]);
    }
    // Forced starts alone, where there is hardly room for them.
    check_entropies(Patching::new(MONOTONIC), &[3.0], &[1, 1]);
    check_entropies(Patching::new(MONOTONIC), &[3.0; 3], &[1, 1, 2]);
    check_entropies(Patching::new(COMBINED), &[0.0, 1.0, 5.0], &[1, 1, 2]);
}

#[test]
fn space_in_the_words_of_the_specification() {
    let mixed = "Hello, world! 12+3=15\n\n  naïve café — 日本語 🎉 foo_bar";
    let ids = encode(mixed.as_bytes(), true, true);
    assert_eq!(ids.len(), 66);
    let with = [1, 6, 7, 4, 2, 3, 6, 4, 4, 2, 4, 4, 3, 3, 5, 4, 4, 1];
    check_ids(PatchingMode::Space, &ids, &with, &with[..17]);
    for (text, with) in [
        ("a  b", &[1, 2, 3, 1][..]),
        ("x1y2", &[1, 5, 1]),
        ("", &[1, 1, 1]),
        ("ab cd ef gh", &[1, 3, 3, 3, 3, 1]),
        ("abcdefghijk", &[1, 12, 1]),
    ] {
        let ids = encode(text.as_bytes(), true, true);
        check_ids(PatchingMode::Space, &ids, with, &with[..with.len() - 1]);
    }
}

#[test]
fn every_vector_of_the_golden_file() {
    let golden: Value = serde_json::from_str(PATCHES).unwrap();
    for name in ["mixed", "twospaces", "digits", "empty"] {
        let ids = row(&golden, &format!("tokens_{name}"), 0);
        let with = row(&golden, &format!("space_{name}_incTrue"), 0);
        let without = row(&golden, &format!("space_{name}_incFalse"), 0);
        check_ids(PatchingMode::Space, &ids, &with, &without);
    }
    for (row_index, text) in ["ab cd ef gh", "abcdefghijk"].iter().enumerate() {
        let ids = encode(text.as_bytes(), true, true);
        let with = row(&golden, "space_batch_incTrue", row_index);
        assert_eq!(Patching::new(PatchingMode::Space).patch_lengths(&ids, &[]).unwrap(), with);
    }
    let ids = row(&golden, "tokens_bpe", 0);
    let with = row(&golden, "bpe_incTrue", 0);
    let without = row(&golden, "bpe_incFalse", 0);
    check_ids(PatchingMode::BpeDelimiter, &ids, &with, &without);
    assert_eq!(golden.as_object().unwrap().len(), 16, "a vector of the file is not tested");
}

#[test]
fn a_repeated_delimiter_makes_no_empty_patch() {
    check_ids(PatchingMode::BpeDelimiter, &[3, 3, 3, 76], &[1, 1, 1, 2], &[1, 1, 1, 1]);
}

#[test]
fn static_and_byte() {
    let ids = [5; 9];
    check_ids(PatchingMode::Static { patch_size: 4 }, &ids, &[4, 4, 2], &[4, 4, 1]);
    check_ids(PatchingMode::Static { patch_size: 3 }, &ids, &[3, 3, 3, 1], &[3, 3, 3]);
    check_ids(PatchingMode::Byte, &ids, &[1; 10], &[1; 9]);
}
