//! Documents that somebody should know of: how many of each kind, and the first of them by name.

use super::documents::Document;
use crate::error::Error;

/// Documents of each kind that are named; the others are counted.
const NAMED_COUNT: u64 = 3;

/// What is odd about a document, or about what should have been one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// It has no byte, and is left out.
    Empty,
    /// A line that holds no document, which is left out.
    Malformed,
    /// It has a byte of value 0, which text has not.
    Binary,
    /// Its bytes are not UTF-8.
    NotUtf8,
    /// It is longer than documents may be, and read in pieces.
    Long,
}

/// What has gone by so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DocumentCounts {
    /// Documents given out, a piece of a long one like any other.
    pub document_count: u64,
    /// Their bytes.
    pub text_bytes: u64,
    /// Documents left out because they had no byte.
    pub empty_count: u64,
    /// Lines left out because they held no document.
    pub malformed_count: u64,
    /// Documents given out that have a byte 0.
    pub binary_count: u64,
    /// Documents given out of which the bytes are not UTF-8.
    pub not_utf8_count: u64,
    /// Documents given out in pieces.
    pub long_count: u64,
}

impl DocumentCounts {
    /// The count of one kind of oddity.
    pub fn of(&self, oddity: Oddity) -> u64 {
        let mut counts = *self;
        *counts.slot(oddity)
    }

    fn slot(&mut self, oddity: Oddity) -> &mut u64 {
        match oddity {
            Oddity::Empty => &mut self.empty_count,
            Oddity::Malformed => &mut self.malformed_count,
            Oddity::Binary => &mut self.binary_count,
            Oddity::NotUtf8 => &mut self.not_utf8_count,
            Oddity::Long => &mut self.long_count,
        }
    }
}

/// Counts, and sentences about what was met first.
#[derive(Debug, Clone, Default)]
pub(super) struct Oddities {
    pub counts: DocumentCounts,
    notes: Vec<String>,
}

impl Oddities {
    /// One more of these; `problem` names it.
    pub fn add(&mut self, oddity: Oddity, problem: &Error) {
        let count = self.counts.slot(oddity);
        *count += 1;
        if *count <= NAMED_COUNT {
            let more = match *count {
                NAMED_COUNT => "; others like it are counted only",
                _ => "",
            };
            self.notes.push(format!("{problem}{more}"));
        }
    }

    /// The sentences since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// What is odd about the bytes of a document that has some.
pub(super) fn oddity_of(document: &Document) -> Option<(Oddity, Error)> {
    let odd = |oddity, problem| Some((oddity, Error::input(&document.id, problem)));
    // `contains` is much faster than to look for the place.
    if document.text.contains(&0) {
        let at = document.text.iter().position(|&byte| byte == 0).expect("it is in there");
        return odd(Oddity::Binary, format!("this is no text: byte {at} of it is 0"));
    }
    let error = std::str::from_utf8(&document.text).err()?;
    let at = error.valid_up_to();
    odd(Oddity::NotUtf8, format!("this is not UTF-8 from byte {at} on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_named_and_all_are_counted() {
        let mut oddities = Oddities::default();
        for index in 0..10 {
            let document = Document::new(format!("d{index}"), vec![b'a', 0]);
            let (oddity, error) = oddity_of(&document).unwrap();
            oddities.add(oddity, &error);
        }
        let document = Document::new("e".into(), vec![b'a', b'b', 0xc3]);
        let (oddity, error) = oddity_of(&document).unwrap();
        oddities.add(oddity, &error);
        assert_eq!((oddities.counts.binary_count, oddities.counts.not_utf8_count), (10, 1));
        assert_eq!(
            oddities.take_notes(),
            [
                "d0: this is no text: byte 1 of it is 0",
                "d1: this is no text: byte 1 of it is 0",
                "d2: this is no text: byte 1 of it is 0; others like it are counted only",
                "e: this is not UTF-8 from byte 2 on",
            ]
        );
        assert!(oddities.take_notes().is_empty());
        assert!(oddity_of(&Document::new("f".into(), "é".into())).is_none());
    }
}
