//! One of the streams that run together: its text, and what has been decided about it.

use super::added::Added;
use super::place::Place;
use super::sampling::{BIT_WORDS, ChoiceRow, Sampler, forced_row, set_bit};
use crate::blt::patching::PatchCutter;
use crate::error::{Error, Result};
use crate::text::EOS_ID;
use std::collections::VecDeque;

/// A stream in its slot. All its ids but the last are in the caches of the model, all of them in
/// those of the entropy model.
pub(super) struct Slot {
    pub serial: u64,
    pub place: Place,
    pub prompt_count: usize,
    /// All of the prompt, while `place` has its begin only: the rest waits in `pushed`.
    pub whole_prompt: Option<Vec<u32>>,
    pub sampler: Sampler,
    /// A bit for every id that the text has.
    seen: [u32; BIT_WORDS],
    pub cutter: Option<PatchCutter>,
    /// Whether a patch closes with the last id.
    pub closes: bool,
    /// The entropy after the last id.
    pub entropy: Option<f32>,
    /// Ids to be read next.
    pub pushed: VecDeque<u32>,
    /// What was computed and is no part of the text yet: the ids that come next.
    pub ahead: VecDeque<Chosen>,
    /// Whether the device had no room for several steps of it at once.
    pub takes_single_steps: bool,
    /// How often its prompt was too much for a pass and was shortened.
    shortened_count: usize,
    pub progress: Progress,
}

/// How often a prompt that is too much for a pass is shortened: to one part in two hundred.
const MOST_SHORTENED: usize = 10;
/// How often by a quarter, before it is by half.
const QUARTERED: usize = 4;

/// How far a prompt has been read.
pub(super) enum Progress {
    Unread,
    /// By the entropy model and the cutter, which stand behind it: for every id of it whether a
    /// patch closes with the id.
    Cut(Vec<bool>),
    /// By the model too, as far as one pass could; an id a step from there on.
    Begun,
    /// By the model too, all of it but the last id.
    Seeded,
}

/// The id that comes next of a stream, and what is worth knowing about it.
pub(super) struct Chosen {
    pub id: u32,
    /// After the id.
    pub entropy: Option<f32>,
    /// What it was chosen by, where they are kept.
    pub logits: Vec<f32>,
    /// Whether it came with others in one submission.
    pub is_linked: bool,
}

impl Slot {
    /// A stream whose prompt, the ids of `place`, nobody has read.
    pub fn new(serial: u64, place: Place, sampler: Sampler, cutter: Option<PatchCutter>) -> Self {
        let mut seen = [0; BIT_WORDS];
        place.ids.iter().for_each(|&id| set_bit(&mut seen, id));
        Self {
            serial,
            prompt_count: place.ids.len(),
            place,
            whole_prompt: None,
            sampler,
            seen,
            cutter,
            closes: false,
            entropy: None,
            pushed: VecDeque::new(),
            ahead: VecDeque::new(),
            takes_single_steps: false,
            shortened_count: 0,
            progress: Progress::Unread,
        }
    }

    /// Prompt and what came after it.
    pub fn ids(&self) -> &[u32] {
        self.whole_prompt.as_ref().unwrap_or(&self.place.ids)
    }

    /// What came after the prompt.
    pub fn generated(&self) -> &[u32] {
        self.place.ids.get(self.prompt_count..).unwrap_or(&[])
    }

    /// Leaves the end of a prompt that was too much for a pass, or of what was left of it, to be
    /// read an id a step. `false`: what is left is as short as it gets, and was too much.
    pub fn shorten(&mut self) -> bool {
        let ids = &mut self.place.ids;
        if ids.len() == 1 || self.shortened_count == MOST_SHORTENED {
            return false;
        }
        let parts = if self.shortened_count < QUARTERED { 4 } else { 2 };
        self.shortened_count += 1;
        self.whole_prompt.get_or_insert_with(|| ids.clone());
        let rest = ids.split_off(ids.len() - ids.len().div_ceil(parts));
        rest.into_iter().rev().for_each(|id| self.pushed.push_front(id));
        self.progress = Progress::Unread;
        true
    }

    /// Goes on behind ids of a prompt that was shortened; what follows the prompt stays ahead.
    pub fn add_to_prompt(&mut self, mut next: VecDeque<Chosen>) {
        while matches!(self.progress, Progress::Begun) {
            let Some(id) = next.pop_front() else { return };
            self.add(id);
            self.end_prompt();
        }
        self.ahead = next;
    }

    /// Says so if all of the prompt has been read that a pass or a step had to read.
    pub fn end_prompt(&mut self) {
        if self.place.ids.len() == self.prompt_count {
            self.whole_prompt = None;
            self.progress = Progress::Seeded;
        }
    }

    /// Whether it stands behind the end of a text and nothing was pushed.
    pub fn has_ended(&self) -> bool {
        self.pushed.is_empty() && self.generated().last() == Some(&EOS_ID)
    }

    /// Takes the entropies after every id of the prompt, none where none cut it, and cuts it.
    ///
    /// # Errors
    /// An entropy that is not finite.
    pub fn cut(&mut self, entropies: &[f32]) -> Result<()> {
        check_finite(entropies)?;
        // A step that was dropped may have been here before.
        self.cutter.iter_mut().for_each(PatchCutter::reset);
        let mut closes = Vec::with_capacity(self.place.ids.len());
        for (index, &id) in self.place.ids.iter().enumerate() {
            let entropy = entropies.get(index).copied().unwrap_or(0.0);
            closes.push(self.cutter.as_mut().is_some_and(|cutter| cutter.push(id, entropy)));
        }
        self.entropy = entropies.last().copied();
        self.progress = Progress::Cut(closes);
        Ok(())
    }

    /// What the next id is chosen by: that which was pushed, or how the sampler draws.
    ///
    /// # Errors
    /// A banned id that is no id.
    pub fn choice(&self) -> Result<ChoiceRow> {
        match self.pushed.front() {
            Some(&id) => Ok(forced_row(id)),
            None => self.sampled_choice(),
        }
    }

    /// The same where nothing is pushed.
    ///
    /// # Errors
    /// As [`Self::choice`].
    pub fn sampled_choice(&self) -> Result<ChoiceRow> {
        self.sampler.row(&self.seen, self.place.ids.len() as u64)
    }

    /// What is drawn for the id so many behind the next one.
    pub fn uniform(&self, behind: usize) -> f32 {
        self.sampler.uniform((self.place.ids.len() + behind) as u64)
    }

    /// Goes on behind an id.
    pub fn add(&mut self, next: Chosen) -> Added {
        let Chosen { id, entropy, logits, .. } = next;
        let was_pushed = self.pushed.pop_front().is_some();
        let starts_patch = self.closes;
        let expected = std::mem::replace(&mut self.entropy, entropy);
        self.place.advance(self.closes);
        self.place.ids.push(id);
        set_bit(&mut self.seen, id);
        let cutter = self.cutter.as_mut();
        self.closes = cutter.is_some_and(|it| it.push(id, entropy.unwrap_or(0.0)));
        Added { id, was_pushed, starts_patch, entropy: expected, logits }
    }
}

/// That an entropy model gave numbers.
///
/// # Errors
/// [`Error::Input`].
pub(super) fn check_finite(entropies: &[f32]) -> Result<()> {
    match entropies.iter().find(|entropy| !entropy.is_finite()) {
        None => Ok(()),
        Some(entropy) => {
            let problem = format!("expected finite numbers of nats, got {entropy}");
            Err(Error::input("entropies", problem).with_hint("are the weights finite?"))
        }
    }
}
