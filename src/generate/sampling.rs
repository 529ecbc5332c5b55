//! From a row of logits to the next id: greedy, temperature, top-k, top-p, min-p, repetition
//! penalty, banned ids.
//!
//! A row is `logits[id]`, one f32 per id of the vocabulary (260), in nats up to a constant. The
//! steps, in this order: ban ids, penalise repeated ids, divide by the temperature, softmax, keep
//! the `top_k` likeliest, keep the nucleus `top_p` of what is left, drop what is under `min_p` of
//! the likeliest, renormalise, draw. With one of `top_k` and `top_p` set the result is that of the
//! reference implementation (spec §14.1); it ignores `top_k` when both are set, here both apply.
//!
//! Sums are f64 in order of id or of rank, so a seed gives the same ids again.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::random::Random;
use crate::text::{BOE_ID, BOS_ID, BPE_ID};

/// Ids that are never chosen unless asked for: no generated text contains them.
const NEVER_IN_TEXT: [u32; 3] = [BOE_ID, BOS_ID, BPE_ID];

/// How the next id is chosen. The default is greedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingOptions {
    /// Logits are divided by this; 0 is greedy: the likeliest id, of equal ones the lowest.
    pub temperature: f32,
    /// Keep this many of the likeliest ids, and all that tie with the last of them; 0 is off.
    pub top_k: usize,
    /// Keep the likeliest ids until those before an id sum to more than this; 0 is off.
    pub top_p: f32,
    /// Drop ids less likely than this part of the likeliest; 0 is off.
    pub min_p: f32,
    /// Positive logits of ids in the history are divided by this, negative ones multiplied; 1 is
    /// off (Keskar et al. 2019).
    pub repetition_penalty: f32,
    /// Let ids 0, 1 and 3 be chosen, as the reference implementation does.
    pub allow_special: bool,
    /// Ids that are never chosen.
    pub banned_ids: Vec<u32>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 0.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            allow_special: false,
            banned_ids: Vec::new(),
        }
    }
}

/// Options and a place in a random stream: what one generated text needs to choose its ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampler {
    options: SamplingOptions,
    random: Random,
}

impl Sampler {
    /// A sampler at the given place of a random stream.
    ///
    /// # Errors
    /// `Input` when an option is out of range.
    pub fn new(options: SamplingOptions, random: Random) -> Result<Self> {
        options.check()?;
        Ok(Self { options, random })
    }

    /// The next id after `history`; one random draw, none when greedy.
    ///
    /// `logits`: one per id. `history`: the ids that the repetition penalty is about (all of
    /// prompt and output, or the last few; empty without a penalty).
    ///
    /// # Errors
    /// `Input` when a logit is not finite, a banned or history id is outside the row, or every id
    /// is banned.
    pub fn next_id(&mut self, logits: &[f32], history: &[u32]) -> Result<u32> {
        if self.options.temperature == 0.0 {
            return Ok(likeliest(&self.options.adjusted(logits, history)?));
        }
        let probabilities = self.options.probabilities(logits, history)?;
        Ok(draw(&probabilities, self.random.next_f32()))
    }

    /// Where the random stream stands; a sampler made of it goes on with the same draws.
    pub fn random(&self) -> Random {
        self.random
    }

    /// The options the sampler was made with.
    pub fn options(&self) -> &SamplingOptions {
        &self.options
    }
}

impl SamplingOptions {
    /// The probability of each id being chosen next, `[ids]`, summing to 1; greedy is one 1.
    ///
    /// # Errors
    /// As [`Sampler::next_id`].
    pub fn probabilities(&self, logits: &[f32], history: &[u32]) -> Result<Vec<f64>> {
        let adjusted = self.adjusted(logits, history)?;
        if self.temperature == 0.0 {
            let mut certain = vec![0.0; logits.len()];
            certain[likeliest(&adjusted) as usize] = 1.0;
            return Ok(certain);
        }
        let mut probabilities = softmax(&adjusted, f64::from(self.temperature));
        if self.top_k > 0 {
            keep_top_k(&mut probabilities, self.top_k);
        }
        if self.top_p > 0.0 {
            keep_nucleus(&mut probabilities, f64::from(self.top_p));
        }
        if self.min_p > 0.0 {
            keep_min_p(&mut probabilities, f64::from(self.min_p));
        }
        Ok(probabilities)
    }

