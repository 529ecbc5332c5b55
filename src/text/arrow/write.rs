//! Documents and their entropies into an Arrow IPC file.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{Float16Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use half::f16;

use super::layout::{BATCH_ROWS, END_IDS, ENTROPIES, SAMPLE_ID, TEXT};
use crate::error::{Error, Result};

/// Bytes of text after which a record batch ends before its thousandth row: offsets in it are of 32
/// bits.
const BATCH_BYTES: usize = 1 << 29;

/// A file in the making.
pub struct EntropyWriter<W: Write> {
    /// What the file is called in errors.
    name: String,
    file: FileWriter<W>,
    schema: Arc<Schema>,
    ids: StringBuilder,
    texts: StringBuilder,
    entropies: ListBuilder<Float16Builder>,
    batch_rows: usize,
    batch_bytes: usize,
    row_count: u64,
}

impl<W: Write> EntropyWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What the writer underneath says.
    pub fn new(name: impl Into<String>, out: W) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![
            Field::new(SAMPLE_ID, DataType::Utf8, false),
            Field::new(TEXT, DataType::Utf8, false),
            Field::new(ENTROPIES, DataType::List(item()), false),
        ]));
        let name = name.into();
        // Aligned as pyarrow does.
        let file = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)
            .and_then(|options| FileWriter::try_new_with_options(out, &schema, options))
            .map_err(|error| failed(&name, error))?;
        Ok(Self {
            name,
            file,
            schema,
            ids: StringBuilder::new(),
            texts: StringBuilder::new(),
            entropies: list_builder(),
            batch_rows: 0,
            batch_bytes: 0,
            row_count: 0,
        })
    }

    /// Rows so far.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Adds a document: an entropy in nats for every byte and the two ids around them, which is
    /// rounded to f16.
    ///
    /// # Errors
    /// Another number of entropies; a full disk.
    pub fn push(
        &mut self,
        id: &str,
        text: &str,
        entropies: impl ExactSizeIterator<Item = f16>,
    ) -> Result<()> {
        if entropies.len() != text.len() + END_IDS {
            let (expected, got) = (text.len() + END_IDS, entropies.len());
            let problem = format!("expected {expected} entropies, got {got}");
            return Err(Error::input(format!("{}: document {id}", self.name), problem));
        }
        if self.batch_rows == BATCH_ROWS || self.batch_bytes + text.len() > BATCH_BYTES {
            self.write_batch()?;
        }
        self.ids.append_value(id);
        self.texts.append_value(text);
        entropies.for_each(|value| self.entropies.values().append_value(value));
        self.entropies.append(true);
        self.batch_rows += 1;
        self.batch_bytes += text.len() + id.len();
        self.row_count += 1;
        Ok(())
    }

    /// Ends the file and gives back what was written to.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(mut self) -> Result<W> {
        self.write_batch()?;
        let Self { name, mut file, .. } = self;
        file.finish().and_then(|()| file.into_inner()).map_err(|error| failed(&name, error))
    }

    fn write_batch(&mut self) -> Result<()> {
        if self.batch_rows == 0 {
            return Ok(());
        }
        (self.batch_rows, self.batch_bytes) = (0, 0);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.texts.finish()),
            Arc::new(self.entropies.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .and_then(|batch| self.file.write(&batch))
            .and_then(|()| self.file.flush())
            .map_err(|error| failed(&self.name, error))
    }
}

/// The field of an entropy, named as Arrow libraries do.
fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float16, true))
}

fn list_builder() -> ListBuilder<Float16Builder> {
    ListBuilder::new(Float16Builder::new()).with_field(item())
}

fn failed(name: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("write", name, source),
        other => Error::input(name, format!("cannot be written: {other}")),
    }
}
