//! Properties and numbers of sampling.

use super::sampling::*;
use crate::text::{BOE_ID, BOS_ID, BPE_ID, EOS_ID};
use proptest::prelude::*;

const ID_COUNT: usize = 260;

/// A row in which only the given ids are likely.
fn row(likely: &[(usize, f32)]) -> Vec<f32> {
    let mut logits = vec![-60.0; ID_COUNT];
    for &(id, logit) in likely {
        logits[id] = logit;
    }
    logits
}

/// A row whose softmax is (about) the given probabilities.
fn log_row(likely: &[(usize, f32)]) -> Vec<f32> {
    row(&likely.iter().map(|&(id, probability)| (id, probability.ln())).collect::<Vec<_>>())
}

fn hot() -> SamplingOptions {
    SamplingOptions { temperature: 1.0, ..SamplingOptions::default() }
}

#[track_caller]
fn check(options: &SamplingOptions, logits: &[f32], expected: &[(usize, f64)]) {
    let probabilities = options.probabilities(logits, &[]).unwrap();
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    for &(id, probability) in expected {
        assert!((probabilities[id] - probability).abs() < 1e-6, "{id}: {}", probabilities[id]);
    }
}

/// What greedy options choose.
fn pick(options: &SamplingOptions, logits: &[f32], history: &[u32]) -> u32 {
    options.choose(logits, history, 0.5).unwrap()
}

#[test]
fn greedy_takes_the_likeliest_and_of_equals_the_lowest() {
    let greedy = SamplingOptions::default();
    assert_eq!(pick(&greedy, &row(&[(7, 1.0), (9, 2.0)]), &[]), 9);
    assert_eq!(pick(&greedy, &row(&[(70, 2.0), (9, 2.0), (200, 2.0)]), &[]), 9);
    assert_eq!(pick(&greedy, &vec![-3.5; ID_COUNT], &[]), EOS_ID);
    check(&greedy, &row(&[(7, 1.0), (9, 2.0)]), &[(7, 0.0), (9, 1.0)]);
}

#[test]
fn temperature_sharpens_and_flattens() {
    let logits = row(&[(10, 2.0), (20, 0.0)]);
    for temperature in [0.25_f32, 1.0, 4.0] {
        let share = 1.0 / (1.0 + (-2.0 / f64::from(temperature)).exp());
        let options = SamplingOptions { temperature, top_k: 2, ..hot() };
        check(&options, &logits, &[(10, share), (20, 1.0 - share)]);
    }
    // As cold as it gets: no overflow, the likeliest id is certain.
    let options = SamplingOptions { temperature: 1e-5, ..hot() };
    check(&options, &logits, &[(10, 1.0)]);
}

#[test]
fn top_k_keeps_ties() {
    let logits = log_row(&[(10, 0.4), (20, 0.2), (30, 0.2), (40, 0.2)]);
    check(&SamplingOptions { top_k: 1, ..hot() }, &logits, &[(10, 1.0)]);
    let two = SamplingOptions { top_k: 2, ..hot() };
    check(&two, &logits, &[(10, 0.4), (20, 0.2), (30, 0.2), (40, 0.2), (50, 0.0)]);
    // More than there are ids: nothing is dropped.
    let all = SamplingOptions { top_k: 1000, ..hot() };
    assert_eq!(
        all.probabilities(&logits, &[]).unwrap(),
        hot().probabilities(&logits, &[]).unwrap()
    );
}

#[test]
fn top_p_drops_what_starts_beyond_the_mass() {
    let logits = log_row(&[(10, 0.5), (20, 0.25), (30, 0.125), (40, 0.125)]);
    let nucleus = |top_p| SamplingOptions { top_p, ..hot() };
    check(&nucleus(0.45), &logits, &[(10, 1.0), (20, 0.0)]);
    // 0.5 before id 20 does not exceed 0.6, 0.75 before id 30 does.
    check(&nucleus(0.6), &logits, &[(10, 2.0 / 3.0), (20, 1.0 / 3.0), (30, 0.0)]);
    // Of the equal 30 and 40 the lower id comes first.
    check(&nucleus(0.8), &logits, &[(10, 4.0 / 7.0), (30, 1.0 / 7.0), (40, 0.0)]);
    check(&nucleus(1.0), &logits, &[(10, 0.5), (20, 0.25), (30, 0.125), (40, 0.125)]);
    check(&nucleus(1e-9), &logits, &[(10, 1.0)]);
}

