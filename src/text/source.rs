//! Where the bytes of a text file come from.
//!
//! Readers of documents open files through [`TextSource`], so that a program without a file system
//! (a web page) hands them what it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::Compression;
use super::gzip::GzipReader;
use super::zstd::ZstdReader;
use crate::error::{Error, Result};

/// A stream of bytes. It may be read from another thread, which fetches one batch ahead.
pub type ByteReader = Box<dyn Read + Send>;

/// A file of the file system, for formats that are read here and there.
#[cfg(feature = "parquet")]
pub type StoredFile = File;

/// Opens files by name.
pub trait TextSource: Send {
    /// The bytes of the file as stored: what a name in `.zst` or `.gz` promises is undone by the
    /// caller.
    ///
    /// # Errors
    /// Whatever keeps the file from being opened; the caller adds its name.
    fn open(&self, path: &Path) -> io::Result<ByteReader>;

    /// The file as one of the file system, for formats that are read here and there.
    ///
    /// # Errors
    /// As for `open`, and where there is no file system.
    fn open_file(&self, _path: &Path) -> io::Result<File> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this is no file of a file system"))
    }

    /// Fails where it is already known that `open` will.
    ///
    /// # Errors
    /// As for `open`.
    fn check(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl TextSource for Files {
    fn open(&self, path: &Path) -> io::Result<ByteReader> {
        Ok(Box::new(File::open(path)?))
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        match std::fs::metadata(path)?.is_dir() {
            false => Ok(()),
            true => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

/// Files that are already in memory, by name.
#[derive(Debug, Clone, Default)]
pub struct InMemory {
    files: BTreeMap<PathBuf, Arc<[u8]>>,
}

impl InMemory {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one file more; a file of the same name is replaced.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.files.insert(path.into(), bytes.into());
        self
    }

    fn get(&self, path: &Path) -> io::Result<&Arc<[u8]>> {
        self.files.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl TextSource for InMemory {
    fn open(&self, path: &Path) -> io::Result<ByteReader> {
        Ok(Box::new(Cursor::new(Arc::clone(self.get(path)?))))
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        self.get(path).map(|_| ())
    }
}

/// Opens a file and undoes its compression.
pub(super) fn open(
    source: &dyn TextSource,
    path: &Path,
    compression: Compression,
) -> Result<ByteReader> {
    let stored = source.open(path).map_err(|error| Error::io("open", path, error))?;
    Ok(match compression {
        Compression::None => stored,
        Compression::Zstd => Box::new(ZstdReader::new(stored)),
        Compression::Gzip => Box::new(GzipReader::new(stored)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_knows_its_own_files_only() {
        let memory = InMemory::new().with("a.txt", *b"old").with("a.txt", *b"new");
        let mut bytes = Vec::new();
        memory.open(Path::new("a.txt")).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"new");
        assert!(memory.check(Path::new("a.txt")).is_ok());
        assert_eq!(memory.check(Path::new("b")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_is_no_text() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(Files.check(here).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(Files.check(&here.join("Cargo.toml")).is_ok());
    }
}
