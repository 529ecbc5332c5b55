//! Tests of the calibration against trying every threshold there is.

use super::*;
use crate::blt::patching::bytes_and_patches;
use proptest::prelude::*;

fn entropy() -> Patching {
    Patching::new(PatchingMode::Entropy { threshold: 0.0 })
}

fn monotonic() -> Patching {
    Patching::new(PatchingMode::Monotonic { threshold: 0.0 })
}

fn with_threshold(patching: &Patching, threshold: f32) -> Patching {
    let mode = match patching.mode {
        PatchingMode::Monotonic { .. } => PatchingMode::Monotonic { threshold },
        PatchingMode::Combined { threshold_add, .. } => {
            PatchingMode::Combined { threshold, threshold_add }
        }
        _ => PatchingMode::Entropy { threshold },
    };
    Patching { mode, ..*patching }
}

/// Bytes per patch and number of patches by cutting every document.
fn measure(patching: &Patching, documents: &[Vec<f32>]) -> (f64, u64) {
    let (mut byte_count, mut patch_count) = (0, 0);
    for document in documents {
        let lengths = patching.patch_lengths(&vec![5; document.len()], document).unwrap();
        let (bytes, patches) = bytes_and_patches(document.len(), &lengths);
        byte_count += bytes;
        patch_count += patches;
    }
    (bytes_per_patch(byte_count, patch_count), patch_count)
}

#[test]
fn a_mean_that_can_be_met_is_met() {
    // Nine ids: starts 0 and 1, then one for each of the scores above; 8 is about the tenth id.
    let document = vec![9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let found = calibrate_threshold(&entropy(), std::slice::from_ref(&document), 2.0).unwrap();
    assert_eq!((found.byte_count, found.patch_count), (8, 4));
    assert_eq!((found.threshold, found.bytes_per_patch), (5.5, 2.0), "6 and 7 are above");
    let found = calibrate_threshold(&monotonic(), &[document], 2.5).unwrap();
    assert_eq!(found.patch_count, 3, "all rises are equal: all or none, and none is nearer");
}

#[test]
fn a_mean_out_of_reach_gives_the_end_of_the_range() {
    let documents = [vec![0.5, 0.0, 0.25, 0.5], vec![0.0]];
    let longest = calibrate_threshold(&entropy(), &documents, 1e9).unwrap();
    assert_eq!((longest.patch_count, longest.byte_count), (3, 3));
    let (reached, _) = measure(&with_threshold(&entropy(), longest.threshold), &documents);
    assert_eq!(reached, longest.bytes_per_patch);
    // No mean of at least 1 is too short: byte patches have less, the first id being no byte.
    let ties = [vec![0.0, 1.0, 1.0, 1.0]];
    let shortest = calibrate_threshold(&entropy(), &ties, 1.0).unwrap();
    assert_eq!((shortest.patch_count, shortest.bytes_per_patch), (4, 0.75));
    let nothing_to_choose = calibrate_threshold(&entropy(), &[[1.0]], 4.5).unwrap();
    assert_eq!((nothing_to_choose.threshold, nothing_to_choose.patch_count), (0.0, 1));
}

#[test]
fn of_two_equally_near_means_the_lower_threshold_is_taken() {
    // Six bytes in two or in three patches.
    let documents = [vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]];
    let found = calibrate_threshold(&entropy(), &documents, 2.5).unwrap();
    assert_eq!((found.patch_count, found.threshold), (3, 0.5));
}

#[test]
fn scores_of_forced_starts_do_not_count() {
    // The rise of 5 belongs to position 2, which starts anyway; those of 1 and 2 decide.
    let document = [0.0, 5.0, 6.0, 8.0, 0.0];
    let found = calibrate_threshold(&monotonic(), &[document], 1.0).unwrap();
    assert_eq!((found.patch_count, found.threshold), (4, 1.5));
    let found = calibrate_threshold(&monotonic(), &[document], 9.0).unwrap();
    assert_eq!((found.patch_count, found.threshold), (3, 2.0 + MARGIN));
}

#[test]
fn between_neighbouring_floats_the_lower_is_the_threshold() {
    let mut under = 1.0_f32;
    for _ in 0..4 {
        assert_eq!(threshold_of_step(&[under, under.next_up()], 1), under);
        under = under.next_up();
    }
}

#[test]
fn bad_input_is_refused() {
    let message = |patching: Patching, documents: &[Vec<f32>], wanted| {
        calibrate_threshold(&patching, documents, wanted).unwrap_err().to_string()
    };
    let one = [vec![1.0]];
    assert!(message(entropy(), &[], 4.5).contains("at least one document, got none"));
    assert!(message(entropy(), &[vec![1.0], vec![]], 4.5).starts_with("document 1 of"));
    let nan = message(entropy(), &[vec![1.0, f32::NAN]], 4.5);
    assert!(nan.contains("entropies[1]: expected a finite number"), "{nan}");
    for wanted in [0.5, f64::NAN, f64::INFINITY] {
        assert!(message(entropy(), &one, wanted).starts_with("wanted bytes per patch: "));
    }
    let space = message(Patching::new(PatchingMode::Space), &one, 4.5);
    assert!(space.ends_with("expected patching by entropies, got space"), "{space}");
    let zero = Patching { max_patch_length: Some(0), ..entropy() };
    assert!(message(zero, &one, 4.5).contains("max_patch_length"));
}

proptest! {
    #[test]
    fn no_threshold_does_better(
        documents in proptest::collection::vec(
            // Few distinct values, so that ties are common, and some of all kinds.
            proptest::collection::vec(
                prop_oneof![(0_u8..6).prop_map(|v| f32::from(v) / 4.0), 0.0_f32..5.56], 1..30),
            1..5,
        ),
        wanted in 1.0_f64..12.0,
        mode_index in 0..3,
        threshold_add in -1.0_f32..1.0,
        max_patch_length in proptest::option::of(1_u32..6),
        include_next_token: bool,
    ) {
        let mode = match mode_index {
            0 => entropy(),
            1 => monotonic(),
            _ => Patching::new(PatchingMode::Combined { threshold: 0.0, threshold_add }),
        };
        let patching = Patching { max_patch_length, include_next_token, ..mode };
        let found = calibrate_threshold(&patching, &documents, wanted).unwrap();
        let (reached, patch_count) =
            measure(&with_threshold(&patching, found.threshold), &documents);
        prop_assert_eq!((reached, patch_count), (found.bytes_per_patch, found.patch_count));

        let mut candidates = vec![-100.0_f32, 100.0];
        for document in &documents {
            candidates.extend(document);
            candidates.extend(document.windows(2).map(|pair| pair[1] - pair[0]));
        }
        for candidate in candidates {
            let (other, _) = measure(&with_threshold(&patching, candidate), &documents);
            prop_assert!((found.bytes_per_patch - wanted).abs() <= (other - wanted).abs(),
                "{found:?} is worse than {candidate}, which gives {other}");
        }
    }
}
