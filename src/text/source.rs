//! Where the bytes of a text file come from, and what its name says about them.
//!
//! Readers of documents open files through [`TextSource`], so that a program without a file system
//! (a web page) hands them what it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::zstd::ZstdReader;
use crate::error::{Error, Result};

/// A stream of bytes. It may be read from another thread, which fetches one batch ahead.
pub type ByteReader = Box<dyn Read + Send>;

/// Opens files by name.
pub trait TextSource: Send {
    /// The bytes of the file as stored: what a name in `.zst` promises is undone by the caller.
    ///
    /// # Errors
    /// Whatever keeps the file from being opened; the caller adds its name.
    fn open(&self, path: &Path) -> io::Result<ByteReader>;

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

/// What the bytes of a file mean, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// `.txt`: the file is one document.
    Plain { compressed: bool },
    /// `.jsonl`: every line is a JSON object with one document.
    JsonLines { compressed: bool },
}

impl TextFormat {
    /// The format that the name of a file promises; upper and lower case are the same.
    ///
    /// # Errors
    /// A name that ends in none of `.txt`, `.jsonl`, `.txt.zst` and `.jsonl.zst`.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (stem, compressed) = match name.strip_suffix(".zst") {
            Some(stem) => (stem, true),
            None => (name.as_str(), false),
        };
        if stem.ends_with(".txt") {
            Ok(Self::Plain { compressed })
        } else if stem.ends_with(".jsonl") {
            Ok(Self::JsonLines { compressed })
        } else {
            Err(Error::input(
                path.display().to_string(),
                "expected a name ending in .txt, .jsonl, .txt.zst or .jsonl.zst",
            ))
        }
    }

    /// Whether the file is a zstd stream.
    pub fn is_compressed(self) -> bool {
        match self {
            Self::Plain { compressed } | Self::JsonLines { compressed } => compressed,
        }
    }
}

/// Opens a file and undoes its compression.
pub(super) fn open(source: &dyn TextSource, path: &Path, format: TextFormat) -> Result<ByteReader> {
    let stored = source.open(path).map_err(|error| Error::io("open", path, error))?;
    Ok(if format.is_compressed() { Box::new(ZstdReader::new(stored)) } else { stored })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        let of = |name: &str| TextFormat::of(Path::new(name));
        assert_eq!(of("a/b.txt").unwrap(), TextFormat::Plain { compressed: false });
        assert_eq!(of("B.TXT.ZST").unwrap(), TextFormat::Plain { compressed: true });
        assert_eq!(of("c.chunk.00.jsonl").unwrap(), TextFormat::JsonLines { compressed: false });
        assert_eq!(of("c.jsonl.zst").unwrap(), TextFormat::JsonLines { compressed: true });
        for name in ["c.json", "c", "c.zst", "txt", "c.jsonl.gz", ""] {
            let message = of(name).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: expected a name ending in")));
        }
    }

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
