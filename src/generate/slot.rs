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
    pub progress: Progress,
}

/// How far a prompt has been read.
pub(super) enum Progress {
    Unread,
    /// By the entropy model and the cutter, which stand behind it: for every id of it whether a
    /// patch closes with the id.
    Cut(Vec<bool>),
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
            sampler,
            seen,
            cutter,
            closes: false,
            entropy: None,
            pushed: VecDeque::new(),
            ahead: VecDeque::new(),
            progress: Progress::Unread,
        }
    }

    /// Whether it stands behind the end of a text and nothing was pushed.
    pub fn has_ended(&self) -> bool {
        let generated = &self.place.ids[self.prompt_count..];
        self.pushed.is_empty() && generated.last() == Some(&EOS_ID)
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
        let Chosen { id, entropy, logits } = next;
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
