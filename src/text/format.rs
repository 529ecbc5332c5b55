//! What the bytes of a file mean, by the end of its name.

use std::path::Path;

use crate::error::{Error, Result};

/// What a file holds, and how it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFormat {
    pub kind: TextKind,
    pub compression: Compression,
}

/// How documents lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// `.txt`: the file is one document.
    Plain,
    /// `.jsonl`: every line is a JSON object with one document.
    JsonLines,
}

/// What has been done to the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
}

/// The names of files that hold text, for messages.
pub const NAMES: &str = ".txt or .jsonl, as they are or with .zst or .gz";

impl TextFormat {
    /// The format that the name of a file promises; upper and lower case are the same.
    ///
    /// # Errors
    /// A name that ends in none of `.txt` and `.jsonl`, with or without `.zst` or `.gz`.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let packed = [(".zst", Compression::Zstd), (".gz", Compression::Gzip)];
        let stripped = packed
            .into_iter()
            .find_map(|(end, compression)| Some((name.strip_suffix(end)?, compression)));
        let (stem, compression) = stripped.unwrap_or((&name, Compression::None));
        let kinds = [(".txt", TextKind::Plain), (".jsonl", TextKind::JsonLines)];
        match kinds.into_iter().find(|(end, _)| stem.ends_with(end)) {
            Some((_, kind)) => Ok(Self { kind, compression }),
            None => {
                let problem = format!("expected a name ending in {NAMES}");
                Err(Error::input(path.display().to_string(), problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        let of = |name: &str| TextFormat::of(Path::new(name));
        let is = |name: &str, kind, compression| {
            assert_eq!(of(name).unwrap(), TextFormat { kind, compression }, "{name}");
        };
        is("a/b.txt", TextKind::Plain, Compression::None);
        is("B.TXT.ZST", TextKind::Plain, Compression::Zstd);
        is("b.txt.gz", TextKind::Plain, Compression::Gzip);
        is("c.chunk.00.jsonl", TextKind::JsonLines, Compression::None);
        is("c.jsonl.zst", TextKind::JsonLines, Compression::Zstd);
        is("c.jsonl.GZ", TextKind::JsonLines, Compression::Gzip);
        for name in ["c.json", "c", "c.zst", "txt", "c.jsonl.bz2", "c.gz", ""] {
            let message = of(name).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: expected a name ending in")));
        }
    }
}