#[test]
fn top_k_then_top_p_then_min_p() {
    let logits = log_row(&[(10, 0.5), (20, 0.3), (30, 0.2)]);
    // After top-k 2 the shares are 0.625 and 0.375, so a nucleus of 0.6 is id 10 alone.
    check(&SamplingOptions { top_k: 2, top_p: 0.6, ..hot() }, &logits, &[(10, 1.0)]);
    let least = SamplingOptions { min_p: 0.5, ..hot() };
    check(&least, &logits, &[(10, 0.625), (20, 0.375), (30, 0.0)]);
    check(&SamplingOptions { min_p: 1.0, ..hot() }, &logits, &[(10, 1.0)]);
}

#[test]
fn repetition_penalty_makes_seen_ids_less_likely_on_both_sides_of_zero() {
    let logits = row(&[(10, 2.0), (20, 1.5), (30, -1.0), (40, -1.5)]);
    let greedy = SamplingOptions { repetition_penalty: 2.0, ..SamplingOptions::default() };
    assert_eq!(pick(&greedy, &logits, &[]), 10);
    assert_eq!(pick(&greedy, &logits, &[10, 10]), 20);
    let negative = row(&[(30, -1.0), (40, -1.5)]);
    assert_eq!(pick(&greedy, &negative, &[30]), 40);
    let message = greedy.choose(&logits, &[260], 0.0).unwrap_err().to_string();
    assert!(message.contains("260"), "{message}");
}

#[test]
fn a_banned_id_that_is_none_is_refused() {
    for id in [260, 287, 288, u32::MAX] {
        let options = SamplingOptions { banned_ids: vec![2, id], ..SamplingOptions::default() };
        let error = Sampler::new(options, 0).unwrap_err().to_string();
        assert_eq!(error, format!("banned id: expected less than 260, got {id}"));
    }
}

#[test]
fn special_and_banned_ids_are_never_chosen() {
    let logits = row(&[(0, 9.0), (1, 8.0), (2, 1.0), (3, 7.0), (50, 3.0), (51, 2.0)]);
    assert_eq!(pick(&SamplingOptions::default(), &logits, &[]), 50);
    let banned = SamplingOptions { banned_ids: vec![50], ..SamplingOptions::default() };
    assert_eq!(pick(&banned, &logits, &[]), 51);
    assert_eq!(pick(&SamplingOptions { allow_special: true, ..banned }, &logits, &[]), 0);

    let flat = vec![0.0; ID_COUNT];
    let sampler = Sampler::new(hot(), 3).unwrap();
    for position in 0..5000 {
        let id = sampler.choose(&flat, &[], position).unwrap();
        assert!(![BOE_ID, BOS_ID, BPE_ID].contains(&id));
    }
    check(&hot(), &flat, &[(0, 0.0), (1, 0.0), (2, 1.0 / 257.0), (3, 0.0), (4, 1.0 / 257.0)]);
}

