//! The id that follows each row of logits: the likeliest, or one that is drawn (spec §14.1).
//!
//! What is done to a row, in this order; sums are f64 in order of id or of rank:
//!
//! 1. Positive logits of ids that were seen are divided by `repetition_penalty`, negative ones
//!    multiplied.
//! 2. Banned ids get minus infinity.
//! 3. `temperature` 0: the largest logit, of equal ones the lowest id. That is all.
//! 4. Else logits are divided by `temperature`, and softmax makes probabilities of them.
//! 5. `top_k` keeps the likeliest ids and what ties with the last of them.
//! 6. `top_p` keeps the nucleus of what is left.
//! 7. `min_p` keeps what has at least that part of the likeliest one's probability.
//! 8. The id whose share of the unit interval, in order of ids, holds `uniform`.
//!
//! After 5, 6 and 7 probabilities are made to sum to 1 again.

use crate::oracle::Real;
use std::cmp::Ordering;
use std::ops::RangeInclusive;

/// An id was chosen.
pub const CHOSEN: u32 = 0;
/// A logit is not finite, or beyond [`LARGEST_LOGIT`].
pub const NOT_FINITE: u32 = 1;
/// No id may be chosen.
pub const ALL_BANNED: u32 = 2;

/// Logits are at most this either way: then f32 holds them after any penalty of [`PENALTIES`], and
/// their distances divided by any temperature of [`TEMPERATURES`].
pub const LARGEST_LOGIT: f32 = 1e30;
/// Repetition penalties.
pub const PENALTIES: RangeInclusive<f32> = 1e-3..=1e3;
/// Temperatures besides 0.
pub const TEMPERATURES: RangeInclusive<f32> = 1e-5..=1e5;

/// Words of a row of `choice` in front of its bits.
pub const RULE_WORDS: usize = 8;

/// How the id behind a row is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChoiceRule {
    /// Logits are divided by this; 0 is greedy.
    pub temperature: f32,
    /// Positive logits of ids that were seen are divided by this, negative ones multiplied.
    pub repetition_penalty: f32,
    /// Keep this many of the likeliest ids, and all that tie with the last of them; 0 is off.
    pub top_k: u32,
    /// Keep the likeliest ids until those before an id sum to more than this; 0 is off.
    pub top_p: f32,
    /// Drop ids less likely than this part of the likeliest; 0 is off.
    pub min_p: f32,
    /// In `[0, 1)`: what is drawn.
    pub uniform: f32,
}

impl ChoiceRule {
    /// The likeliest id.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        repetition_penalty: 1.0,
        top_k: 0,
        top_p: 0.0,
        min_p: 0.0,
        uniform: 0.0,
    };

    /// The words in front of the bits of a row, with an id that is taken whatever the logits say,
    /// or a number beyond all ids.
    pub fn words(&self, forced: u32) -> [u32; RULE_WORDS] {
        let Self { temperature, repetition_penalty, top_k, top_p, min_p, uniform } = *self;
        let bits = [temperature, repetition_penalty, top_p, min_p, uniform].map(f32::to_bits);
        [forced, top_k, bits[0], bits[1], bits[2], bits[3], bits[4], 0]
    }

    /// The rule of such words.
    pub fn of_words(words: &[u32]) -> Self {
        let number = |index: usize| f32::from_bits(words[index]);
        Self {
            temperature: number(2),
            repetition_penalty: number(3),
            top_k: words[1],
            top_p: number(4),
            min_p: number(5),
            uniform: number(6),
        }
    }

    /// The id of a row that is [`adjusted`]; none where all are banned.
    pub fn id(&self, adjusted: &[f64]) -> Option<u32> {
        let likeliest = likeliest(adjusted)?;
        match self.temperature == 0.0 {
            true => Some(likeliest),
            false => Some(draw(&self.probabilities(adjusted), self.uniform)),
        }
    }

    /// The probability of each id of a row that is [`adjusted`] and has one that is not banned,
    /// summing to 1; greedy is one 1.
    pub fn probabilities(&self, adjusted: &[f64]) -> Vec<f64> {
        if self.temperature == 0.0 {
            let mut certain = vec![0.0; adjusted.len()];
            likeliest(adjusted).into_iter().for_each(|id| certain[id as usize] = 1.0);
            return certain;
        }
        let mut probabilities = softmax(adjusted, f64::from(self.temperature));
        if self.top_k > 0 {
            keep_top_k(&mut probabilities, self.top_k as usize);
        }
        if self.top_p > 0.0 {
            keep_nucleus(&mut probabilities, f64::from(self.top_p));
        }
        if self.min_p > 0.0 {
            keep_min_p(&mut probabilities, f64::from(self.min_p));
        }
        probabilities
    }
}

/// `ids[row]` of logits [rows, classes]; 0 where `status[row]` is not [`CHOSEN`]. A row of `choice`
/// [rows, 8 + 2 x ceil(classes / 32)] is [`ChoiceRule::words`], then a bit an id that is banned,
/// then a bit an id that was seen.
pub fn choose<R: Real>(
    logits: &[R],
    choice: &[u32],
    ids: &mut [u32],
    status: &mut [u32],
    rows: usize,
    classes: usize,
) {
    let words = classes.div_ceil(32);
    let width = RULE_WORDS + 2 * words;
    for row in 0..rows {
        let logits = &logits[row * classes..][..classes];
        let (rule, bits) = choice[row * width..][..width].split_at(RULE_WORDS);
        let (banned, seen) = bits.split_at(words);
        (ids[row], status[row]) = if (rule[0] as usize) < classes {
            (rule[0], CHOSEN)
        } else {
            let logits: Vec<f64> = logits.iter().map(|&logit| Real::to_f64(logit)).collect();
            if !logits.iter().all(|&logit| is_usable(logit)) {
                (ids[row], status[row]) = (0, NOT_FINITE);
                continue;
            }
            let rule = ChoiceRule::of_words(rule);
            let is_set = |bits: &[u32], id: usize| bits[id / 32] >> (id % 32) & 1 == 1;
            let (is_banned, is_seen) = (|id| is_set(banned, id), |id| is_set(seen, id));
            let adjusted = adjusted(&logits, rule.repetition_penalty, is_banned, is_seen);
            rule.id(&adjusted).map_or((0, ALL_BANNED), |id| (id, CHOSEN))
        };
    }
}

