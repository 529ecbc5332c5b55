//! Which files a source of text is made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::text::{DocumentOptions, NAMES, OnError, Part, TextFormat, TextSource};
use crate::train::config::DataConfig;

/// Makes an opener of files; it is asked for a new one whenever a source is read from its start.
pub type OpenTexts = Arc<dyn Fn() -> Box<dyn TextSource> + Send + Sync>;

/// Files that are read one after the other, and how often they are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTexts {
    /// At least one file.
    pub paths: Vec<PathBuf>,
    /// Relative probability that the next document is of this source, above 0.
    pub weight: f64,
    /// How they are read.
    pub options: DocumentOptions,
}

/// The sources of a configuration, directories and patterns replaced by the texts in them.
///
/// # Errors
/// A directory that cannot be read, or a directory or pattern without a text.
pub fn source_texts(config: &DataConfig) -> Result<Vec<SourceTexts>> {
    let options = document_options(config);
    let source = |source: &crate::train::config::Source| {
        Ok(SourceTexts {
            paths: text_files(&config.resolve(&source.path))?,
            weight: source.weight,
            options: options.clone(),
        })
    };
    config.sources.iter().map(source).collect()
}

/// How files are read, those of training and held-out ones.
pub fn document_options(config: &DataConfig) -> DocumentOptions {
    DocumentOptions {
        part: Part::Whole,
        on_error: if config.strict { OnError::Strict } else { OnError::Skip },
        most_bytes: config.max_document_bytes,
    }
}

/// A file itself; of a directory the texts that lie in it; of a pattern (`*`, `?`, `[..]`, and `**`
/// for any directories) the files that match it. In directories and behind patterns, names with
/// `.val.` are held-out texts by the reference's convention (spec §15.1) and left out, unless the
/// pattern has `.val.` too. Files are in the order of their names, shards and chunks by their
/// numbers.
///
/// # Errors
/// A directory that cannot be read, or a directory or pattern without a text.
pub fn text_files(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.to_string_lossy();
    let is_pattern = name.contains(['*', '?', '[']) && !path.exists();
    if !path.is_dir() && !is_pattern {
        return Ok(vec![path.to_path_buf()]);
    }
    let found = if is_pattern { matching(&name)? } else { inside(path)? };
    let asked_for_held_out = is_pattern && name.contains(".val.");
    let is_text = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_held_out = name.contains(".val.") && !asked_for_held_out;
        file.is_file() && !is_held_out && TextFormat::of(file).is_ok()
    };
    let mut files: Vec<_> = found.into_iter().filter(is_text).collect();
    if files.is_empty() {
        let what = if is_pattern { "match this pattern" } else { "are in this directory" };
        let problem = format!("no texts {what}: files ending in {NAMES}");
        return Err(Error::input(path.display().to_string(), problem));
    }
    files.sort_by_cached_key(|file| numbers_in_order(file));
    Ok(files)
}

fn inside(directory: &Path) -> Result<Vec<PathBuf>> {
    let fail = |problem| Error::io("list", directory, problem);
    let entries = std::fs::read_dir(directory).map_err(fail)?;
    entries.map(|entry| Ok(entry.map_err(fail)?.path())).collect()
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let paths = glob::glob(pattern)
        .map_err(|error| Error::input(pattern, format!("this is no pattern: {}", error.msg)))?;
    let found = paths.map(|path| {
        path.map_err(|error| {
            let path = error.path().to_path_buf();
            Error::io("list", path, error.into())
        })
    });
    found.collect()
}

/// What a path is sorted by: its text, with every number in it as long as any, so that shard 10
/// comes behind shard 9.
fn numbers_in_order(path: &Path) -> String {
    let name = path.to_string_lossy();
    let mut key = String::with_capacity(name.len() + 32);
    let mut digits = String::new();
    for char in name.chars().chain(['\0']) {
        if char.is_ascii_digit() {
            digits.push(char);
            continue;
        }
        if !digits.is_empty() {
            key.push_str(&format!("{digits:0>20}"));
            digits.clear();
        }
        key.push(char);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_texts() {
        let dir = tempfile::tempdir().unwrap();
        let error = text_files(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no texts are in this directory: files ending in .txt"), "{error}");
        for name in ["b.jsonl", "a.txt", "c.val.jsonl", "d.json", "e.TXT.zst"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("f.txt")).unwrap();
        let expected = ["a.txt", "b.jsonl", "e.TXT.zst"].map(|name| dir.path().join(name));
        assert_eq!(text_files(dir.path()).unwrap(), expected);
        let file = dir.path().join("d.json");
        assert_eq!(text_files(&file).unwrap(), [file]);
    }

    #[test]
    fn a_pattern_stands_for_what_matches_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(place("web/deep")).unwrap();
        let names = [
            "web/c.chunk.2.jsonl",
            "web/c.chunk.10.jsonl.gz",
            "web/c.chunk.9.val.jsonl",
            "web/deep/d.jsonl",
            "web/e.json",
            "web/[f].txt",
        ];
        for name in names {
            std::fs::write(place(name), "x").unwrap();
        }
        let found = |pattern: &str| text_files(&place(pattern));
        let chunks = [names[0], names[1]].map(place);
        assert_eq!(found("web/c.chunk.*").unwrap(), chunks);
        assert_eq!(found("web/*.jsonl*").unwrap(), chunks);
        assert_eq!(found("**/?.jsonl").unwrap(), [place(names[3])]);
        assert_eq!(found("web/[f].txt").unwrap(), [place(names[5])], "a file of that very name");
        assert_eq!(found("web/*.val.jsonl").unwrap(), [place(names[2])]);
        let error = found("web/*.txt.zst").unwrap_err().to_string();
        assert!(error.contains("no texts match this pattern"), "{error}");
        let error = found("web/***").unwrap_err().to_string();
        assert!(error.contains("this is no pattern"), "{error}");
    }
}