#[test]
fn draws_follow_the_probabilities() {
    let logits: Vec<f32> = (0..ID_COUNT).map(|id| ((id * 37) % 101) as f32 / 25.0).collect();
    let options = SamplingOptions { temperature: 0.8, top_k: 120, top_p: 0.95, ..hot() };
    let probabilities = options.probabilities(&logits, &[]).unwrap();
    let sampler = Sampler::new(options, 42).unwrap();
    let count = 20_000_u32;
    let mut counts = vec![0.0; ID_COUNT];
    for position in 0..count {
        let id = sampler.choose(&logits, &[], u64::from(position)).unwrap();
        counts[id as usize] += 1.0;
    }
    let (mut chi_square, mut kept_count) = (0.0, 0);
    for (got, probability) in counts.iter().zip(&probabilities) {
        if *probability == 0.0 {
            assert_eq!(*got, 0.0);
        } else {
            let expected = probability * f64::from(count);
            chi_square += (got - expected).powi(2) / expected;
            kept_count += 1;
        }
    }
    let freedom = f64::from(kept_count - 1);
    assert!(kept_count > 50 && kept_count < 120);
    // Five standard deviations of a chi-square.
    assert!((chi_square - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "{chi_square}");
}

#[test]
fn a_draw_is_a_function_of_seed_and_position() {
    let logits: Vec<f32> = (0..ID_COUNT).map(|id| (id as f32).sin()).collect();
    let ids = |seed| -> Vec<u32> {
        let sampler = Sampler::new(hot(), seed).unwrap();
        (0..40).map(|position| sampler.choose(&logits, &[], position).unwrap()).collect()
    };
    let first = ids(11);
    assert_eq!(first, ids(11));
    assert_ne!(first, ids(12));
    // Asked for alone, in any order, a position has the id it has in its text.
    let sampler = Sampler::new(hot(), 11).unwrap();
    for position in [39, 0, 17] {
        let alone = sampler.choose(&logits, &[], position as u64).unwrap();
        assert_eq!(alone, first[position]);
        assert_eq!(sampler.at(position as u64).choose(&logits, &[], 0).unwrap(), alone);
    }
    let saved = serde_json::to_string(&sampler).unwrap();
    assert_eq!(serde_json::from_str::<Sampler>(&saved).unwrap(), sampler);
}

#[test]
fn the_ends_of_the_unit_interval_give_possible_ids() {
    let logits = log_row(&[(10, 0.3), (30, 0.7)]);
    let options = SamplingOptions { top_k: 2, ..hot() };
    let choose = |uniform| options.choose(&logits, &[], uniform).unwrap();
    assert_eq!([0.0, 0.29, 0.31].map(choose), [10, 10, 30]);
    assert_eq!(choose(1.0 - f32::EPSILON / 2.0), 30);
}

#[test]
fn bad_input_is_named() {
    let message = |options: &SamplingOptions, logits: &[f32]| {
        options.choose(logits, &[], 0.5).unwrap_err().to_string()
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.1e30, f32::MIN] {
        let text = message(&hot(), &row(&[(77, value)]));
        assert!(text.contains("id 77") && text.contains("finite"), "{text}");
    }
    let none = SamplingOptions { banned_ids: (0..260).collect(), ..hot() };
    assert!(message(&none, &row(&[])).contains("every id is banned"));
    assert!(message(&none, &[0.0; 8]).contains("banned id"));
    assert!(message(&hot(), &[]).contains("every id is banned"));
    let penalty = |repetition_penalty| SamplingOptions { repetition_penalty, ..hot() };
    for (options, name) in [
        (SamplingOptions { temperature: -1.0, ..hot() }, "temperature"),
        (SamplingOptions { temperature: f32::NAN, ..hot() }, "temperature: expected 0, or 0.00001"),
        (SamplingOptions { temperature: 9e-6, ..hot() }, "temperature: expected 0, or 0.00001"),
        (SamplingOptions { temperature: 1.1e5, ..hot() }, "temperature: expected 0, or 0.00001"),
        (SamplingOptions { top_p: 1.1, ..hot() }, "top_p"),
        (SamplingOptions { min_p: -0.1, ..hot() }, "min_p"),
        (penalty(0.0), "repetition_penalty: expected 0.001"),
        (penalty(9e-4), "repetition_penalty: expected 0.001"),
        (penalty(1e38), "repetition_penalty: expected 0.001"),
    ] {
        let text = Sampler::new(options, 0).unwrap_err().to_string();
        assert!(text.starts_with(name), "{text}");
    }
}

/// Rows with many equal logits, and some far from the rest.
fn any_row() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        4 => (-12_i32..12).prop_map(|value| value as f32 / 4.0),
        2 => -20.0_f32..20.0,
        1 => -1e30_f32..1e30,
    ];
    proptest::collection::vec(logit, ID_COUNT)
}

prop_compose! {
    fn any_options()(
        temperature in prop_oneof![Just(1.0), 0.01_f32..5.0],
        top_k in prop_oneof![Just(0), 1_usize..300],
        top_p in prop_oneof![Just(0.0), 0.0_f32..=1.0],
        min_p in prop_oneof![Just(0.0), 0.0_f32..=1.0],
        repetition_penalty in prop_oneof![Just(1.0), 0.5_f32..3.0],
        allow_special: bool,
        banned_ids in proptest::collection::vec(0_u32..260, 0..40),
    ) -> SamplingOptions {
        SamplingOptions {
            temperature, top_k, top_p, min_p, repetition_penalty, allow_special, banned_ids,
        }
    }
}

fn history() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(0_u32..260, 0..60)
}