/// Whether an id can be chosen by a logit.
pub fn is_usable(logit: f64) -> bool {
    logit.abs() <= f64::from(LARGEST_LOGIT)
}

/// Logits after repetition penalty and bans (minus infinity).
pub fn adjusted(
    logits: &[f64],
    repetition_penalty: f32,
    is_banned: impl Fn(usize) -> bool,
    is_seen: impl Fn(usize) -> bool,
) -> Vec<f64> {
    let penalty = f64::from(repetition_penalty);
    let mut adjusted = logits.to_vec();
    for id in 0..logits.len() {
        if is_seen(id) {
            adjusted[id] =
                if logits[id] > 0.0 { logits[id] / penalty } else { logits[id] * penalty };
        }
        if is_banned(id) {
            adjusted[id] = f64::NEG_INFINITY;
        }
    }
    adjusted
}

/// The id with the largest logit, the lowest of equal ones; none where all are banned.
fn likeliest(adjusted: &[f64]) -> Option<u32> {
    let mut best: Option<usize> = None;
    for (id, &logit) in adjusted.iter().enumerate() {
        if logit.is_finite() && best.is_none_or(|best| logit > adjusted[best]) {
            best = Some(id);
        }
    }
    best.map(|best| best as u32)
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

    /// Ids and status of rows of three logits with these rules, forced ids, bans and seen ids.
    fn chosen(logits: &[f64], rules: &[(ChoiceRule, u32, u32, u32)]) -> (Vec<u32>, Vec<u32>) {
        let rows = rules.len();
        let (mut ids, mut status) = (vec![7; rows], vec![7; rows]);
        let row = |&(rule, forced, banned, seen): &(ChoiceRule, u32, u32, u32)| {
            [&rule.words(forced)[..], &[banned, seen]].concat()
        };
        let choice: Vec<u32> = rules.iter().flat_map(row).collect();
        choose(logits, &choice, &mut ids, &mut status, rows, 3);
        (ids, status)
    }

    #[test]
    fn the_lowest_of_equal_ids_that_may_be_chosen() {
        let row = [1.0, 5.0, 5.0];
        let nan = [1.0, f64::NAN, 5.0];
        let logits = [row, row, row, row, nan].concat();
        let greedy = |banned: u32, forced: u32| (ChoiceRule::GREEDY, forced, banned, 0);
        let rules =
            [greedy(0, 9), greedy(0b010, 9), greedy(0b111, 9), greedy(0b111, 2), greedy(0, 9)];
        let (ids, status) = chosen(&logits, &rules);
        assert_eq!(ids, [1, 2, 0, 2, 0]);
        assert_eq!(status, [CHOSEN, CHOSEN, ALL_BANNED, CHOSEN, NOT_FINITE]);
    }

    /// Shares of 1/6, 2/6 and 3/6, worked out by hand for each rule.
    #[test]
    fn ids_are_drawn_by_their_shares() {
        let row = [1_f64.ln(), 2_f64.ln(), 3_f64.ln()];
        let hot = ChoiceRule { temperature: 1.0, ..ChoiceRule::GREEDY };
        let of = |uniform: f32, rule: ChoiceRule, banned: u32, seen: u32| {
            (ChoiceRule { uniform, ..rule }, 9, banned, seen)
        };
        let rules = [
            (of(0.1, hot, 0, 0), 0),
            (of(0.2, hot, 0, 0), 1),
            (of(0.6, hot, 0, 0), 2),
            // 1/4 and 3/4 are left.
            (of(0.2, hot, 0b010, 0), 0),
            (of(0.3, hot, 0b010, 0), 2),
            // 2/5 and 3/5 are left.
            (of(0.39, ChoiceRule { top_k: 2, ..hot }, 0, 0), 1),
            (of(0.41, ChoiceRule { top_k: 2, ..hot }, 0, 0), 2),
            (of(0.39, ChoiceRule { top_p: 0.6, ..hot }, 0, 0), 1),
            (of(0.01, ChoiceRule { top_p: 0.4, ..hot }, 0, 0), 2),
            (of(0.39, ChoiceRule { min_p: 0.5, ..hot }, 0, 0), 1),
            // Half the logit of id 2: the shares are 1, 2 and 1.73.
            (of(0.62, ChoiceRule { repetition_penalty: 2.0, ..hot }, 0, 0b100), 1),
            (of(0.65, ChoiceRule { repetition_penalty: 2.0, ..hot }, 0, 0b100), 2),
            // Squares: 1/14, 4/14 and 9/14.
            (of(0.34, ChoiceRule { temperature: 0.5, ..hot }, 0, 0), 1),
            (of(0.37, ChoiceRule { temperature: 0.5, ..hot }, 0, 0), 2),
        ];
        let logits: Vec<f64> = rules.iter().flat_map(|_| row).collect();
        let (ids, status) = chosen(&logits, &rules.map(|(rule, _)| rule));
        assert_eq!(ids, rules.map(|(_, id)| id));
        assert!(status.iter().all(|&status| status == CHOSEN));
    }
}
