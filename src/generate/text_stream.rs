//! A text that is fed and stepped: bytes in, pieces of text out.
//!
//! The stream is asynchronous by its method [`TextStream::step`]; [`TextStream::piece_stream`] is a
//! `futures_core::Stream` of its pieces, [`TextStream::pieces`] an iterator that blocks. A future
//! that is dropped before it is done loses nothing, the next step does its work again.

use super::added::ByteEvent;
use super::answer::{Answer, Piece};
use super::piece_stream::PieceStream;
use super::source::Source;
use super::stops::{End, Stops};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::text::{EOS_ID, check_ids, encode};
use std::time::Duration;

/// What happens when a text has more ids than the model has positions or patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// A step is an [`Error::Positions`].
    #[default]
    Error,
    /// The model reads the end of the text only. Where that begins is a multiple of half the ids
    /// that fit however they fall into patches ([`Positions::certain`](crate::blt::Positions)), the
    /// first one from which on the text fits: it follows from the text, and not from how it came.
    Slide,
}

/// A text, its prompts and its answers, on its way through a model.
pub struct TextStream<S> {
    source: S,
    on_limit: OnLimit,
    answer: Answer,
    /// All of the text.
    ids: Vec<u32>,
    /// Where the part begins that the model reads, and how many ids of the text the source has.
    window_start: usize,
    handed_count: usize,
    /// Text that was sure when a prompt, or an error, came between.
    left_over: Piece,
}

impl<S: Source> TextStream<S> {
    /// A stream without a text. The source's own is forgotten.
    ///
    /// # Errors
    /// A stop string without bytes.
    pub fn new(source: S, stops: &Stops, on_limit: OnLimit) -> Result<Self> {
        Ok(Self {
            source,
            on_limit,
            answer: Answer::new(stops)?,
            ids: Vec::new(),
            window_start: 0,
            handed_count: 0,
            left_over: Piece::default(),
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

    /// Reads a prompt that has not been read. [`Self::step`] does so itself; apart it can be timed.
    ///
    /// # Errors
    /// No ids; too many for the model, see [`OnLimit`]; a device that fails.
    pub async fn prefill(&mut self) -> Result<()> {
        loop {
            self.hand_over()?;
            match self.source.prefill().await {
                Err(error) => self.after_error(error)?,
                done => return done,
            }
        }
    }

    /// Generates one id and gives the text that is sure now; `None` after the end of the answer.
    ///
    /// # Errors
    /// As [`Self::prefill`], and logits that are not finite. The stream is then as before the step.
    pub async fn step(&mut self) -> Result<Option<Piece>> {
        if self.answer.end().is_some() {
            let rest = std::mem::take(&mut self.left_over);
            return Ok((!rest.events.is_empty()).then_some(rest));
        }
        let added = loop {
            self.hand_over()?;
            match self.source.step().await {
                Ok(added) if added.was_pushed => {}
                Ok(added) => break added,
                Err(error) => self.after_error(error)?,
            }
        };
        self.ids.push(added.id);
        self.handed_count = self.ids.len();
        let mut piece = std::mem::take(&mut self.left_over);
        piece.append(self.answer.take(ByteEvent::of(&added)));
        Ok(Some(piece))
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

    /// Ends the answer and gives what was held back: the beginning of a stop string as text, that
    /// of a character as U+FFFD. After the end it gives what an error left behind.
    pub fn cancel(&mut self) -> Piece {
        let mut piece = std::mem::take(&mut self.left_over);
        piece.append(self.answer.cancel());
        piece
    }

    /// The pieces of the answer as an asynchronous stream, until the answer ends or fails.
    pub fn piece_stream(&mut self) -> PieceStream<'_, S> {
        PieceStream::new(self)
    }

    /// The same on this thread, which waits for every piece.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn pieces(&mut self) -> impl Iterator<Item = Result<Piece>> {
        let mut pieces = self.piece_stream();
        std::iter::from_fn(move || pieces.wait())
    }

    /// Why the answer ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.answer.end()
    }

    /// What was generated since the last prompt: what is still held back, a stop string and EOS
    /// are part of it.
    pub fn generated(&self) -> &[ByteEvent] {
        self.answer.events()
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
    /// [`Error::Positions`], unless the text slides.
    pub fn check_room(&self, count: usize) -> Result<()> {
        // The last id is not read again.
        let needed = (self.ids.len() - self.window_start).saturating_add(count).saturating_sub(1);
        match self.on_limit {
            OnLimit::Error => self.check_bytes(needed),
            OnLimit::Slide => Ok(()),
        }
    }

    fn go_on(&mut self, ids: &[u32]) {
        self.left_over = self.cancel();
        self.answer.restart();
        self.ids.extend_from_slice(ids);
    }

    /// Lets the window begin where the text fits the positions, and hands over what is new in it.
    fn hand_over(&mut self) -> Result<()> {
        if self.ids.is_empty() {
            return Err(Error::input("prompt", "expected at least one id, got none")
                .with_hint("a text begins with id 1"));
        }
        while let Err(error) = self.check_bytes(self.ids.len() - self.window_start) {
            self.after_error(error)?;
        }
        let new = &self.ids[self.handed_count..];
        if self.handed_count == self.window_start {
            self.source.begin(new, self.window_start as u64)?;
        } else if !new.is_empty() {
            self.source.push(new)?;
        }
        self.handed_count = self.ids.len();
        Ok(())
    }

    fn check_bytes(&self, needed: usize) -> Result<()> {
        self.source.positions().check_bytes(needed).map_err(|error| error.with_hint(HINT))
    }

    /// Slides where positions have run out, for bytes or for patches.
    fn after_error(&mut self, error: Error) -> Result<()> {
        let is_about_positions = matches!(error, Error::Positions { .. });
        if is_about_positions && self.on_limit == OnLimit::Slide && self.slide() {
            return Ok(());
        }
        Err(if is_about_positions { error.with_hint(HINT) } else { error })
    }

    /// Moves the begin of the window by half of what surely fits, if that leaves something to read.
    fn slide(&mut self) -> bool {
        let stride = (self.source.positions().certain() / 2).max(1);
        if self.window_start + stride >= self.ids.len() {
            return false;
        }
        self.window_start += stride;
        self.handed_count = self.window_start;
        true
    }
}

const HINT: &str =
    "shorten the prompt, generate fewer bytes, or let the text slide: `--on-limit slide`";
