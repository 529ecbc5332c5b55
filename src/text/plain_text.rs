//! A text file as one document, or, where it is too long, as several.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::documents::Document;
use super::part::Part;
use super::source::ByteReader;
use crate::error::{Error, Result};

/// A file that is read piece by piece, none longer than documents may be.
pub(super) struct PlainText {
    path: PathBuf,
    reader: ByteReader,
    most_bytes: usize,
    /// Bytes that are read and belong to the next piece.
    ahead: Vec<u8>,
    /// Where the next piece begins.
    offset: usize,
    is_begun: bool,
}

impl PlainText {
    pub(super) fn new(path: &Path, reader: ByteReader, most_bytes: usize) -> Self {
        let (path, ahead) = (path.to_path_buf(), Vec::new());
        Self { path, reader, most_bytes, ahead, offset: 0, is_begun: false }
    }

    /// The next piece, which may be empty where the file is, and whether it is the first of
    /// several; nothing at the end.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn next_piece(&mut self) -> Result<Option<(Document, bool)>> {
        let is_first = !self.is_begun;
        if self.is_begun && self.ahead.is_empty() {
            return Ok(None);
        }
        self.is_begun = true;
        let mut text = std::mem::take(&mut self.ahead);
        // One byte more than fits says that there is more.
        let wanted = self.most_bytes.saturating_add(1).saturating_sub(text.len());
        self.reader
            .by_ref()
            .take(wanted as u64)
            .read_to_end(&mut text)
            .map_err(|error| Error::io("read", &self.path, error))?;
        if text.len() > self.most_bytes {
            self.ahead = text.split_off(cut_before(&text, self.most_bytes));
        }
        let end = self.offset + text.len();
        let is_several = !self.ahead.is_empty();
        let name = self.path.display();
        let id = match is_first && !is_several {
            true => name.to_string(),
            false => format!("{name}[{}..{end}]", self.offset),
        };
        self.offset = end;
        Ok(Some((Document::new(id, text), is_first && is_several)))
    }
}

/// The piece of a text file that `part` names, as one document.
///
/// # Errors
/// A file that cannot be read, or has not this part.
pub(super) fn piece(path: &Path, mut reader: ByteReader, part: &Part) -> Result<Document> {
    let mut text = Vec::new();
    reader.read_to_end(&mut text).map_err(|error| Error::io("read", path, error))?;
    let name = path.display().to_string();
    let range = part.range_in(text.len()).map_err(|error| match error {
        Error::Input { subject, problem, hint } => {
            Error::Input { subject: format!("{name}: {subject}"), problem, hint }
        }
        other => other,
    })?;
    text.truncate(range.end);
    text.drain(..range.start);
    Ok(Document::new(format!("{name}[{}..{}]", range.start, range.end), text))
}

/// The pieces of a document that is too long.
pub(super) fn pieces(document: Document, most_bytes: usize) -> Vec<Document> {
    let Document { id, text, .. } = document;
    let mut pieces = Vec::new();
    let mut begin = 0;
    while begin < text.len() {
        let end = begin + cut_before(&text[begin..], most_bytes);
        pieces.push(Document::new(format!("{id}[{begin}..{end}]"), text[begin..end].to_vec()));
        begin = end;
    }
    pieces
}

/// Where to cut a text to get at most so many bytes: in front of the character that would be cut
/// in two, where there is one.
fn cut_before(text: &[u8], most_bytes: usize) -> usize {
    if text.len() <= most_bytes {
        return text.len();
    }
    let is_inside = |at: usize| text[at] & 0b1100_0000 == 0b1000_0000;
    let nearest = most_bytes.saturating_sub(3).max(1);
    (nearest..=most_bytes).rev().find(|&at| !is_inside(at)).unwrap_or(most_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(text: &[u8], most_bytes: usize) -> Vec<(Document, bool)> {
        let reader: ByteReader = Box::new(Cursor::new(text.to_vec()));
        let mut plain = PlainText::new(Path::new("t.txt"), reader, most_bytes);
        std::iter::from_fn(|| plain.next_piece().unwrap()).collect()
    }

    #[test]
    fn a_long_file_comes_in_pieces_that_end_between_characters() {
        let text = "aé€🎉b".as_bytes();
        let found = read(text, 4);
        let shown: Vec<_> = found.iter().map(|(it, first)| (it.id.as_str(), *first)).collect();
        let expected = [
            ("t.txt[0..3]", true),
            ("t.txt[3..6]", false),
            ("t.txt[6..10]", false),
            ("t.txt[10..11]", false),
        ];
        assert_eq!(shown, expected);
        let texts: Vec<_> = found.into_iter().map(|(it, _)| it.text).collect();
        assert!(texts.iter().all(|text| std::str::from_utf8(text).is_ok()));
        assert_eq!(texts.concat(), text);
        let whole = pieces(Document::new("x".into(), text.to_vec()), 4);
        assert_eq!(whole.iter().map(|it| it.text.clone()).collect::<Vec<_>>(), texts);
        assert_eq!(whole[1].id, "x[3..6]");
    }

    #[test]
    fn a_short_file_is_one_document() {
        assert_eq!(read(b"abcd", 4), [(Document::new("t.txt".into(), b"abcd".to_vec()), false)]);
        assert_eq!(read(b"", 4), [(Document::new("t.txt".into(), Vec::new()), false)]);
    }

    #[test]
    fn what_is_no_character_is_cut_at_the_limit() {
        let lengths: Vec<_> = read(&[0x80; 10], 4).iter().map(|(it, _)| it.text.len()).collect();
        assert_eq!(lengths, [4, 4, 2]);
    }
}
