//! From a row of logits to the next id: greedy, temperature, top-k, top-p, min-p, repetition
//! penalty, banned ids.
//!
//! A row is `logits[id]`, one f32 per id of the vocabulary (260), in nats up to a constant. What is
//! done to it, in this order:
//!
//! 1. `repetition_penalty`: positive logits of ids that the text has are divided, negative ones
//!    multiplied.
//! 2. `banned_ids`, and ids 0, 1 and 3 unless `allow_special`, get minus infinity.
//! 3. `temperature` 0: the largest logit, of equal ones the lowest id. That is all.
//! 4. Else logits are divided by `temperature`, and softmax makes probabilities of them.
//! 5. `top_k` keeps the likeliest ids and what ties with the last of them.
//! 6. `top_p` keeps the nucleus of what is left.
//! 7. `min_p` keeps what has at least that part of the likeliest one's probability.
//! 8. The id whose share of the unit interval, in order of ids, holds a uniform number.
//!
//! After 5, 6 and 7 probabilities are made to sum to 1 again. With one of `top_k` and `top_p` set
//! the result is that of the reference implementation (spec §14.1); it ignores `top_k` when both
//! are set, here both apply.
//!
//! Sums are f64 in order of id or of rank, and the uniform number is a function of the seed and of
//! the position of the id in its text. So nothing else decides which id is drawn: not what was
//! drawn before, not which other texts are generated beside it.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::random::f32_at;
use crate::text::{BOE_ID, BOS_ID, BPE_ID};

/// What the draws of generation are for, in the streams of a seed.
pub const SAMPLING_STREAM: u64 = 0x67656e;

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

/// Options and a seed: what it takes to choose the ids of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampler {
    options: SamplingOptions,
    seed: u64,
    origin: u64,
}

impl Sampler {
    /// A sampler whose draws are those of [`SAMPLING_STREAM`] of this seed.
    ///
    /// # Errors
    /// `Input` when an option is out of range.
    pub fn new(options: SamplingOptions, seed: u64) -> Result<Self> {
        options.check()?;
        Ok(Self { options, seed, origin: 0 })
    }

    /// The same for a text that is the end of a longer one: its first id has position `origin`.
    #[must_use]
    pub fn at(&self, origin: u64) -> Self {
        Self { origin, ..self.clone() }
    }

    /// The id at `position` of a text, the first id of which has position 0.
    ///
    /// `logits`: one per id. `history`: the ids that the repetition penalty is about (all of the
    /// text before `position`, or the last few; empty without a penalty).
    ///
    /// # Errors
    /// `Input` when a logit is not finite, a banned or history id is outside the row, or every id
    /// is banned.
    pub fn choose(&self, logits: &[f32], history: &[u32], position: u64) -> Result<u32> {
        let uniform = f32_at(self.seed, SAMPLING_STREAM, self.origin.wrapping_add(position));
        self.options.choose(logits, history, uniform)
    }

    /// The options the sampler was made with.
    pub fn options(&self) -> &SamplingOptions {
        &self.options
    }

    /// The seed of the draws.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl SamplingOptions {
    /// The next id: the one whose share of `[0, 1)` holds `uniform`; greedy looks at logits only.
    ///
    /// # Errors
    /// As [`Sampler::choose`].
    pub fn choose(&self, logits: &[f32], history: &[u32], uniform: f32) -> Result<u32> {
        if self.temperature == 0.0 {
            return Ok(likeliest(&self.adjusted(logits, history)?));
        }
        Ok(draw(&self.probabilities(logits, history)?, uniform))
    }

    /// The probability of each id being chosen next, `[ids]`, summing to 1; greedy is one 1.
    ///
    /// # Errors
    /// As [`Sampler::choose`].
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

    /// The ids that are never chosen.
    pub(super) fn banned(&self) -> impl Iterator<Item = u32> {
        let special = if self.allow_special { &[][..] } else { &NEVER_IN_TEXT };
        self.banned_ids.iter().chain(special).copied()
    }

    /// Logits after repetition penalty and bans (minus infinity).
    fn adjusted(&self, logits: &[f32], history: &[u32]) -> Result<Vec<f64>> {
        if let Some(id) = logits.iter().position(|logit| !logit.is_finite()) {
            let problem = format!("expected finite values, got {} for id {id}", logits[id]);
            return Err(Error::input("logits", problem));
        }
        let mut adjusted: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        self.penalise(&mut adjusted, history)?;
        // Of a row without ids there is nothing to ban.
        for id in self.banned().filter(|_| !logits.is_empty()) {
            adjusted[index("banned id", id, logits.len())?] = f64::NEG_INFINITY;
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
