//! JSON Lines: one JSON object per line, one document per object. Spec §15.1.
//!
//! The text is the string under `text`, or else `content`; the name is under the first of seven
//! keys that is there, or else `file:line`. `null` is as good as absent. One line at a time is in
//! memory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::documents::Document;
use super::source::ByteReader;
use crate::error::{Error, Result};

/// Where the name of a document is looked for, in this order.
pub(super) const ID_KEYS: [&str; 7] =
    ["sample_id", "title", "qid", "paper_id", "path", "url", "id"];

/// Where its text is looked for.
pub(super) const TEXT_KEYS: [&str; 2] = ["text", "content"];

const UTF8_BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of one file.
pub(super) struct JsonLines {
    path: PathBuf,
    reader: BufReader<ByteReader>,
    /// The line in hand; kept for its allocation.
    line: Vec<u8>,
    /// Its number, from 1 on.
    line_number: u64,
}

/// What a line turned out to be.
pub(super) enum Line {
    Document(Document),
    /// Not a JSON object with a text; the error names file and line.
    Malformed(Error),
}

impl JsonLines {
    pub(super) fn new(path: &Path, reader: ByteReader) -> Self {
        Self {
            path: path.to_path_buf(),
            reader: BufReader::new(reader),
            line: Vec::new(),
            line_number: 0,
        }
    }

    /// The next line that is not blank, or nothing at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read on from here.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>> {
        loop {
            self.line.clear();
            let read_bytes = self
                .reader
                .read_until(b'\n', &mut self.line)
                .map_err(|error| Error::io("read", &self.path, error))?;
            if read_bytes == 0 {
                return Ok(None);
            }
            self.line_number += 1;
            let mut json = self.line.as_slice();
            if self.line_number == 1 {
                json = json.strip_prefix(UTF8_BYTE_ORDER_MARK).unwrap_or(json);
            }
            if !json.trim_ascii().is_empty() {
                return Ok(Some(match parse(json, || self.place()) {
                    Ok(document) => Line::Document(document),
                    Err(problem) => Line::Malformed(Error::input(self.place(), problem)),
                }));
            }
        }
    }

    /// The number of the line in hand, from 1 on; blank ones count.
    pub(super) fn line_number(&self) -> u64 {
        self.line_number
    }

    /// Passes over so many lines without a look at them; false where the file has fewer.
    ///
    /// # Errors
    /// As [`Self::next_line`].
    pub(super) fn skip(&mut self, line_count: u64) -> Result<bool> {
        for _ in 0..line_count {
            let skipped_bytes = self
                .reader
                .skip_until(b'\n')
                .map_err(|error| Error::io("read", &self.path, error))?;
            if skipped_bytes == 0 {
                return Ok(false);
            }
            self.line_number += 1;
        }
        Ok(true)
    }

    /// `file:line` of the line in hand.
    fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line_number)
    }
}

/// The document in one line, or what is wrong with the line.
fn parse(json: &[u8], place: impl Fn() -> String) -> Result<Document, String> {
    let mut object: Map<String, Value> = serde_json::from_slice(json).map_err(|error| {
        let is_cut = error.is_eof() && !json.ends_with(b"\n");
        let cut = if is_cut { "; the file ends within this line" } else { "" };
        format!("expected a JSON object: {error}{cut}")
    })?;
    let present = |value: &Value| !value.is_null();
    let id = match ID_KEYS.iter().find_map(|&key| object.remove(key).filter(present)) {
        None => place(),
        Some(Value::String(id)) => id,
        Some(other) => other.to_string(),
    };
    match TEXT_KEYS.into_iter().find_map(|key| object.remove(key).filter(present)) {
        Some(Value::String(text)) => Ok(Document::new(id, text.into_bytes())),
        Some(other) => Err(format!("expected a string as the text, got {}", type_name(&other))),
        None => Err("expected a string under \"text\" or \"content\", got neither".to_owned()),
    }
}

/// What JSON calls a value of this kind.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn lines(file: &[u8]) -> Vec<Result<Document, String>> {
        let reader: ByteReader = Box::new(Cursor::new(file.to_vec()));
        let mut lines = JsonLines::new(Path::new("dir/a.jsonl"), reader);
        std::iter::from_fn(|| lines.next_line().unwrap())
            .map(|line| match line {
                Line::Document(document) => Ok(document),
                Line::Malformed(error) => Err(error.to_string()),
            })
            .collect()
    }

    fn document(id: &str, text: &str) -> Result<Document, String> {
        Ok(Document::new(id.to_owned(), text.as_bytes().to_vec()))
    }

    #[test]
    fn text_and_id_are_found_under_their_keys() {
        let file = "\u{feff}{\"text\": \"a\\nb \\u00e9\", \"id\": \"x\"}\r\n\
                    \n  \n{\"content\":\"c\"}\n\
                    {\"content\":\"no\",\"text\":\"yes\",\"extra\":[1,{}]}\n\
                    {\"text\":null,\"content\":\"d\",\"id\":7,\"qid\":null}";
        assert_eq!(
            lines(file.as_bytes()),
            [
                document("x", "a\nb é"),
                document("dir/a.jsonl:4", "c"),
                document("dir/a.jsonl:5", "yes"),
                document("7", "d"),
            ]
        );
    }

    #[test]
    fn the_first_id_key_wins() {
        for (index, key) in ID_KEYS.iter().enumerate() {
            let mut object = serde_json::Map::new();
            object.insert("text".to_owned(), "t".into());
            for later in &ID_KEYS[index..] {
                object.insert((*later).to_owned(), format!("under {later}").into());
            }
            let file = Value::Object(object).to_string();
            assert_eq!(lines(file.as_bytes()), [document(&format!("under {key}"), "t")]);
        }
    }

    #[test]
    fn malformed_lines_are_named_and_the_next_one_is_read() {
        let file =
            b"[\"a\"]\n{\"text\": 5}\n{\"id\": 1}\n{\"text\": \"\xff\"}\n{\"text\":\"ok\"}\n\
                     {\"text\": \"cut o";
        let found = lines(file);
        let expected = [
            "dir/a.jsonl:1: expected a JSON object: invalid type: sequence",
            "dir/a.jsonl:2: expected a string as the text, got a number",
            "dir/a.jsonl:3: expected a string under \"text\" or \"content\", got neither",
            "dir/a.jsonl:4: expected a JSON object: invalid unicode",
            "",
            "dir/a.jsonl:6: expected a JSON object: EOF while",
        ];
        assert_eq!(found.len(), expected.len());
        for (line, expected) in found.iter().zip(expected) {
            match line {
                Ok(document) => assert_eq!((document.text.as_slice(), expected), (&b"ok"[..], "")),
                Err(message) => assert!(message.starts_with(expected), "{message}"),
            }
        }
        let last = found.last().unwrap().as_ref().unwrap_err();
        assert!(last.ends_with("the file ends within this line"), "{last}");
    }
}
