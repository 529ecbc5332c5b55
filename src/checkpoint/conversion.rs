//! The job behind `blt convert`: a model directory written anew in another layout or type.

use std::io::Write;
use std::path::Path;

use super::atomic::atomic_write;
use super::atomic_directory::AtomicDirectory;
use super::load::PIECE_ELEMENTS;
use super::model_directory::ModelDirectory;
use super::model_writer::ModelWriter;
use super::write_plan::WriteOptions;
use crate::blt::parameters::ParameterSpec;
use crate::error::Result;

/// The file with the model card.
const CARD_FILE: &str = "README.md";

/// A conversion, step by step. Until [`Self::commit`] the result stands beside its place, and is
/// removed if the conversion is dropped.
#[derive(Debug)]
pub struct Conversion<'a> {
    source: &'a ModelDirectory,
    directory: AtomicDirectory,
    /// `None` once all weights are on the disk.
    writer: Option<ModelWriter>,
    /// The next rows to write.
    parameter_index: usize,
    row: usize,
    /// Elements that have been written.
    written: u64,
    staging: Vec<f32>,
}

impl<'a> Conversion<'a> {
    /// Begins to write `source` at `path`, where nothing may be yet.
    ///
    /// # Errors
    ///
    /// A place that is taken, a layout that has no words for the model, or a disk that refuses.
    pub fn begin(
        source: &'a ModelDirectory,
        path: impl AsRef<Path>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let directory = AtomicDirectory::create(path)?;
        let options = WriteOptions { kept: Some(source), ..*options };
        let writer = ModelWriter::create_with(directory.partial(), source.config(), &options)?;
        let (parameter_index, row, written, staging) = (0, 0, 0, Vec::new());
        let writer = Some(writer);
        Ok(Self { source, directory, writer, parameter_index, row, written, staging })
    }

    /// Elements that have been written, and all there are.
    pub fn progress(&self) -> (u64, u64) {
        let all = self.source.parameters().iter().map(ParameterSpec::element_count).sum();
        (self.written, all)
    }

    /// Writes some rows; false when there is nothing left to write.
    ///
    /// # Errors
    ///
    /// A weight that is not finite or too large for its type, or a disk that refuses.
    pub fn step(&mut self) -> Result<bool> {
        let Some(writer) = &mut self.writer else { return Ok(false) };
        let Some(parameter) = self.source.parameters().get(self.parameter_index) else {
            self.writer.take().expect("it was there above").commit()?;
            return Ok(false);
        };
        let rest = ParameterSpec { rows: parameter.rows - self.row, ..parameter.clone() };
        let length = rest.row_pieces(PIECE_ELEMENTS).next().map_or(0, |rows| rows.len());
        let rows = self.row..self.row + length;
        self.staging.resize(length * parameter.cols, 0.0);
        self.source.read_rows(&parameter.name, rows.clone(), &mut self.staging)?;
        writer.push(&parameter.name, &self.staging)?;
        self.written += self.staging.len() as u64;
        (self.parameter_index, self.row) = match rows.end == parameter.rows {
            true => (self.parameter_index + 1, 0),
            false => (self.parameter_index, rows.end),
        };
        Ok(true)
    }

    /// The result, opened where it is for now.
    ///
    /// # Errors
    ///
    /// As [`ModelDirectory::open`].
    ///
    /// # Panics
    ///
    /// If there is something left to write.
    pub fn result(&self) -> Result<ModelDirectory> {
        assert!(self.writer.is_none(), "everything is written");
        ModelDirectory::open(self.directory.partial())
    }

    /// Puts the result in its place, with this text as its model card.
    ///
    /// # Errors
    ///
    /// A disk that refuses.
    ///
    /// # Panics
    ///
    /// If there is something left to write.
    pub fn commit(self, card: &str) -> Result<()> {
        assert!(self.writer.is_none(), "everything is written");
        let path = self.directory.partial().join(CARD_FILE);
        atomic_write(path, |file: &mut dyn Write| file.write_all(card.as_bytes()))?;
        self.directory.commit()
    }
}
