//! A text that is fed and stepped: bytes in, pieces of text out.
//!
//! A step generates one id and gives the piece of text that is sure by then: whole characters that
//! cannot be the beginning of a stop string any more. So a piece is often empty, and the last one
//! brings what was held back. Bytes that are no UTF-8 are U+FFFD, as in
//! [`String::from_utf8_lossy`]; all pieces together are the answer.
//!
//! The stream is asynchronous by its method [`TextStream::step`], and needs no trait of another
//! crate: whoever wants a `futures::Stream` has it with `stream::unfold` over `step`. A future that
//! is dropped before it is done loses nothing, the next step does its work again.

use super::predictor::{Prediction, Predictor};
use super::sampling::Sampler;
use super::stops::{End, StopSearch, Stops};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::text::{EOS_ID, Utf8Stream, byte_of, check_ids, encode};
use std::time::Duration;

/// What happens when a text has more ids than the model has positions or patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// A step is an [`Error::Limit`].
    #[default]
    Error,
    /// The model reads the end of the text only. Where that begins is a multiple of half the
    /// positions, the first one from which on the text fits.
    Slide,
}

/// An id that was generated, and how it was predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByteEvent {
    pub id: u32,
    /// Of the id, by the model alone: temperature and filters have no part in it.
    pub probability: f32,
    /// Of that prediction, in nats.
    pub entropy: f32,
    /// What the entropy model made of the same place, in nats, where it decides about patches.
    pub patch_entropy: Option<f32>,
    /// Whether a patch starts with the id.
    pub starts_patch: bool,
}

/// A piece of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Whole characters.
    pub text: String,
    /// The ids that `text` is made of, and those among and behind them that are no bytes.
    pub events: Vec<ByteEvent>,
}

/// A text, its prompts and its answers, on its way through a model.
pub struct TextStream<P> {
    predictor: P,
    sampler: Sampler,
    count_limit: usize,
    on_limit: OnLimit,
    search: StopSearch,
    characters: Utf8Stream,
    /// All of the text.
    ids: Vec<u32>,
    /// Where the part begins that the model reads, and how many ids of the text it was handed.
    window_start: usize,
    handed_count: usize,
    /// What comes after the last of `ids`, if it is known.
    prediction: Option<Prediction>,
    /// The answer; how much of it is surely text, and how much was given out. Between the two are
    /// the bytes of a character that is not whole.
    events: Vec<ByteEvent>,
    sure_count: usize,
    given_count: usize,
    /// What was sure when a prompt, or an error, came between.
    left_over: Piece,
    end: Option<End>,
}

impl<P: Predictor> TextStream<P> {
    /// A stream without a text. The predictor's own is forgotten.
    ///
    /// # Errors
    /// A stop string without bytes.
    pub fn new(
        mut predictor: P,
        sampler: Sampler,
        stops: &Stops,
        on_limit: OnLimit,
    ) -> Result<Self> {
        predictor.clear();
        Ok(Self {
            predictor,
            sampler,
            count_limit: stops.count.unwrap_or(usize::MAX),
            on_limit,
            search: StopSearch::new(&stops.strings)?,
            characters: Utf8Stream::new(),
            ids: Vec::new(),
            window_start: 0,
            handed_count: 0,
            prediction: None,
            events: Vec::new(),
            sure_count: 0,
            given_count: 0,
            left_over: Piece::default(),
            end: None,
        })
    }

