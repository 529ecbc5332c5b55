//! What the files are like, and the marker beside them.

use std::path::{Path, PathBuf};

/// Rows of a record batch.
pub const BATCH_ROWS: usize = 1000;

/// Ids of a document beside its bytes: one in front, one behind.
pub const END_IDS: usize = 2;

pub(super) const SAMPLE_ID: &str = "sample_id";
pub(super) const TEXT: &str = "text";
pub(super) const ENTROPIES: &str = "entropies";

/// The file that says that another was written to its end.
pub fn complete_marker(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".complete");
    PathBuf::from(name)
}
