//! The bytes of a file: mapped into memory, or held.

use std::ops::Deref;
use std::path::Path;

use crate::error::{Error, Result};

/// Bytes that a tensor file is parsed from.
#[derive(Debug)]
pub enum FileBytes {
    /// A file of the machine; pages come in as they are read.
    #[cfg(not(target_arch = "wasm32"))]
    Mapped(memmap2::Mmap),
    /// Bytes that someone handed in.
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps a file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|problem| Error::io("open", path, problem))?;
        let length = file.metadata().map_err(|problem| Error::io("inspect", path, problem))?.len();
        if length == 0 {
            // An empty file cannot be mapped everywhere; the parser says what is wrong with it.
            return Ok(Self::Owned(Vec::new()));
        }
        // SAFETY: the map is read-only, and every offset into it is checked against its length.
        // What Rust cannot rule out is another process truncating or rewriting the file meanwhile;
        // this program only ever replaces such files by rename, which leaves a map untouched.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file) };
        map.map(Self::Mapped).map_err(|problem| Error::io("map", path, problem))
    }

    /// Tells the system that all of it will be read soon. Advice: where it is not taken, pages come
    /// in as they are read.
    pub fn read_ahead(&self) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            let _ = map.advise(memmap2::Advice::WillNeed);
        }
    }

    /// Reads a file, on a platform without memory maps.
    #[cfg(target_arch = "wasm32")]
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::read(path).map(Self::Owned).map_err(|problem| Error::io("read", path, problem))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            #[cfg(not(target_arch = "wasm32"))]
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}