    /// Goes on with these bytes, which need not be UTF-8; an answer to them follows. At the begin,
    /// and behind the end of a text, a new one begins with BOS.
    ///
    /// What an answer has generated stays in the text, a stop string that ended it too. What it
    /// still held back comes with the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        let add_bos = self.ids.last().is_none_or(|&id| id == EOS_ID);
        self.go_on(&encode(bytes, add_bos, false));
    }

    /// The same with ids, taken as they are.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn push_ids(&mut self, ids: &[u32]) -> Result<()> {
        check_ids(ids)?;
        self.go_on(ids);
        Ok(())
    }

    /// Reads what has not been read yet. [`Self::step`] does so itself; apart it can be timed.
    ///
    /// # Errors
    /// No ids; too many for the model, see [`OnLimit`]; a device that fails.
    pub async fn prefill(&mut self) -> Result<()> {
        while self.prediction.is_none() {
            self.make_room()?;
            self.predictor.push(&self.ids[self.handed_count..])?;
            self.handed_count = self.ids.len();
            match self.predictor.predict().await {
                Ok(prediction) => self.prediction = Some(prediction),
                // Patches may run out before positions do.
                Err(Error::Limit { .. }) if self.on_limit == OnLimit::Slide && self.slide() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Generates one id and gives the text that is sure now; `None` after the end of the answer.
    ///
    /// # Errors
    /// As [`Self::prefill`], and logits that are not finite. The stream is then as before the step.
    pub async fn step(&mut self) -> Result<Option<Piece>> {
        if self.end.is_none() && self.events.len() >= self.count_limit {
            self.end = Some(End::Count);
        }
        if self.end.is_some() {
            let rest = std::mem::take(&mut self.left_over);
            return Ok((!rest.events.is_empty()).then_some(rest));
        }
        self.prefill().await?;
        let prediction = self.prediction.as_ref().expect("it was made in the line above");
        let id = self.sampler.choose(&prediction.logits, &self.ids, self.ids.len() as u64)?;
        let (probability, entropy) = prediction.measure(id);
        let Prediction { patch_entropy, starts_patch, .. } = *prediction;
        self.prediction = None;
        self.ids.push(id);
        self.events.push(ByteEvent { id, probability, entropy, patch_entropy, starts_patch });
        let found = byte_of(id).and_then(|byte| self.search.push(byte));
        self.end = match found {
            Some(index) => Some(End::String(index)),
            None if id == EOS_ID => Some(End::EndOfText),
            None if self.events.len() >= self.count_limit => Some(End::Count),
            None => None,
        };
        let sure_count = match self.end {
            None | Some(End::String(_)) => {
                self.before_bytes(self.events.len(), self.search.held_count())
            }
            Some(_) => self.events.len(),
        };
        Ok(Some(self.give(sure_count)))
    }

    /// Steps until the time is up, but at least once: what a frame of a user interface has time
    /// for. `None` after the end of the answer.
    ///
    /// It also returns when the platform is asked to stop. A step cannot be cut short: the time is
    /// passed by up to the length of one, the first after a prompt reads all of it.
    ///
    /// # Errors
    /// As [`Self::step`]; the text of the steps before comes with the next piece, or the next
    /// [`Self::cancel`].
    pub async fn run_for(
        &mut self,
        time: Duration,
        platform: &impl Platform,
    ) -> Result<Option<Piece>> {
        let end = platform.monotonic_seconds() + time.as_secs_f64();
        let Some(mut sum) = self.step().await? else { return Ok(None) };
        while platform.monotonic_seconds() < end && !platform.is_stop_requested() {
            match self.step().await {
                Ok(Some(piece)) => sum.append(piece),
                Ok(None) => break,
                Err(error) => {
                    self.left_over = sum;
                    return Err(error);
                }
            }
        }
        Ok(Some(sum))
    }

    /// Ends the answer and gives what was held back: the beginning of a stop string as text, that of
    /// a character as U+FFFD. After the end it gives what an error left behind.
    pub fn cancel(&mut self) -> Piece {
        if self.end.is_some() {
            return std::mem::take(&mut self.left_over);
        }
        self.end = Some(End::Cancelled);
        self.give(self.events.len())
    }

    /// Steps on this thread, one piece after the other, until the answer ends.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn pieces(&mut self) -> impl Iterator<Item = Result<Piece>> {
        let mut has_failed = false;
        std::iter::from_fn(move || {
            if has_failed {
                return None;
            }
            let piece = pollster::block_on(self.step()).transpose();
            has_failed = matches!(piece, Some(Err(_)));
            piece
        })
    }

    /// Why the answer ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// What was generated since the last prompt: what is still held back, a stop string and EOS
    /// are part of it.
    pub fn generated(&self) -> &[ByteEvent] {
        &self.events
    }

    /// The whole text: prompts and answers.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where the part of [`Self::ids`] begins that the model reads.
    pub fn window_start(&self) -> usize {
        self.window_start
    }

    /// That so many more ids can be generated before the model runs out of positions.
    ///
    /// # Errors
    /// [`Error::Limit`], unless the text slides.
    pub fn check_room(&self, count: usize) -> Result<()> {
        // The last id is not read again.
        let needed = (self.ids.len() - self.window_start + count).saturating_sub(1);
        match self.on_limit {
            OnLimit::Error => self.check_positions(needed),
            OnLimit::Slide => Ok(()),
        }
    }

    fn go_on(&mut self, ids: &[u32]) {
        self.left_over = self.cancel();
        self.search.reset();
        self.events.clear();
        self.sure_count = 0;
        self.given_count = 0;
        self.end = None;
        self.prediction = None;
        self.ids.extend_from_slice(ids);
    }

    /// Lets the window begin where the text fits the positions.
    fn make_room(&mut self) -> Result<()> {
        while let Err(error) = self.check_positions(self.ids.len() - self.window_start) {
            if self.on_limit == OnLimit::Error || !self.slide() {
                return Err(error);
            }
        }
        Ok(())
    }

    fn check_positions(&self, needed: usize) -> Result<()> {
        let available = self.predictor.position_limit();
        if needed <= available {
            return Ok(());
        }
        Err(Error::Limit {
            limit: "positions of the model, for prompt and generated bytes".into(),
            needed: needed as u64,
            available: available as u64,
            hint: "shorten the prompt, generate fewer bytes, or let the text slide".into(),
        })
    }

    /// Moves the begin of the window by half the positions, if that leaves something to read.
    fn slide(&mut self) -> bool {
        let stride = (self.predictor.position_limit() / 2).max(1);
        if self.window_start + stride >= self.ids.len() {
            return false;
        }
        self.window_start += stride;
        self.handed_count = self.window_start;
        self.predictor.clear();
        true
    }

    /// The next piece, when so many events are surely text.
    fn give(&mut self, sure_count: usize) -> Piece {
        let mut piece = std::mem::take(&mut self.left_over);
        for event in &self.events[self.sure_count..sure_count] {
            piece.text.push_str(&self.characters.push_id(event.id));
        }
        self.sure_count = sure_count;
        let given_count = match self.end {
            None => self.before_bytes(sure_count, self.characters.held_count()),
            Some(_) => {
                piece.text.push_str(&self.characters.finish());
                sure_count
            }
        };
        piece.events.extend_from_slice(&self.events[self.given_count..given_count]);
        self.given_count = given_count;
        piece
    }

    /// How many events stand before the last `byte_count` bytes of the first `count` ones.
    fn before_bytes(&self, count: usize, byte_count: usize) -> usize {
        let is_byte = |index: &usize| byte_of(self.events[*index].id).is_some();
        match byte_count.checked_sub(1) {
            None => count,
            Some(before) => (0..count).rev().filter(is_byte).nth(before).unwrap_or(0),
        }
    }
}

/// How these ids fall into patches; the first may have begun before them.
pub fn patch_lengths(events: &[ByteEvent]) -> Vec<u32> {
    let mut lengths = Vec::new();
    for event in events {
        if event.starts_patch || lengths.is_empty() {
            lengths.push(0);
        }
        *lengths.last_mut().expect("the first id opened a patch") += 1;
    }
    lengths
}

impl Piece {
    /// Puts a later piece behind this one.
    pub fn append(&mut self, later: Self) {
        self.text.push_str(&later.text);
        self.events.extend(later.events);
    }
}
