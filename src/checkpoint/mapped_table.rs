//! A table whose rows are read from the mapped file when they are needed.

use super::model_directory::ModelDirectory;
use crate::blt::TableRows;
use crate::error::Result;

/// A parameter of a directory, which stays open.
pub(super) struct MappedTable {
    pub directory: ModelDirectory,
    pub name: String,
}

impl TableRows for MappedTable {
    fn read_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.directory.read_rows(&self.name, row..row + 1, out)
    }
}
