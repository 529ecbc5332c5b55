//! From a row of logits to the next id: greedy, temperature, top-k, top-p, min-p, repetition
//! penalty, banned ids.
//!
//! A row is `logits[id]`, one f32 per id of the vocabulary (260), in nats up to a constant. Ids 0,
//! 1 and 3 are banned unless `allow_special`. What is done to a row, and in which order, is what
//! [`choose`](crate::kernels::decode::choose) does: the kernel by which devices choose, of which
//! this is the oracle. On the CPU engine ids are the same to the last one; in the f32 of a GPU a
//! drawn id may be another one where rounding decides, as is said there.
//!
//! With one of `top_k` and `top_p` set the result is that of the reference implementation (spec
//! §14.1); it ignores `top_k` when both are set, here both apply.
//!
//! The uniform number of a draw is a function of the seed and of the position of the id in its
//! text. So nothing else decides which id is drawn: not what was drawn before, not which other
//! texts are generated beside it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::kernels::decode::choose::{
    ChoiceRule, PENALTIES, TEMPERATURES, adjusted, choice_words, is_usable,
};
use crate::random::f32_at;
use crate::text::{BOE_ID, BOS_ID, BPE_ID, VOCABULARY_SIZE};

/// What the draws of generation are for, in the streams of a seed.
pub const SAMPLING_STREAM: u64 = 0x67656e;

/// Ids that are never chosen unless asked for: no generated text contains them.
const NEVER_IN_TEXT: [u32; 3] = [BOE_ID, BOS_ID, BPE_ID];

/// Words of bits for all ids.
pub(super) const BIT_WORDS: usize = (VOCABULARY_SIZE as usize).div_ceil(32);

/// What a device chooses an id by: a row of `choice`.
pub(super) type ChoiceRow = [u32; choice_words(VOCABULARY_SIZE as usize)];

/// What logits have to be.
pub(super) const EXPECTED_LOGITS: &str = "expected finite values of at most 1e30";

/// No id: what is chosen is not forced.
pub(super) const NOTHING_FORCED: u32 = u32::MAX;