    /// Refuses options that mean nothing.
    ///
    /// # Errors
    /// `Input` naming the option, its range and what it was.
    pub fn check(&self) -> Result<()> {
        let positive = f32::MIN_POSITIVE..=f32::MAX;
        for (name, value, range, expected) in [
            ("temperature", self.temperature, 0.0..=f32::MAX, "0 or more"),
            ("top_p", self.top_p, 0.0..=1.0, "0 to 1"),
            ("min_p", self.min_p, 0.0..=1.0, "0 to 1"),
            ("repetition_penalty", self.repetition_penalty, positive, "more than 0"),
        ] {
            if !range.contains(&value) {
                return Err(Error::input(name, format!("expected {expected}, got {value}")));
            }
        }
        Ok(())
    }

    /// Logits after bans (minus infinity) and repetition penalty.
    fn adjusted(&self, logits: &[f32], history: &[u32]) -> Result<Vec<f64>> {
        if let Some(id) = logits.iter().position(|logit| !logit.is_finite()) {
            let problem = format!("expected finite values, got {} for id {id}", logits[id]);
            return Err(Error::input("logits", problem));
        }
        let mut adjusted: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        self.penalise(&mut adjusted, history)?;
        for &id in &self.banned_ids {
            adjusted[index("banned id", id, logits.len())?] = f64::NEG_INFINITY;
        }
        if !self.allow_special {
            for id in NEVER_IN_TEXT {
                if let Some(logit) = adjusted.get_mut(id as usize) {
                    *logit = f64::NEG_INFINITY;
                }
            }
        }
        if adjusted.iter().all(|logit| !logit.is_finite()) {
            return Err(Error::input("logits", "every id is banned, expected at least one choice"));
        }
        Ok(adjusted)
    }

    fn penalise(&self, logits: &mut [f64], history: &[u32]) -> Result<()> {
        if self.repetition_penalty == 1.0 {
            return Ok(());
        }
        let penalty = f64::from(self.repetition_penalty);
        let mut seen = vec![false; logits.len()];
        for &id in history {
            seen[index("history id", id, logits.len())?] = true;
        }
        for (logit, _) in logits.iter_mut().zip(seen).filter(|(_, seen)| *seen) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
        Ok(())
    }
}

fn index(subject: &str, id: u32, id_count: usize) -> Result<usize> {
    let position = id as usize;
    if position < id_count {
        return Ok(position);
    }
    Err(Error::input(subject, format!("expected less than {id_count}, got {id}")))
}

/// The id with the largest logit, the lowest of equal ones.
fn likeliest(logits: &[f64]) -> u32 {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> =
        logits.iter().map(|logit| ((logit - largest) / temperature).exp()).collect();
    normalise(&mut weights);
    weights
}

fn keep_top_k(probabilities: &mut [f64], count: usize) {
    let mut sorted = probabilities.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    if let Some(&least) = sorted.get(count - 1) {
        keep(probabilities, |probability| probability >= least);
    }
}

/// Drops an id when the likelier ones (of equal ones, the lower ids) sum to more than `mass`.
fn keep_nucleus(probabilities: &mut [f64], mass: f64) {
    let mut ids: Vec<usize> = (0..probabilities.len()).collect();
    ids.sort_unstable_by(|&a, &b| match probabilities[b].total_cmp(&probabilities[a]) {
        Ordering::Equal => a.cmp(&b),
        order => order,
    });
    let mut before = 0.0;
    for id in ids {
        let probability = probabilities[id];
        if before > mass {
            probabilities[id] = 0.0;
        }
        before += probability;
    }
    normalise(probabilities);
}

