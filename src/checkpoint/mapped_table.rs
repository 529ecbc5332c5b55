//! A table whose rows are read from the mapped file when they are needed.

use super::model_directory::ModelDirectory;
use crate::blt::TableRows;
use crate::error::Result;

/// A parameter of a directory, which stays open.
pub(super) struct MappedTable {
    directory: ModelDirectory,
    /// Which of its parameters: looked up once, and not for every row.
    index: usize,
}

impl MappedTable {
    /// # Errors
    ///
    /// [`Error::Model`](crate::error::Error::Model) if there is no such parameter.
    pub fn new(directory: ModelDirectory, name: &str) -> Result<Self> {
        let index = directory.index_of(name)?;
        Ok(Self { directory, index })
    }
}

impl TableRows for MappedTable {
    fn read_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.directory.read_rows_at(self.index, row..row + 1, out)
    }
}
