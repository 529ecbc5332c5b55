//! An answer: ids in, pieces of text out.
//!
//! A piece is what is sure by then: whole characters that cannot be the beginning of a stop string
//! any more. So a piece is often empty, and the last one brings what was held back. Bytes that are
//! no UTF-8 are U+FFFD, as in [`String::from_utf8_lossy`]; all pieces together are the answer.

use super::added::ByteEvent;
use super::stops::{End, StopSearch, Stops};
use crate::error::Result;
use crate::text::{EOS_ID, Utf8Stream, byte_of};

/// What was generated behind a prompt.
#[derive(Clone, Debug)]
pub struct Answer {
    count_limit: usize,
    search: StopSearch,
    characters: Utf8Stream,
    /// How much of the events is surely text, and how much was given out. Between the two are the
    /// bytes of a character that is not whole.
    events: Vec<ByteEvent>,
    sure_count: usize,
    given_count: usize,
    end: Option<End>,
}

/// A piece of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Whole characters.
    pub text: String,
    /// The ids that `text` is made of, and those among and behind them that are no bytes.
    pub events: Vec<ByteEvent>,
}

impl Answer {
    /// An answer that has not begun.
    ///
    /// # Errors
    /// A stop string without bytes.
    pub fn new(stops: &Stops) -> Result<Self> {
        Ok(Self {
            count_limit: stops.count.unwrap_or(usize::MAX),
            search: StopSearch::new(&stops.strings)?,
            characters: Utf8Stream::new(),
            events: Vec::new(),
            sure_count: 0,
            given_count: 0,
            end: None,
        })
    }

    /// Takes the next id, and gives the text that is sure now.
    ///
    /// # Panics
    /// After the end.
    pub fn take(&mut self, event: ByteEvent) -> Piece {
        assert!(self.end().is_none(), "an answer that has ended takes no more");
        self.events.push(event);
        let found = byte_of(event.id).and_then(|byte| self.search.push(byte));
        self.end = match found {
            Some(index) => Some(End::String(index)),
            None if event.id == EOS_ID => Some(End::EndOfText),
            None if self.events.len() >= self.count_limit => Some(End::Count),
            None => None,
        };
        match self.end {
            None | Some(End::String(_)) => {
                self.give(self.before_bytes(self.events.len(), self.search.held_count()))
            }
            Some(_) => self.give(self.events.len()),
        }
    }

    /// Ends the answer and gives what was held back: the beginning of a stop string as text, that
    /// of a character as U+FFFD. After the end it gives nothing.
    pub fn cancel(&mut self) -> Piece {
        if self.end().is_some() {
            return Piece::default();
        }
        self.end = Some(End::Cancelled);
        self.give(self.events.len())
    }

    /// Why the answer ended, if it has.
    pub fn end(&self) -> Option<End> {
        let is_full = self.events.len() >= self.count_limit;
        self.end.or_else(|| is_full.then_some(End::Count))
    }

    /// All that was generated: what is still held back, a stop string and EOS are part of it.
    pub fn events(&self) -> &[ByteEvent] {
        &self.events
    }

    /// An answer with the same stops that has not begun.
    pub fn restart(&mut self) {
        self.search.reset();
        self.characters = Utf8Stream::new();
        self.events.clear();
        (self.sure_count, self.given_count, self.end) = (0, 0, None);
    }

    /// The next piece, when so many events are surely text.
    fn give(&mut self, sure_count: usize) -> Piece {
        let mut piece = Piece::default();
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

impl Piece {
    /// Puts a later piece behind this one.
    pub fn append(&mut self, later: Self) {
        self.text.push_str(&later.text);
        self.events.extend(later.events);
    }
}
