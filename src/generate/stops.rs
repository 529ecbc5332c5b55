//! Where a generated text ends: at its end id, at a count, at strings.
//!
//! Strings are looked for in the bytes of the answer, however these come. Bytes that may be the
//! beginning of a string are held back until they are known to be none; the string itself is never
//! let through. Of strings that end with the same byte the longest counts.

use crate::error::{Error, Result};

/// When an answer ends, besides at EOS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Most ids of an answer, EOS included; `None` is no bound.
    pub count: Option<usize>,
    /// Strings before which an answer ends.
    pub strings: Vec<Vec<u8>>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model ended the text: id 2.
    EndOfText,
    /// [`Stops::count`] ids were generated.
    Count,
    /// The string of this index in [`Stops::strings`] was generated.
    String(usize),
    /// It was cancelled.
    Cancelled,
}

/// A search for several strings in bytes that come one at a time.
#[derive(Clone, Debug)]
pub(super) struct StopSearch {
    strings: Vec<OneString>,
    held_count: usize,
}

/// Knuth, Morris, Pratt: how much of the string the last bytes are, and what is left of that when
/// the next byte does not go on with it.
#[derive(Clone, Debug)]
struct OneString {
    bytes: Vec<u8>,
    /// Entry `n`: the longest beginning of the string that its first `n + 1` bytes end with,
    /// shorter than these themselves.
    borders: Vec<usize>,
    matched_count: usize,
}

impl StopSearch {
    /// A search that has seen nothing.
    ///
    /// # Errors
    /// A string without bytes, which would end every text at once.
    pub fn new(strings: &[Vec<u8>]) -> Result<Self> {
        if let Some(index) = strings.iter().position(Vec::is_empty) {
            let subject = format!("stop string {}", index + 1);
            return Err(Error::input(subject, "expected at least one byte, got none"));
        }
        let strings = strings.iter().map(|bytes| OneString::new(bytes)).collect();
        Ok(Self { strings, held_count: 0 })
    }

    /// Takes the next byte, and says which string is complete with it.
    pub fn push(&mut self, byte: u8) -> Option<usize> {
        let mut found: Option<usize> = None;
        self.held_count = 0;
        for index in 0..self.strings.len() {
            let string = &mut self.strings[index];
            string.push(byte);
            let (length, matched_count) = (string.bytes.len(), string.matched_count);
            self.held_count = self.held_count.max(matched_count);
            let is_longer = found.is_none_or(|other| self.strings[other].bytes.len() < length);
            if matched_count == length && is_longer {
                found = Some(index);
            }
        }
        if let Some(index) = found {
            self.held_count = self.strings[index].bytes.len();
        }
        found
    }

    /// How many of the last bytes are held back: those that may be the beginning of a string, or
    /// are the string that was found.
    pub fn held_count(&self) -> usize {
        self.held_count
    }

    /// Forgets what it has seen.
    pub fn reset(&mut self) {
        self.held_count = 0;
        self.strings.iter_mut().for_each(|string| string.matched_count = 0);
    }
}

impl OneString {
    fn new(bytes: &[u8]) -> Self {
        let mut borders = vec![0; bytes.len()];
        let mut border = 0;
        for index in 1..bytes.len() {
            while border > 0 && bytes[index] != bytes[border] {
                border = borders[border - 1];
            }
            border += usize::from(bytes[index] == bytes[border]);
            borders[index] = border;
        }
        Self { bytes: bytes.to_vec(), borders, matched_count: 0 }
    }

    fn push(&mut self, byte: u8) {
        if self.matched_count == self.bytes.len() {
            self.matched_count = self.borders[self.matched_count - 1];
        }
        while self.matched_count > 0 && self.bytes[self.matched_count] != byte {
            self.matched_count = self.borders[self.matched_count - 1];
        }
        self.matched_count += usize::from(self.bytes[self.matched_count] == byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes through of the bytes, after each of them, and the string that ended it.
    fn search(strings: &[&[u8]], bytes: &[u8]) -> (Vec<usize>, Option<usize>) {
        let strings: Vec<Vec<u8>> = strings.iter().map(|it| it.to_vec()).collect();
        let mut search = StopSearch::new(&strings).unwrap();
        let mut counts = Vec::new();
        for &byte in bytes {
            let found = search.push(byte);
            counts.push(counts.len() + 1 - search.held_count());
            if found.is_some() {
                return (counts, found);
            }
        }
        (counts, None)
    }

    #[test]
    fn what_may_be_the_beginning_is_held_back() {
        assert_eq!(search(&[b"\n\n"], b"a\nb\n\nc"), (vec![1, 1, 3, 3, 3], Some(0)));
        assert_eq!(search(&[b"aab"], b"aaab"), (vec![0, 0, 1, 1], Some(0)));
        assert_eq!(search(&[b"stop"], b"sto"), (vec![0, 0, 0], None));
        assert_eq!(search(&[], b"ab"), (vec![1, 2], None));
    }

    #[test]
    fn the_string_that_ends_first_counts_and_of_those_the_longest() {
        assert_eq!(search(&[b"abc", b"b"], b"abc"), (vec![0, 1], Some(1)));
        assert_eq!(search(&[b"b", b"xab", b"ab"], b"xxab"), (vec![0, 1, 1, 1], Some(1)));
        assert_eq!(search(&[b"b", b"b"], b"b"), (vec![0], Some(0)));
    }

    #[test]
    fn an_empty_string_is_refused_by_its_place() {
        let error = StopSearch::new(&[b"a".to_vec(), Vec::new()]).unwrap_err().to_string();
        assert!(error.starts_with("stop string 2"), "{error}");
    }

    proptest! {
        #[test]
        fn the_search_is_what_looking_at_everything_finds(
            strings in proptest::collection::vec(proptest::collection::vec(0_u8..3, 1..6), 0..4),
            bytes in proptest::collection::vec(0_u8..3, 0..40),
        ) {
            let borrowed: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            let (counts, found) = search(&borrowed, &bytes);
            // The first end of any string in the bytes, and the longest that ends there.
            let end = (1..=bytes.len())
                .find(|&end| strings.iter().any(|string| bytes[..end].ends_with(string)));
            let length = end.and_then(|end| {
                let ending = strings.iter().filter(|string| bytes[..end].ends_with(string));
                ending.map(Vec::len).max()
            });
            prop_assert_eq!(counts.len(), end.unwrap_or(bytes.len()));
            prop_assert_eq!(found.map(|index| strings[index].len()), length);
            for (index, &count) in counts.iter().enumerate() {
                let seen = &bytes[..=index];
                let expected = match (length, index + 1 == counts.len()) {
                    (Some(length), true) => seen.len() - length,
                    // All but the longest end that a string begins with.
                    _ => (0..=seen.len())
                        .find(|&from| strings.iter().any(|it| it.starts_with(&seen[from..]))
                            || from == seen.len())
                        .unwrap(),
                };
                prop_assert_eq!(count, expected, "after {:?}", seen);
            }
        }
    }
}
