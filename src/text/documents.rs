//! Documents out of text files, one after another.
//!
//! `.txt` is one document per file, `.jsonl` one per line; both may be compressed (`.zst`, `.gz`).
//! Of a `.jsonl` file one line is in memory at a time, of a `.txt` file one document. The order is
//! that of the paths and of the lines, always; documents without a byte are left out and counted.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use half::f16;
use serde::{Deserialize, Serialize};

#[cfg(feature = "arrow")]
use super::arrow::{ArrowRows, complete_marker};
use super::format::{TextFormat, TextKind};
use super::json_lines::{JsonLines, Line};
use super::oddities::{DocumentCounts, Oddities, Oddity, oddity_of};
#[cfg(feature = "parquet")]
use super::parquet::ParquetRows;
use super::part::Part;
use super::plain_text::{PlainText, piece, pieces};
use super::source::{ByteReader, Files, TextSource, open};
use crate::error::{Error, Result};

/// A text and its name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// What the file calls it, or where it stands: `file:line`, `file`, `file[from..to]`.
    pub id: String,
    /// Its bytes, at least one. Bytes of a `.txt` file need not be UTF-8.
    pub text: Vec<u8>,
    /// Nats of the prediction after every id, `[bytes + 2]` with a begin and an end id; empty where
    /// the file has none.
    pub entropies: Vec<f16>,
}

/// What to do with a line that holds no document, and with documents that are odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Stop at such a line with an error that names file and line.
    #[default]
    Fail,
    /// Leave it out, count it and name it. A file that cannot be read still ends everything.
    Skip,
    /// Stop at such a line, and at any document that is empty, binary, no UTF-8 or too long.
    Strict,
}

/// How files are read.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentOptions {
    /// Which piece of every `.txt` file is read. Other files have no pieces and are refused.
    pub part: Part,
    pub on_error: OnError,
    /// Longer documents are read in pieces of at most so many bytes, each a document of its own.
    pub most_bytes: usize,
}

/// A place between two documents, from which another reader of the same files goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Files that are finished.
    pub file_index: u64,
    /// Lines of the next file that are behind, or pieces of it where it is one text.
    pub line_index: u64,
    /// Pieces of the line in hand that are behind.
    pub piece_index: u64,
}

/// An iterator over the documents of some files. After an error it ends.
pub struct Documents {
    source: Box<dyn TextSource>,
    options: DocumentOptions,
    files: Vec<(PathBuf, TextFormat)>,
    reading: Option<Reading>,
    /// What the line in hand holds: a document, or the pieces of a long one.
    waiting: VecDeque<Document>,
    /// Lines of the file that are behind when nothing waits.
    line_index: u64,
    /// Behind the last document that was given out.
    place: Place,
    oddities: Oddities,
}

/// The file that is open.
enum Reading {
    Lines(JsonLines),
    Text(PlainText),
    #[cfg(feature = "arrow")]
    Rows(Box<ArrowRows>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetRows>),
    /// A part of a text, which is read in one go.
    Part(Option<ByteReader>),
}

impl Default for DocumentOptions {
    fn default() -> Self {
        Self { part: Part::Whole, on_error: OnError::Fail, most_bytes: usize::MAX }
    }
}