proptest! {
    #[test]
    fn probabilities_are_a_distribution_over_what_may_be_chosen(
        logits in any_row(), options in any_options(), history in history(),
    ) {
        let probabilities = options.probabilities(&logits, &history).unwrap();
        prop_assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(probabilities.iter().all(|it| (0.0..=1.0 + 1e-12).contains(it)));
        let special = [BOE_ID, BOS_ID, BPE_ID].into_iter().filter(|_| !options.allow_special);
        for id in options.banned_ids.iter().copied().chain(special) {
            prop_assert_eq!(probabilities[id as usize], 0.0);
        }
    }

    #[test]
    fn a_likelier_id_is_kept_where_a_less_likely_one_is(
        logits in any_row(), options in any_options(),
    ) {
        let special = [BOE_ID, BOS_ID, BPE_ID];
        let probabilities = options.probabilities(&logits, &[]).unwrap();
        let allowed = |id: usize| {
            let id = id as u32;
            !options.banned_ids.contains(&id) && (options.allow_special || !special.contains(&id))
        };
        let ids: Vec<usize> = (0..ID_COUNT).filter(|&id| allowed(id)).collect();
        for &a in &ids {
            for &b in &ids {
                if logits[a] > logits[b] {
                    prop_assert!(probabilities[a] >= probabilities[b]);
                }
            }
        }
    }

    #[test]
    fn each_filter_keeps_what_it_says(logits in any_row(), options in any_options()) {
        let plain = SamplingOptions { top_k: 0, top_p: 0.0, min_p: 0.0, ..options.clone() };
        let all = plain.probabilities(&logits, &[]).unwrap();
        let kept = |filtered: &SamplingOptions| -> Vec<bool> {
            let probabilities = filtered.probabilities(&logits, &[]).unwrap();
            probabilities.iter().map(|&it| it > 0.0).collect()
        };
        let larger = |than: f64| all.iter().filter(|&&it| it > than).count();
        if options.top_k > 0 {
            let kept = kept(&SamplingOptions { top_k: options.top_k, ..plain.clone() });
            for id in 0..ID_COUNT {
                let expected = all[id] > 0.0 && larger(all[id]) < options.top_k;
                prop_assert_eq!(kept[id], expected, "top-k {} of {}", options.top_k, id);
            }
        }
        if options.top_p > 0.0 {
            let kept = kept(&SamplingOptions { top_p: options.top_p, ..plain.clone() });
            let mass = f64::from(options.top_p);
            let sum_of = |wanted: &dyn Fn(f64) -> bool| -> f64 {
                all.iter().filter(|&&it| wanted(it)).sum()
            };
            for id in (0..ID_COUNT).filter(|&id| all[id] > 0.0) {
                // What is likelier reaches the mass, or not even with its equals.
                prop_assert!(!kept[id] || sum_of(&|it| it > all[id]) <= mass + 1e-12);
                prop_assert!(kept[id] || sum_of(&|it| it >= all[id]) > mass - 1e-12);
            }
        }
        if options.min_p > 0.0 {
            let kept = kept(&SamplingOptions { min_p: options.min_p, ..plain.clone() });
            let least = all.iter().copied().fold(0.0, f64::max) * f64::from(options.min_p);
            for id in 0..ID_COUNT {
                prop_assert_eq!(kept[id], all[id] > 0.0 && all[id] >= least);
            }
        }
    }

    #[test]
    fn a_draw_is_possible_and_grows_with_the_uniform_number(
        logits in any_row(), options in any_options(), history in history(),
        mut uniforms in proptest::collection::vec(0.0_f32..1.0, 2..9),
    ) {
        uniforms.sort_by(f32::total_cmp);
        let probabilities = options.probabilities(&logits, &history).unwrap();
        let mut last = 0;
        for uniform in uniforms {
            let id = options.choose(&logits, &history, uniform).unwrap();
            prop_assert!(probabilities[id as usize] > 0.0 && id >= last);
            // The ids below it end before the number, and with it they go beyond.
            let below: f64 = probabilities[..id as usize].iter().sum();
            prop_assert!(below <= f64::from(uniform) + 1e-9);
            let with = below + probabilities[id as usize];
            prop_assert!(f64::from(uniform) < with + 1e-9);
            last = id;
        }
    }

    #[test]
    fn greedy_is_what_every_temperature_likes_best(
        logits in any_row(), options in any_options(), history in history(),
        uniform in 0.0_f32..1.0,
    ) {
        let greedy = SamplingOptions { temperature: 0.0, ..options.clone() };
        let id = greedy.choose(&logits, &history, uniform).unwrap() as usize;
        let probabilities = options.probabilities(&logits, &history).unwrap();
        prop_assert!(probabilities.iter().all(|&it| it <= probabilities[id]));
    }
}
