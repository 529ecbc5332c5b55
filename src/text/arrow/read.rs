//! Rows out of an Arrow IPC file, from front to back.
//!
//! Such a file is a magic word, a stream, and a footer that ends in the magic word. It is read as
//! the stream, which needs no seeking, and the end is looked at, so that a cut is noticed.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::Float16Type;
use arrow_array::{Array, LargeStringArray, ListArray, RecordBatch, StringArray};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType, Schema};

use super::layout::{END_IDS, ENTROPIES, SAMPLE_ID, TEXT};
use crate::error::{Error, Result};
use crate::text::documents::Document;
use crate::text::source::ByteReader;

const MAGIC: &[u8; 6] = b"ARROW1";

/// The rows of one file.
pub struct ArrowRows {
    path: PathBuf,
    stream: StreamReader<BufReader<ByteReader>>,
    columns: Columns,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    index: usize,
    /// Rows of the file that are behind.
    row_count: u64,
}

#[derive(Clone, Copy)]
struct Columns {
    sample_id: usize,
    text: usize,
    entropies: usize,
}

impl ArrowRows {
    /// # Errors
    /// A file that is no Arrow file, or has other columns.
    pub fn new(path: &Path, reader: ByteReader) -> Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let mut begin = [0; 8];
        let is_arrow = reader.read_exact(&mut begin).is_ok() && begin.starts_with(MAGIC);
        if !is_arrow {
            return Err(wrong(path, "expected an Arrow IPC file, which begins with ARROW1"));
        }
        skip_padding(&mut reader).map_err(|error| Error::io("read", path, error))?;
        let stream = StreamReader::try_new(reader, None).map_err(|error| damaged(path, &error))?;
        let columns = Columns::of(&stream.schema()).map_err(|problem| wrong(path, &problem))?;
        let path = path.to_path_buf();
        Ok(Self { path, stream, columns, batch: None, index: 0, row_count: 0 })
    }

    /// Rows that are behind.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// The next row; nothing at the end.
    ///
    /// # Errors
    /// A file that is cut or damaged; a row with nulls, or with another number of entropies than
    /// its text has bytes, and two for the ids around them.
    pub fn next_row(&mut self) -> Result<Option<Document>> {
        if !self.fill()? {
            return Ok(None);
        }
        let batch = self.batch.as_ref().expect("it has just been filled");
        let row = self.columns.row(batch, self.index).map_err(|problem| {
            Error::input(format!("{}: row {}", self.path.display(), self.row_count), problem)
        })?;
        self.index += 1;
        self.row_count += 1;
        Ok(Some(row))
    }

    /// Passes over so many rows without a look at them; false where the file has fewer.
    ///
    /// # Errors
    /// A file that is cut or damaged.
    pub fn skip(&mut self, row_count: u64) -> Result<bool> {
        let mut left = row_count;
        while left > 0 {
            if !self.fill()? {
                return Ok(false);
            }
            let held = self.batch.as_ref().map_or(0, RecordBatch::num_rows) - self.index;
            let gone = usize::try_from(left).map_or(held, |left| held.min(left));
            self.index += gone;
            left -= gone as u64;
            self.row_count += gone as u64;
        }
        Ok(true)
    }

    /// Makes sure that there is a next row in the batch; false at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        while self.batch.as_ref().is_none_or(|batch| self.index >= batch.num_rows()) {
            self.index = 0;
            self.batch = match self.stream.next() {
                Some(batch) => Some(batch.map_err(|error| damaged(&self.path, &error))?),
                None => {
                    self.batch = None;
                    self.check_end()?;
                    return Ok(false);
                }
            };
        }
        Ok(true)
    }

    /// The footer ends in the magic word; what was cut has none.
    fn check_end(&mut self) -> Result<()> {
        let mut end = Vec::new();
        self.stream
            .get_mut()
            .read_to_end(&mut end)
            .map_err(|error| Error::io("read", &self.path, error))?;
        match end.ends_with(MAGIC) {
            true => Ok(()),
            false => Err(wrong(&self.path, "this Arrow file ends before its footer")
                .with_hint("it was not written to its end, or cut afterwards: make it again")),
        }
    }
}

impl Columns {
    fn of(schema: &Schema) -> Result<Self, String> {
        let find = |name: &str, is_right: fn(&DataType) -> bool, expected: &str| {
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let (index, field) = schema.column_with_name(name).ok_or_else(|| {
                format!("expected a column {name:?}, got only {:?}", names.join(", "))
            })?;
            match is_right(field.data_type()) {
                true => Ok(index),
                false => {
                    Err(format!("column {name:?}: expected {expected}, got {}", field.data_type()))
                }
            }
        };
        let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8);
        let is_halves = |kind: &DataType| match kind {
            DataType::List(item) => *item.data_type() == DataType::Float16,
            _ => false,
        };
        Ok(Self {
            sample_id: find(SAMPLE_ID, is_text, "utf8")?,
            text: find(TEXT, is_text, "utf8")?,
            entropies: find(ENTROPIES, is_halves, "a list of float16")?,
        })
    }

    fn row(&self, batch: &RecordBatch, index: usize) -> Result<Document, String> {
        for (column, name) in
            [(self.sample_id, SAMPLE_ID), (self.text, TEXT), (self.entropies, ENTROPIES)]
        {
            if batch.column(column).is_null(index) {
                return Err(format!("expected a value in column {name:?}, got null"));
            }
        }
        let string = |column: usize| {
            let array = batch.column(column);
            let short = array.as_any().downcast_ref::<StringArray>().map(|it| it.value(index));
            let long = || array.as_any().downcast_ref::<LargeStringArray>();
            short.or_else(|| long().map(|it| it.value(index))).unwrap_or_default().to_owned()
        };
        let lists: &ListArray = batch.column(self.entropies).as_list();
        let values = lists.value(index);
        let halves = values.as_primitive::<Float16Type>();
        if halves.null_count() > 0 {
            return Err("expected entropies, got null among them".into());
        }
        let text = string(self.text).into_bytes();
        let (expected, got) = (text.len() + END_IDS, halves.len());
        if got != expected {
            return Err(format!(
                "expected {expected} entropies for a text of {} bytes and two ends, got {got}",
                text.len()
            ));
        }
        let mut document = Document::new(string(self.sample_id), text);
        document.entropies = halves.values().to_vec();
        Ok(document)
    }
}

/// Some writers align the stream to more than the eight bytes of the magic word.
fn skip_padding(reader: &mut impl BufRead) -> io::Result<()> {
    while reader.fill_buf()?.starts_with(&[0; 8]) {
        reader.consume(8);
    }
    Ok(())
}

fn wrong(path: &Path, problem: &str) -> Error {
    Error::input(path.display().to_string(), problem)
}

fn damaged(path: &Path, error: &ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => {
            Error::io("read", path, io::Error::new(source.kind(), source.to_string()))
        }
        other => wrong(path, &format!("this Arrow file is damaged: {other}")),
    }
}
