//! Bytes in, one at a time or in chunks; whole UTF-8 characters out.
//!
//! A terminal or a web page must never be given half a character. Bytes that may still become one
//! are held back, at most three of them; bytes that no longer can come out as U+FFFD at once. All
//! pieces together are what [`String::from_utf8_lossy`] makes of all bytes together.

use super::tokenizer::byte_of;

/// Decodes a byte stream into text piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    /// The beginning of a character whose end has not come yet: 0 to 3 bytes between calls.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// A stream with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes and gives back the characters that are now complete, possibly none.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done_bytes = 0;
        loop {
            let rest = &self.pending[done_bytes..];
            let (whole_bytes, broken_bytes) = match std::str::from_utf8(rest) {
                Ok(_) => (rest.len(), None),
                Err(error) => (error.valid_up_to(), error.error_len()),
            };
            let whole = std::str::from_utf8(&rest[..whole_bytes])
                .expect("the decoder said that it is valid up to here");
            text.push_str(whole);
            done_bytes += whole_bytes + broken_bytes.unwrap_or(0);
            if broken_bytes.is_none() {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
        }
        self.pending.drain(..done_bytes);
        text
    }

    /// Takes one id of the byte tokenizer; an id that is no byte changes nothing.
    pub fn push_id(&mut self, id: u32) -> String {
        match byte_of(id) {
            Some(byte) => self.push(&[byte]),
            None => String::new(),
        }
    }

    /// How many of the last bytes are held back, 0 to 3.
    pub fn held_count(&self) -> usize {
        self.pending.len()
    }

    /// Ends the stream: a character that stayed incomplete comes out as one U+FFFD.
    ///
    /// The stream can be used again afterwards.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{BOS_ID, EOS_ID, encode};
    use proptest::prelude::*;

    #[test]
    fn a_character_comes_when_its_last_byte_has_come() {
        let mut stream = Utf8Stream::new();
        let pieces: Vec<String> = "é€🎉".bytes().map(|byte| stream.push(&[byte])).collect();
        assert_eq!(pieces, ["", "é", "", "", "€", "", "", "", "🎉"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn hopeless_bytes_come_at_once() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push(&[0x80]), "\u{fffd}", "a lone continuation byte");
        assert_eq!(stream.push(&[0xff]), "\u{fffd}", "never valid");
        assert_eq!(stream.push(&[0xe0]), "", "may still become a character");
        assert_eq!(stream.push(&[0x80]), "\u{fffd}\u{fffd}", "overlong");
        assert_eq!(stream.push(&[0xf0, 0x9f]), "");
        assert_eq!(stream.push(b"a"), "\u{fffd}a");
    }

    #[test]
    fn the_end_shows_what_was_held_back() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push(b"a\xf0\x9f\x8e"), "a");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
        assert_eq!(stream.push(b"b"), "b");
    }

    #[test]
    fn special_ids_do_not_break_a_character() {
        let mut stream = Utf8Stream::new();
        let mut ids = encode("né".as_bytes(), true, true);
        ids.insert(3, BOS_ID);
        let pieces: Vec<String> = ids.iter().map(|&id| stream.push_id(id)).collect();
        assert_eq!(ids.last(), Some(&EOS_ID));
        assert_eq!(pieces, ["", "n", "", "", "é", ""]);
    }

    /// Bytes among which UTF-8 sequences, broken ones included, are common.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            any::<char>().prop_map(|c| c.to_string().into_bytes()[1..].to_vec()),
            any::<char>().prop_map(|c| {
                let whole = c.to_string().into_bytes();
                whole[..whole.len() - 1].to_vec()
            }),
            proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_lossy_text(bytes in bytes(), cuts: Vec<prop::sample::Index>) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut stream = Utf8Stream::new();
            let mut text = String::new();
            for pair in cuts.windows(2) {
                text.push_str(&stream.push(&bytes[pair[0]..pair[1]]));
                prop_assert!(stream.pending.len() <= 3);
            }
            text.push_str(&stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn nothing_is_held_back_longer_than_needed(bytes in bytes()) {
            let mut stream = Utf8Stream::new();
            let mut text = String::new();
            for (index, &byte) in bytes.iter().enumerate() {
                text.push_str(&stream.push(&[byte]));
                let sure = match std::str::from_utf8(&stream.pending) {
                    Ok(_) => stream.pending.is_empty(),
                    Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
                };
                prop_assert!(sure, "after byte {index}: {:02x?} held back", stream.pending);
            }
        }
    }
}
