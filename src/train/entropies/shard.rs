//! A shard on disk: in the making, taken over, complete.
//!
//! In the making it is `.NAME.partial`. What an earlier process left of that becomes
//! `.NAME.before`, from which rows are taken over, and goes when the shard is complete.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use half::f16;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{atomic_write, sync_directory};
use crate::error::{Error, Result};
use crate::text::arrow::{ArrowRows, EntropyWriter, complete_marker};
use crate::text::{Document, Files, TextSource};

/// What shards of a text file are named after: its own name, without compression.
pub fn source_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = [".zst", ".gz"].iter().find_map(|end| {
        let at = name.len().checked_sub(end.len())?;
        name.get(at..)?.eq_ignore_ascii_case(end).then(|| name[..at].to_owned())
    });
    stem.unwrap_or_else(|| name.into_owned())
}

/// The name of a shard of the file that is called so.
pub fn shard_name(source_name: &str, shard_index: u64) -> String {
    format!("{source_name}.shard_{shard_index:02}.arrow")
}

/// The file that says that all shards of a text are there.
pub(super) fn all_complete_marker(out: &Path, source_name: &str) -> PathBuf {
    out.join(format!("{source_name}.shard.COMPLETE"))
}

/// A text as it was when shards of it were made; it is written into their markers, of which the
/// reference only looks whether they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextState {
    /// Bytes of the file, as it is stored.
    bytes: u64,
    /// When it was last written to, in nanoseconds since 1970; 0 where that is not known.
    modified_ns: u64,
}

impl TextState {
    /// A text as it is.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn of(path: &Path) -> Result<Self> {
        let found = fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        let modified = found.modified().ok();
        let since = modified.and_then(|it| it.duration_since(std::time::UNIX_EPOCH).ok());
        let modified_ns = since.and_then(|it| u64::try_from(it.as_nanos()).ok()).unwrap_or(0);
        Ok(Self { bytes: found.len(), modified_ns })
    }
}

/// Whether a shard is complete, and of the text as it is.
pub(super) fn is_complete(path: &Path, text: &TextState) -> bool {
    path.exists() && is_of(&complete_marker(path), text)
}

/// Whether a marker is there, and of the text as it is.
pub(super) fn is_of(marker: &Path, text: &TextState) -> bool {
    let written = fs::read(marker).ok();
    let state = written.and_then(|written| serde_json::from_slice::<TextState>(&written).ok());
    state.as_ref() == Some(text)
}

/// Writes a marker.
///
/// # Errors
/// A full disk.
pub(super) fn write_marker(path: &Path, text: &TextState) -> Result<()> {
    let text = serde_json::to_string(text).expect("numbers become JSON") + "\n";
    atomic_write(path, |file| file.write_all(text.as_bytes()))
}

/// Takes a shard away, its marker first.
///
/// # Errors
/// What the disk says.
pub(super) fn remove_shard(path: &Path) -> Result<()> {
    remove(&complete_marker(path))?;
    remove(path)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// A shard in the making.
pub(super) struct Shard {
    path: PathBuf,
    text: TextState,
    writer: EntropyWriter<BufWriter<File>>,
}

impl Shard {
    /// Begins a shard anew.
    ///
    /// # Errors
    /// What the disk says.
    pub fn begin(path: PathBuf, text: TextState) -> Result<Self> {
        let partial = beside(&path, "partial");
        let file = File::create(&partial).map_err(|error| Error::io("create", &partial, error))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let writer = EntropyWriter::new(partial.display().to_string(), file)?;
        Ok(Self { path, text, writer })
    }

    /// Adds a document.
    ///
    /// # Errors
    /// A full disk.
    pub fn push(&mut self, id: &str, text: &str, entropies: &[f16]) -> Result<()> {
        self.writer.push(id, text, entropies.iter().copied())
    }

    /// Puts what is there on the disk, to be taken over another time.
    ///
    /// # Errors
    /// A full disk.
    pub fn leave(self) -> Result<()> {
        let partial = beside(&self.path, "partial");
        self.sync(&partial)
    }

    /// Puts the shard in its place and its marker beside it.
    ///
    /// # Errors
    /// A full disk.
    pub fn complete(self) -> Result<PathBuf> {
        let (path, text) = (self.path.clone(), self.text);
        let partial = beside(&path, "partial");
        self.sync(&partial)?;
        fs::rename(&partial, &path).map_err(|error| Error::io("rename", &path, error))?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))?;
        write_marker(&complete_marker(&path), &text)?;
        // Nobody looks at it again; one that stays takes room and nothing else.
        let _ = fs::remove_file(beside(&path, "before"));
        Ok(path)
    }

    fn sync(self, partial: &Path) -> Result<()> {
        let failed = |error| Error::io("write", partial, error);
        let file =
            self.writer.finish()?.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    }
}

