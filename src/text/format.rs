//! What the bytes of a file mean, by the end of its name.

use std::fmt;
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
    /// `.arrow`: every row is a document with its entropies; never compressed as a file.
    Arrow,
    /// `.parquet`: every row is a document; never compressed as a file.
    Parquet,
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

impl TextKind {
    /// Whether a file of it may be compressed as a whole.
    fn may_be_compressed(self) -> bool {
        matches!(self, Self::Plain | Self::JsonLines)
    }
}

impl fmt::Display for TextFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TextKind::Plain => "text",
            TextKind::JsonLines => "JSON lines",
            TextKind::Arrow => "Arrow rows",
            TextKind::Parquet => "Parquet rows",
        })
    }
}

/// The names of files that hold text, for messages.
pub const NAMES: &str = ".txt or .jsonl, as they are or with .zst or .gz, in .arrow or .parquet";

impl TextFormat {
    /// The format that the name of a file promises; upper and lower case are the same.
    ///
    /// # Errors
    /// A name that ends in none of `.txt` and `.jsonl`, with or without `.zst` or `.gz`, and not
    /// in `.arrow` or `.parquet`.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let packed = [(".zst", Compression::Zstd), (".gz", Compression::Gzip)];
        let stripped = packed
            .into_iter()
            .find_map(|(end, compression)| Some((name.strip_suffix(end)?, compression)));
        let (stem, compression) = stripped.unwrap_or((&name, Compression::None));
        let kinds = [
            (".txt", TextKind::Plain),
            (".jsonl", TextKind::JsonLines),
            (".arrow", TextKind::Arrow),
            (".parquet", TextKind::Parquet),
        ];
        let found = kinds.into_iter().find(|(end, _)| stem.ends_with(end));
        match found {
            Some((_, kind)) if compression == Compression::None || kind.may_be_compressed() => {
                Ok(Self { kind, compression })
            }
            _ => {
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
        is("c.jsonl.shard_00.arrow", TextKind::Arrow, Compression::None);
        is("d.parquet", TextKind::Parquet, Compression::None);
        for name in [
            "a.arrow.zst",
            "d.parquet.gz",
            "c.json",
            "c",
            "c.zst",
            "txt",
            "c.jsonl.bz2",
            "c.gz",
            "",
        ] {
            let message = of(name).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: expected a name ending in")));
        }
    }
}