fn keep_min_p(probabilities: &mut [f64], part: f64) {
    let largest = probabilities.iter().copied().fold(0.0, f64::max);
    keep(probabilities, |probability| probability >= part * largest);
}

fn keep(probabilities: &mut [f64], wanted: impl Fn(f64) -> bool) {
    for probability in probabilities.iter_mut().filter(|probability| !wanted(**probability)) {
        *probability = 0.0;
    }
    normalise(probabilities);
}

fn normalise(weights: &mut [f64]) {
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
}

/// The id whose share of `[0, 1)` holds `uniform`.
fn draw(probabilities: &[f64], uniform: f32) -> u32 {
    let mut below = 0.0;
    let mut last = 0;
    for (id, &probability) in probabilities.iter().enumerate() {
        if probability > 0.0 {
            below += probability;
            last = id;
            if f64::from(uniform) < below {
                break;
            }
        }
    }
    // Where rounding left the sum under `uniform`, the last possible id has the rest.
    last as u32
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn greedy_takes_the_likeliest_and_of_equals_the_lowest() {
        let mut sampler = Sampler::new(SamplingOptions::default(), Random::new(0, 0)).unwrap();
        assert_eq!(sampler.next_id(&row(&[(7, 1.0), (9, 2.0)]), &[]).unwrap(), 9);
        assert_eq!(sampler.next_id(&row(&[(70, 2.0), (9, 2.0), (200, 2.0)]), &[]).unwrap(), 9);
        assert_eq!(sampler.next_id(&vec![-3.5; ID_COUNT], &[]).unwrap(), 2);
        assert_eq!(sampler.random().counter, 0, "greedy draws nothing");
        check(sampler.options(), &row(&[(7, 1.0), (9, 2.0)]), &[(7, 0.0), (9, 1.0)]);
    }

    #[test]
    fn temperature_sharpens_and_flattens() {
        let logits = row(&[(10, 2.0), (20, 0.0)]);
        for temperature in [0.25_f32, 1.0, 4.0] {
            let share = 1.0 / (1.0 + (-2.0 / f64::from(temperature)).exp());
            let options = SamplingOptions { temperature, top_k: 2, ..hot() };
            check(&options, &logits, &[(10, share), (20, 1.0 - share)]);
        }
        // As cold as f32 goes: no overflow, the likeliest id is certain.
        let options = SamplingOptions { temperature: f32::MIN_POSITIVE, ..hot() };
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
        let mut sampler = Sampler::new(greedy, Random::new(0, 0)).unwrap();
        assert_eq!(sampler.next_id(&logits, &[]).unwrap(), 10);
        assert_eq!(sampler.next_id(&logits, &[10, 10]).unwrap(), 20);
        let negative = row(&[(30, -1.0), (40, -1.5)]);
        assert_eq!(sampler.next_id(&negative, &[30]).unwrap(), 40);
        assert!(sampler.next_id(&logits, &[260]).unwrap_err().to_string().contains("260"));
    }

    #[test]
    fn special_and_banned_ids_are_never_chosen() {
        let logits = row(&[(0, 9.0), (1, 8.0), (2, 1.0), (3, 7.0), (50, 3.0), (51, 2.0)]);
        let pick = |options: SamplingOptions| {
            Sampler::new(options, Random::new(0, 0)).unwrap().next_id(&logits, &[]).unwrap()
        };
        assert_eq!(pick(SamplingOptions::default()), 50);
        let banned = SamplingOptions { banned_ids: vec![50], ..SamplingOptions::default() };
        assert_eq!(pick(banned.clone()), 51);
        assert_eq!(pick(SamplingOptions { allow_special: true, ..banned }), 0);

        let flat = vec![0.0; ID_COUNT];
        let mut sampler = Sampler::new(hot(), Random::new(3, 0)).unwrap();
        for _ in 0..5000 {
            assert!(!NEVER_IN_TEXT.contains(&sampler.next_id(&flat, &[]).unwrap()));
        }
        check(&hot(), &flat, &[(0, 0.0), (1, 0.0), (2, 1.0 / 257.0), (3, 0.0), (4, 1.0 / 257.0)]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits: Vec<f32> = (0..ID_COUNT).map(|id| ((id * 37) % 101) as f32 / 25.0).collect();
        let options = SamplingOptions { temperature: 0.8, top_k: 120, top_p: 0.95, ..hot() };
        let probabilities = options.probabilities(&logits, &[]).unwrap();
        let mut sampler = Sampler::new(options, Random::new(42, 6)).unwrap();
        let count = 20_000;
        let mut counts = vec![0.0; ID_COUNT];
        for _ in 0..count {
            counts[sampler.next_id(&logits, &[]).unwrap() as usize] += 1.0;
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
    fn a_seed_gives_the_same_ids_again_and_can_be_resumed() {
        let logits: Vec<f32> = (0..ID_COUNT).map(|id| (id as f32).sin()).collect();
        let mut first = Sampler::new(hot(), Random::new(11, 2)).unwrap();
        let mut second = first.clone();
        let ids: Vec<u32> = (0..40).map(|_| first.next_id(&logits, &[]).unwrap()).collect();
        let again: Vec<u32> = (0..20).map(|_| second.next_id(&logits, &[]).unwrap()).collect();
        let mut resumed = Sampler::new(hot(), second.random()).unwrap();
        let rest: Vec<u32> = (0..20).map(|_| resumed.next_id(&logits, &[]).unwrap()).collect();
        assert_eq!(ids, [again, rest].concat());
        let mut other = Sampler::new(hot(), Random::new(12, 2)).unwrap();
        let differs = (0..40).map(|_| other.next_id(&logits, &[]).unwrap()).collect::<Vec<_>>();
        assert_ne!(ids, differs);
    }

    #[test]
    fn the_ends_of_the_unit_interval_give_possible_ids() {
        let probabilities = [0.0, 0.3, 0.0, 0.7 - 1e-9, 0.0];
        assert_eq!(draw(&probabilities, 0.0), 1);
        assert_eq!(draw(&probabilities, 0.3 + 1e-7), 3);
        assert_eq!(draw(&probabilities, 1.0 - f32::EPSILON / 2.0), 3);
    }

    #[test]
    fn bad_input_is_named() {
        let mut sampler = Sampler::new(hot(), Random::new(0, 0)).unwrap();
        let message = |result: Result<u32>| result.unwrap_err().to_string();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let text = message(sampler.next_id(&row(&[(77, value)]), &[]));
            assert!(text.contains("id 77") && text.contains("finite"), "{text}");
        }
        let all = SamplingOptions { banned_ids: (0..260).collect(), ..hot() };
        let mut none = Sampler::new(all, Random::new(0, 0)).unwrap();
        assert!(message(none.next_id(&row(&[]), &[])).contains("every id is banned"));
        assert!(message(none.next_id(&[0.0; 8], &[])).contains("banned id"));
        assert!(message(sampler.next_id(&[], &[])).contains("every id is banned"));
        for (options, name) in [
            (SamplingOptions { temperature: -1.0, ..hot() }, "temperature"),
            (SamplingOptions { temperature: f32::NAN, ..hot() }, "temperature"),
            (SamplingOptions { top_p: 1.1, ..hot() }, "top_p"),
            (SamplingOptions { min_p: -0.1, ..hot() }, "min_p"),
            (SamplingOptions { repetition_penalty: 0.0, ..hot() }, "repetition_penalty"),
        ] {
            let text = Sampler::new(options, Random::new(0, 0)).unwrap_err().to_string();
            assert!(text.starts_with(name), "{text}");
        }
    }
}
