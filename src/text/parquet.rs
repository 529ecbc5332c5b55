//! Documents out of a Parquet file, a row each: the text under `text` or else `content`, the name
//! under the keys that JSON lines have too, or else `file:row`, counted from 0.

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::documents::Document;
use super::json_lines::{ID_KEYS, Line, TEXT_KEYS};
use super::source::StoredFile;
use crate::error::{Error, Result};

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 256;

/// The rows of one file.
pub(super) struct ParquetRows {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    text: String,
    id: Option<String>,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    index: usize,
    /// Rows of the file that are behind.
    row_count: u64,
}

impl ParquetRows {
    /// # Errors
    /// A file that is no Parquet file, or has no column of text.
    pub fn new(path: &Path, file: StoredFile) -> Result<Self> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| damaged(path, &error.to_string()))?;
        let schema = builder.schema();
        let column = |names: &[&str], is_right: fn(&DataType) -> bool| {
            let found = names.iter().find(|name| {
                schema.column_with_name(name).is_some_and(|(_, it)| is_right(it.data_type()))
            });
            found.map(|name| (*name).to_owned())
        };
        let text = column(&TEXT_KEYS, is_text).ok_or_else(|| {
            let problem = format!(
                "expected a column of strings called \"text\" or \"content\", \
                 got {}",
                names(schema)
            );
            Error::input(path.display().to_string(), problem)
        })?;
        let id = column(&ID_KEYS, |kind| {
            is_text(kind) || matches!(kind, DataType::Int32 | DataType::Int64)
        });
        let wanted = [Some(text.as_str()), id.as_deref()];
        let mask = ProjectionMask::columns(builder.parquet_schema(), wanted.into_iter().flatten());
        let batches = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| damaged(path, &error.to_string()))?;
        let path = path.to_path_buf();
        Ok(Self { path, batches, text, id, batch: None, index: 0, row_count: 0 })
    }

    /// Rows that are behind.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// The next row; nothing at the end.
    ///
    /// # Errors
    /// A file that is cut or damaged.
    pub fn next_row(&mut self) -> Result<Option<Line>> {
        if !self.fill()? {
            return Ok(None);
        }
        let batch = self.batch.as_ref().expect("it has just been filled");
        let place = format!("{}:{}", self.path.display(), self.row_count);
        let value = |name: &str| batch.column_by_name(name).and_then(|it| shown(it, self.index));
        let line = match value(&self.text) {
            Some(text) => {
                let id = self.id.as_deref().and_then(value).unwrap_or(place);
                Line::Document(Document::new(id, text.into_bytes()))
            }
            None => {
                let problem = format!("expected a string under {:?}, got null", self.text);
                Line::Malformed(Error::input(place, problem))
            }
        };
        self.index += 1;
        self.row_count += 1;
        Ok(Some(line))
    }

    /// Passes over so many rows without a look at them; false where the file has fewer.
    ///
    /// # Errors
    /// A file that is cut or damaged.
    pub fn skip(&mut self, row_count: u64) -> Result<bool> {
        for _ in 0..row_count {
            if !self.fill()? {
                return Ok(false);
            }
            self.index += 1;
            self.row_count += 1;
        }
        Ok(true)
    }

    /// Makes sure that there is a next row in the batch; false at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        while self.batch.as_ref().is_none_or(|batch| self.index >= batch.num_rows()) {
            self.index = 0;
            self.batch = match self.batches.next() {
                None => return Ok(false),
                Some(batch) => {
                    Some(batch.map_err(|error| damaged(&self.path, &error.to_string()))?)
                }
            };
        }
        Ok(true)
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A value as text; `None` for null.
fn shown(column: &dyn Array, index: usize) -> Option<String> {
    if column.is_null(index) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(index).to_owned(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(index).to_owned(),
        DataType::Utf8View => column.as_string_view().value(index).to_owned(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(index).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(index).to_string(),
        other => unreachable!("no column of {other} was chosen"),
    })
}

fn names(schema: &Schema) -> String {
    let fields = schema.fields().iter();
    let shown: Vec<_> = fields.map(|it| format!("{} ({})", it.name(), it.data_type())).collect();
    shown.join(", ")
}

fn damaged(path: &Path, problem: &str) -> Error {
    Error::input(path.display().to_string(), format!("this Parquet file is damaged: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, LargeStringArray, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::text::{DocumentOptions, Documents, OnError};

    fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn rows_are_documents() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.parquet");
        let count = 600;
        let texts = (0..count).map(|index| (index != 7).then(|| format!("text {index}")));
        write(
            &path,
            vec![
                ("other", Arc::new(Int64Array::from_iter_values(0..count))),
                ("content", Arc::new(LargeStringArray::from_iter(texts))),
                ("qid", Arc::new(Int64Array::from_iter_values(100..100 + count))),
            ],
        );
        let options = DocumentOptions { on_error: OnError::Skip, ..Default::default() };
        let open = || Documents::open(&[&path], options.clone()).unwrap();
        let mut documents = open();
        let found: Vec<_> = documents.by_ref().map(Result::unwrap).collect();
        assert_eq!((found.len(), documents.counts().malformed_count), (599, 1));
        assert_eq!((found[599 - 1].id.as_str(), &found[7].text[..]), ("699", &b"text 8"[..]));
        let mut first = open();
        let taken = first.by_ref().take(300).count();
        let mut second = open();
        second.seek(first.place()).unwrap();
        assert_eq!(second.map(Result::unwrap).collect::<Vec<_>>(), found[taken..]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.parquet");
        let open = || Documents::open(&[&path], DocumentOptions::default()).unwrap();
        write(&path, vec![("x", Arc::new(StringArray::from(vec!["a"])))]);
        let error = open().next().unwrap().unwrap_err().to_string();
        assert!(error.contains("\"text\" or \"content\", got x (Utf8)"), "{error}");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let error = open().next().unwrap().unwrap_err().to_string();
        assert!(error.contains("a.parquet: this Parquet file is damaged"), "{error}");
    }
}