/// How the next id is chosen. The default is greedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingOptions {
    /// Logits are divided by this, 0.00001 to 100000; 0 is greedy: the likeliest id, of equal ones
    /// the lowest.
    pub temperature: f32,
    /// Keep this many of the likeliest ids, and all that tie with the last of them; 0 is off.
    pub top_k: usize,
    /// Keep the likeliest ids until those before an id sum to more than this; 0 is off.
    pub top_p: f32,
    /// Drop ids less likely than this part of the likeliest; 0 is off.
    pub min_p: f32,
    /// Positive logits of ids in the history are divided by this, 0.001 to 1000, negative ones
    /// multiplied; 1 is off (Keskar et al. 2019).
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
        self.options.choose(logits, history, self.uniform(position))
    }

    /// What a device needs to choose the same. `seen`: the history, a bit an id.
    ///
    /// # Errors
    /// `Input` when a banned id is no id, which [`SamplingOptions::check`] refuses.
    pub(super) fn row(&self, seen: &[u32; BIT_WORDS], position: u64) -> Result<ChoiceRow> {
        let mut banned = [0; BIT_WORDS];
        for id in self.options.banned() {
            index("banned id", id, VOCABULARY_SIZE as usize)?;
            set_bit(&mut banned, id);
        }
        let rule = self.options.rule(self.uniform(position));
        Ok(row_of(&rule, NOTHING_FORCED, &banned, seen))
    }

    /// What is drawn at a position.
    pub(super) fn uniform(&self, position: u64) -> f32 {
        f32_at(self.seed, SAMPLING_STREAM, self.origin.wrapping_add(position))
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
        let adjusted = self.adjusted(logits, history)?;
        Ok(self.rule(uniform).id(&adjusted).expect("not every id is banned"))
    }

    /// The probability of each id being chosen next, `[ids]`, summing to 1; greedy is one 1.
    ///
    /// # Errors
    /// As [`Sampler::choose`].
    pub fn probabilities(&self, logits: &[f32], history: &[u32]) -> Result<Vec<f64>> {
        Ok(self.rule(0.0).probabilities(&self.adjusted(logits, history)?))
    }

    /// Refuses options that mean nothing.
    ///
    /// # Errors
    /// `Input` naming the option, its range and what it was.
    pub fn check(&self) -> Result<()> {
        let temperature = if self.temperature == 0.0 { 0.0..=0.0 } else { TEMPERATURES };
        for (name, value, range, expected) in [
            ("temperature", self.temperature, temperature, "0, or 0.00001 to 100000"),
            ("top_p", self.top_p, 0.0..=1.0, "0 to 1"),
            ("min_p", self.min_p, 0.0..=1.0, "0 to 1"),
            ("repetition_penalty", self.repetition_penalty, PENALTIES, "0.001 to 1000"),
        ] {
            if !range.contains(&value) {
                return Err(Error::input(name, format!("expected {expected}, got {value}")));
            }
        }
        for &id in &self.banned_ids {
            index("banned id", id, VOCABULARY_SIZE as usize)?;
        }
        Ok(())
    }

    /// The ids that are never chosen.
    pub(super) fn banned(&self) -> impl Iterator<Item = u32> {
        let special = if self.allow_special { &[][..] } else { &NEVER_IN_TEXT };
        self.banned_ids.iter().chain(special).copied()
    }

    fn rule(&self, uniform: f32) -> ChoiceRule {
        let Self { temperature, repetition_penalty, top_p, min_p, .. } = *self;
        let top_k = u32::try_from(self.top_k).unwrap_or(u32::MAX);
        ChoiceRule { temperature, repetition_penalty, top_k, top_p, min_p, uniform }
    }

    /// Logits after repetition penalty and bans (minus infinity).
    fn adjusted(&self, logits: &[f32], history: &[u32]) -> Result<Vec<f64>> {
        if let Some(id) = logits.iter().position(|&logit| !is_usable(logit.into())) {
            let problem = format!("{EXPECTED_LOGITS}, got {} for id {id}", logits[id]);
            return Err(Error::input("logits", problem));
        }
        let (mut banned, mut seen) = (vec![false; logits.len()], vec![false; logits.len()]);
        if self.repetition_penalty != 1.0 {
            for &id in history {
                seen[index("history id", id, logits.len())?] = true;
            }
        }
        // Of a row without ids there is nothing to ban.
        for id in self.banned().filter(|_| !logits.is_empty()) {
            banned[index("banned id", id, logits.len())?] = true;
        }
        if banned.iter().all(|&banned| banned) {
            return Err(Error::input("logits", "every id is banned, expected at least one choice"));
        }
        let logits: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        Ok(adjusted(&logits, self.repetition_penalty, |id| banned[id], |id| seen[id]))
    }
}

/// What a device takes an id by, whatever the logits say.
pub(super) fn forced_row(id: u32) -> ChoiceRow {
    row_of(&ChoiceRule::GREEDY, id, &[0; BIT_WORDS], &[0; BIT_WORDS])
}

/// Sets the bit of an id of the vocabulary.
pub(super) fn set_bit(bits: &mut [u32; BIT_WORDS], id: u32) {
    bits[id as usize / 32] |= 1 << (id % 32);
}

fn row_of(
    rule: &ChoiceRule,
    forced: u32,
    banned: &[u32; BIT_WORDS],
    seen: &[u32; BIT_WORDS],
) -> ChoiceRow {
    let mut row = [0; choice_words(VOCABULARY_SIZE as usize)];
    let words = rule.words(forced).into_iter().chain(*banned).chain(*seen);
    row.iter_mut().zip(words).for_each(|(to, word)| *to = word);
    row
}

fn index(subject: &str, id: u32, id_count: usize) -> Result<usize> {
    let position = id as usize;
    if position < id_count {
        return Ok(position);
    }
    Err(Error::input(subject, format!("expected less than {id_count}, got {id}")))
}
