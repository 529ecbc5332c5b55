//! Documents out of text files, one after another.
//!
//! `.txt` is one document per file, `.jsonl` one per line; both may be compressed (`.zst`). Of a
//! `.jsonl` file one line is in memory at a time. The order is that of the paths and of the lines,
//! always; documents without a byte are left out and counted.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::vec;

use super::json_lines::{JsonLines, Line};
use super::part::Part;
use super::source::{Files, TextFormat, TextSource, open};
use crate::error::{Error, Result};

/// A text and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What the file calls it, or where it stands: `file:line`, `file`, `file[from..to]`.
    pub id: String,
    /// Its bytes, at least one. Bytes of a `.txt` file need not be UTF-8.
    pub text: Vec<u8>,
}

/// What to do with a line that holds no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Stop there with an error that names file and line.
    #[default]
    Fail,
    /// Leave it out and count it. A file that cannot be read still ends everything.
    Skip,
}

/// How files are read.
#[derive(Debug, Clone, Default)]
pub struct DocumentOptions {
    /// Which piece of every `.txt` file is read. Other files have no pieces and are refused.
    pub part: Part,
    pub on_error: OnError,
}

/// What has gone by so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DocumentCounts {
    /// Documents given out.
    pub document_count: u64,
    /// Their bytes.
    pub text_bytes: u64,
    /// Documents left out because they had no byte.
    pub empty_count: u64,
    /// Lines left out because they held no document ([`OnError::Skip`]).
    pub malformed_count: u64,
}

/// An iterator over the documents of some files. After an error it ends.
pub struct Documents {
    source: Box<dyn TextSource>,
    options: DocumentOptions,
    waiting: vec::IntoIter<(PathBuf, TextFormat)>,
    lines: Option<JsonLines>,
    counts: DocumentCounts,
}

impl Documents {
    /// The documents of these files of the file system.
    ///
    /// # Errors
    /// See [`Documents::open_from`].
    pub fn open<P: AsRef<Path>>(paths: &[P], options: DocumentOptions) -> Result<Self> {
        Self::open_from(Box::new(Files), paths, options)
    }

    /// The documents of these files of `source`.
    ///
    /// # Errors
    /// No paths; a file that is not there, that has a name of no known format, or that is to be
    /// read in part and is not `.txt`. All are found here, before hours of training, and not when
    /// it is their turn.
    pub fn open_from<P: AsRef<Path>>(
        source: Box<dyn TextSource>,
        paths: &[P],
        options: DocumentOptions,
    ) -> Result<Self> {
        if paths.is_empty() {
            return Err(Error::input("text files", "expected at least one path, got none"));
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in paths.iter().map(AsRef::as_ref) {
            // A file that is not there is not blamed for its name.
            let format = TextFormat::of(path).map_err(|wrong| match source.open(path) {
                Ok(_) => wrong,
                Err(error) => Error::io("open", path, error),
            })?;
            if matches!(format, TextFormat::JsonLines { .. }) && options.part != Part::Whole {
                return Err(Error::input(
                    path.display().to_string(),
                    format!("expected a .txt file to take {:?} of, got JSON lines", options.part),
                )
                .with_hint("hold out a file of its own, or whole lines"));
            }
            source.check(path).map_err(|error| Error::io("open", path, error))?;
            files.push((path.to_path_buf(), format));
        }
        Ok(Self {
            source,
            options,
            waiting: files.into_iter(),
            lines: None,
            counts: DocumentCounts::default(),
        })
    }

    /// What has gone by so far.
    pub fn counts(&self) -> DocumentCounts {
        self.counts
    }

    /// The next document that is not empty.
    fn next_document(&mut self) -> Result<Option<Document>> {
        loop {
            let Some(document) = self.next_candidate()? else {
                return Ok(None);
            };
            if document.text.is_empty() {
                self.counts.empty_count += 1;
            } else {
                self.counts.document_count += 1;
                self.counts.text_bytes += document.text.len() as u64;
                return Ok(Some(document));
            }
        }
    }

    /// The next document, which may be empty.
    fn next_candidate(&mut self) -> Result<Option<Document>> {
        loop {
            if let Some(lines) = &mut self.lines {
                match lines.next_line()? {
                    Some(Line::Document(document)) => return Ok(Some(document)),
                    Some(Line::Malformed(error)) => match self.options.on_error {
                        OnError::Fail => return Err(error),
                        OnError::Skip => self.counts.malformed_count += 1,
                    },
                    None => self.lines = None,
                }
                continue;
            }
            let Some((path, format)) = self.waiting.next() else {
                return Ok(None);
            };
            let mut reader = open(self.source.as_ref(), &path, format)?;
            match format {
                TextFormat::JsonLines { .. } => self.lines = Some(JsonLines::new(&path, reader)),
                TextFormat::Plain { .. } => {
                    let mut text = Vec::new();
                    reader
                        .read_to_end(&mut text)
                        .map_err(|error| Error::io("read", &path, error))?;
                    return piece(&path, text, &self.options.part).map(Some);
                }
            }
        }
    }

    /// No further documents.
    fn end(&mut self) {
        self.waiting = Vec::new().into_iter();
        self.lines = None;
    }
}

impl Iterator for Documents {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_document().transpose();
        if matches!(next, Some(Err(_))) {
            self.end();
        }
        next
    }
}

impl std::iter::FusedIterator for Documents {}

/// The document that a text file, or a piece of it, is.
fn piece(path: &Path, mut text: Vec<u8>, part: &Part) -> Result<Document> {
    let name = path.display().to_string();
    let range = part.range_in(text.len()).map_err(|error| match error {
        Error::Input { subject, problem, hint } => {
            Error::Input { subject: format!("{name}: {subject}"), problem, hint }
        }
        other => other,
    })?;
    let id = match part {
        Part::Whole => name,
        _ => format!("{name}[{}..{}]", range.start, range.end),
    };
    text.truncate(range.end);
    text.drain(..range.start);
    Ok(Document { id, text })
}

#[cfg(test)]
#[path = "documents_test.rs"]
mod tests;