/// The rows that an earlier process left of a shard.
pub(super) struct Before {
    rows: Option<ArrowRows>,
}

impl Before {
    /// Looks for them. Of several generations the longest counts: the younger begins with the rows
    /// of the older, and may have ended before it came as far. A shard that is there, and yet to be
    /// made, is of a text that has changed since, and is one of them.
    ///
    /// # Errors
    /// What the disk says.
    pub fn find(path: &Path) -> Result<Self> {
        let (partial, before) = (beside(path, "partial"), beside(path, "before"));
        let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
        let rename = |from: &Path| {
            fs::rename(from, &before).map_err(|error| Error::io("rename", from, error))
        };
        if size(&partial) > size(&before) {
            rename(&partial)?;
        }
        // It is not complete any more, whatever happens now.
        remove(&complete_marker(path))?;
        if size(path) > size(&before) {
            rename(path)?;
        }
        // A file too short to be read has no rows.
        let rows = Files.open(&before).ok().and_then(|file| ArrowRows::new(&before, file).ok());
        Ok(Self { rows })
    }

    /// The entropies of the next row, if it is of this document. Behind the first that is not, and
    /// where the file ends, there are none.
    pub fn take(&mut self, document: &Document) -> Option<Vec<f16>> {
        let next = self.rows.as_mut()?.next_row();
        match next {
            Ok(Some(row)) if row.id == document.id && row.text == document.text => {
                Some(row.entropies)
            }
            _ => {
                self.rows = None;
                None
            }
        }
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_after_their_text() {
        assert_eq!(source_name(Path::new("a/web.chunk.07.jsonl.zst")), "web.chunk.07.jsonl");
        assert_eq!(source_name(Path::new("b.TXT.GZ")), "b.TXT");
        assert_eq!(source_name(Path::new("b.txt")), "b.txt");
        assert_eq!(shard_name("web.chunk.07.jsonl", 3), "web.chunk.07.jsonl.shard_03.arrow");
        assert_eq!(shard_name("t.txt", 123), "t.txt.shard_123.arrow");
    }

    #[test]
    fn rows_of_the_same_documents_are_taken_over() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("t.jsonl.shard_00.arrow");
        let text = TextState { bytes: 3, modified_ns: 5 };
        let document = |index: usize| Document::new(format!("d{index}"), b"ab".to_vec());
        let entropies = |index: usize| vec![f16::from_f32(index as f32); 4];
        assert!(Before::find(&path).unwrap().take(&document(0)).is_none());
        let mut shard = Shard::begin(path.clone(), text).unwrap();
        for index in 0..3 {
            shard.push(&document(index).id, "ab", &entropies(index)).unwrap();
        }
        shard.leave().unwrap();
        assert!(!is_complete(&path, &text));
        // A younger attempt that came less far does not count.
        let mut before = Before::find(&path).unwrap();
        let mut shard = Shard::begin(path.clone(), text).unwrap();
        assert_eq!(before.take(&document(0)), Some(entropies(0)));
        shard.push("d0", "ab", &entropies(0)).unwrap();
        shard.leave().unwrap();
        let mut before = Before::find(&path).unwrap();
        assert_eq!(before.take(&document(0)), Some(entropies(0)));
        assert_eq!(before.take(&document(1)), Some(entropies(1)));
        assert_eq!(before.take(&document(7)), None, "another document");
        assert_eq!(before.take(&document(2)), None, "nothing behind it is believed");
        // One that came farther does.
        let mut shard = Shard::begin(path.clone(), text).unwrap();
        for index in 0..20 {
            shard.push(&document(index).id, "ab", &entropies(index)).unwrap();
        }
        shard.leave().unwrap();
        let mut before = Before::find(&path).unwrap();
        assert!((0..20).all(|index| before.take(&document(index)) == Some(entropies(index))));
        let mut shard = Shard::begin(path.clone(), text).unwrap();
        shard.push("d0", "ab", &entropies(0)).unwrap();
        assert_eq!(shard.complete().unwrap(), path);
        assert!(is_complete(&path, &text));
        let other = TextState { bytes: 4, ..text };
        assert!(!is_complete(&path, &other), "the text has changed");
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 2, "the shard and its marker");
    }
}