impl Document {
    /// A document of this name.
    pub fn new(id: String, text: Vec<u8>) -> Self {
        Self { id, text, entropies: Vec::new() }
    }
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
            if format.kind != TextKind::Plain && options.part != Part::Whole {
                return Err(Error::input(
                    path.display().to_string(),
                    format!("expected a .txt file to take {:?} of, got {format}", options.part),
                )
                .with_hint("hold out a file of its own, or whole documents"));
            }
            source.check(path).map_err(|error| Error::io("open", path, error))?;
            match format.kind {
                TextKind::Arrow => check_arrow(source.as_ref(), path)?,
                TextKind::Parquet => check_parquet(path)?,
                TextKind::Plain | TextKind::JsonLines => {}
            }
            files.push((path.to_path_buf(), format));
        }
        Ok(Self {
            source,
            options,
            files,
            reading: None,
            waiting: VecDeque::new(),
            line_index: 0,
            place: Place::default(),
            oddities: Oddities::default(),
        })
    }

    /// What has gone by so far.
    pub fn counts(&self) -> DocumentCounts {
        self.oddities.counts
    }

    /// Sentences about what was odd since the last call: the first few of each kind, by name.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.oddities.take_notes()
    }

    /// Behind the document that was given out last.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Goes to where another reader of the same files stood; what lies before it is passed over
    /// without a look at it, and in no count.
    ///
    /// # Errors
    /// Files that are shorter or fewer than then, or that cannot be read.
    pub fn seek(&mut self, place: Place) -> Result<()> {
        let oddities = self.oddities.clone();
        (self.reading, self.waiting, self.line_index) = (None, VecDeque::new(), 0);
        self.place = Place { file_index: place.file_index, ..Place::default() };
        let is_there = place == self.place || self.pass_over(place)?;
        self.oddities = oddities;
        self.place = place;
        if is_there {
            return Ok(());
        }
        let file = usize::try_from(place.file_index).ok().and_then(|index| self.files.get(index));
        let name = file.map_or_else(|| "text files".into(), |(path, _)| path.display().to_string());
        let problem = "this text is shorter than when the place in it was noted";
        Err(Error::input(name, problem)
            .with_hint("go on over the texts as they were, or begin again"))
    }

    /// Goes to a place within the next file, which may not be there.
    fn pass_over(&mut self, place: Place) -> Result<bool> {
        if !self.begin_file()? {
            return Ok(false);
        }
        let is_there = match self.reading.as_mut().expect("a file was begun") {
            Reading::Lines(lines) => lines.skip(place.line_index)?,
            #[cfg(feature = "arrow")]
            Reading::Rows(rows) => rows.skip(place.line_index)?,
            #[cfg(feature = "parquet")]
            Reading::Parquet(rows) => rows.skip(place.line_index)?,
            Reading::Text(text) => {
                let mut is_there = true;
                for _ in 0..place.line_index {
                    is_there &= text.next_piece()?.is_some();
                }
                is_there
            }
            Reading::Part(reader) => {
                *reader = reader.take().filter(|_| place.line_index == 0);
                true
            }
        };
        (self.line_index, self.place.line_index) = (place.line_index, place.line_index);
        if !is_there || place.piece_index == 0 {
            return Ok(is_there);
        }
        let wanted = self.place;
        let is_same = self.next_line()? && self.place == wanted;
        let count = place.piece_index as usize;
        let is_there = is_same && count < self.waiting.len();
        self.waiting.drain(..count.min(self.waiting.len()));
        Ok(is_there)
    }

    /// The next document that is not empty.
    fn next_document(&mut self) -> Result<Option<Document>> {
        loop {
            while self.waiting.is_empty() {
                if !self.next_line()? {
                    return Ok(None);
                }
            }
            let document = self.waiting.pop_front().expect("something waits");
            if self.waiting.is_empty() {
                self.place = Place { line_index: self.line_index, piece_index: 0, ..self.place };
            } else {
                self.place.piece_index += 1;
            }
            if document.text.is_empty() {
                let error = Error::input(&document.id, "this document is empty");
                self.odd(Oddity::Empty, error)?;
                continue;
            }
            if let Some((oddity, error)) = oddity_of(&document) {
                self.odd(oddity, error)?;
            }
            self.oddities.counts.document_count += 1;
            self.oddities.counts.text_bytes += document.text.len() as u64;
            return Ok(Some(document));
        }
    }

    /// Reads the next line, whatever it holds; false at the end of the last file.
    fn next_line(&mut self) -> Result<bool> {
        if self.reading.is_none() && !self.begin_file()? {
            return Ok(false);
        }
        let path = &self.files[self.place.file_index as usize].0;
        let most_bytes = self.options.most_bytes;
        let (found, is_long) = match self.reading.as_mut().expect("a file was begun") {
            Reading::Lines(lines) => {
                let line = lines.next_line()?;
                self.line_index = lines.line_number();
                match line {
                    Some(Line::Malformed(error)) => return self.malformed(error),
                    Some(Line::Document(document)) => (Some(document), None),
                    None => (None, None),
                }
            }
            #[cfg(feature = "parquet")]
            Reading::Parquet(rows) => {
                let row = rows.next_row()?;
                self.line_index = rows.row_count();
                match row {
                    Some(Line::Malformed(error)) => return self.malformed(error),
                    Some(Line::Document(document)) => (Some(document), None),
                    None => (None, None),
                }
            }
            #[cfg(feature = "arrow")]
            Reading::Rows(rows) => {
                let row = rows.next_row()?;
                self.line_index = rows.row_count();
                // Its entropies are those of the whole.
                (row, Some(false))
            }
            Reading::Text(text) => {
                self.line_index += 1;
                match text.next_piece()? {
                    Some((document, is_long)) => (Some(document), Some(is_long)),
                    None => (None, None),
                }
            }
            Reading::Part(reader) => {
                self.line_index += 1;
                let part = |reader| piece(path, reader, &self.options.part);
                (reader.take().map(part).transpose()?, None)
            }
        };
        let Some(document) = found else {
            self.reading = None;
            self.line_index = 0;
            self.place = Place { file_index: self.place.file_index + 1, ..Place::default() };
            return Ok(true);
        };
        if is_long.unwrap_or(document.text.len() > most_bytes) {
            let problem = format!("longer than {most_bytes} bytes, read in pieces");
            let name = document.id.split_once('[').filter(|_| is_long.is_some());
            let name = name.map_or(document.id.as_str(), |(name, _)| name);
            self.odd(Oddity::Long, Error::input(name, problem))?;
        }
        match document.text.len() > most_bytes && document.entropies.is_empty() {
            true => self.waiting = pieces(document, most_bytes).into(),
            false => self.waiting.push_back(document),
        }
        Ok(true)
    }

    /// Opens the next file; false where there is none.
    fn begin_file(&mut self) -> Result<bool> {
        let index = usize::try_from(self.place.file_index).unwrap_or(usize::MAX);
        let Some((path, format)) = self.files.get(index) else { return Ok(false) };
        let reader = open(self.source.as_ref(), path, format.compression)?;
        self.reading = Some(match (format.kind, &self.options.part) {
            (TextKind::JsonLines, _) => Reading::Lines(JsonLines::new(path, reader)),
            #[cfg(feature = "arrow")]
            (TextKind::Arrow, _) => Reading::Rows(Box::new(ArrowRows::new(path, reader)?)),
            #[cfg(not(feature = "arrow"))]
            (TextKind::Arrow, _) => unreachable!("such files were refused"),
            #[cfg(feature = "parquet")]
            (TextKind::Parquet, _) => {
                drop(reader);
                let file = self.source.open_file(path);
                let file = file.map_err(|error| Error::io("open", path, error))?;
                Reading::Parquet(Box::new(ParquetRows::new(path, file)?))
            }
            #[cfg(not(feature = "parquet"))]
            (TextKind::Parquet, _) => unreachable!("such files were refused"),
            (TextKind::Plain, Part::Whole) => {
                Reading::Text(PlainText::new(path, reader, self.options.most_bytes))
            }
            (TextKind::Plain, _) => Reading::Part(Some(reader)),
        });
        Ok(true)
    }

    /// Leaves out the line that has just been read, or stops at it.
    fn malformed(&mut self, error: Error) -> Result<bool> {
        self.place.line_index = self.line_index;
        if self.options.on_error == OnError::Fail {
            return Err(error);
        }
        self.odd(Oddity::Malformed, error)?;
        Ok(true)
    }

    /// Counts something odd, or stops at it.
    fn odd(&mut self, oddity: Oddity, error: Error) -> Result<()> {
        if self.options.on_error == OnError::Strict {
            return Err(error);
        }
        self.oddities.add(oddity, &error);
        Ok(())
    }

    /// No further documents.
    fn end(&mut self) {
        self.files.clear();
        self.waiting.clear();
        self.reading = None;
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

/// That a file says of itself that it is whole.
#[cfg(feature = "arrow")]
fn check_arrow(source: &dyn TextSource, path: &Path) -> Result<()> {
    let marker = complete_marker(path);
    source.check(&marker).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let problem = format!("expected {} beside it, got none", marker.display());
            Error::input(path.display().to_string(), problem)
                .with_hint("it was not written to its end; `blt entropies` goes on with it")
        }
        _ => Error::io("open", &marker, error),
    })
}

#[cfg(not(feature = "arrow"))]
fn check_arrow(_source: &dyn TextSource, path: &Path) -> Result<()> {
    let problem = "this build reads no Arrow files";
    Err(Error::input(path.display().to_string(), problem)
        .with_hint("build it with the feature `arrow`"))
}

/// That this build reads Parquet files.
fn check_parquet(path: &Path) -> Result<()> {
    if cfg!(feature = "parquet") {
        return Ok(());
    }
    let problem = "this build reads no Parquet files";
    Err(Error::input(path.display().to_string(), problem)
        .with_hint("build it with the feature `parquet`"))
}

#[cfg(test)]
#[path = "documents_test.rs"]
mod tests;
