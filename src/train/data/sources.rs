//! Which files a source of text is made of.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::text::{Part, TextFormat, TextSource};
use crate::train::config::DataConfig;

/// Makes an opener of files; it is asked for a new one whenever a source is read from its start.
pub type OpenTexts = Rc<dyn Fn() -> Box<dyn TextSource>>;

/// Files that are read one after the other, and how often they are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTexts {
    /// At least one file.
    pub paths: Vec<PathBuf>,
    /// Relative probability that the next document is of this source, above 0.
    pub weight: f64,
    /// The piece of every `.txt` file that is read.
    pub part: Part,
}

/// The sources of a configuration, directories replaced by the texts in them.
///
/// # Errors
/// A directory that cannot be read, or that holds no text.
pub fn source_texts(config: &DataConfig) -> Result<Vec<SourceTexts>> {
    let source = |source: &crate::train::config::Source| {
        Ok(SourceTexts {
            paths: text_files(&config.resolve(&source.path))?,
            weight: source.weight,
            part: Part::Whole,
        })
    };
    config.sources.iter().map(source).collect()
}

/// A file itself; of a directory the texts that lie in it, by name. There, names with `.val.` are
/// held-out texts by the reference's convention (spec §15.1) and left out.
///
/// # Errors
/// A directory that cannot be read, or that holds no text.
pub fn text_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let fail = |problem| Error::io("list", path, problem);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if file.is_file() && !name.contains(".val.") && TextFormat::of(&file).is_ok() {
            files.push(file);
        }
    }
    if files.is_empty() {
        let problem = "there is no .txt or .jsonl file in this directory, with or without .zst";
        return Err(Error::input(path.display().to_string(), problem));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_texts() {
        let dir = tempfile::tempdir().unwrap();
        let error = text_files(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no .txt or .jsonl"), "{error}");
        for name in ["b.jsonl", "a.txt", "c.val.jsonl", "d.json", "e.TXT.zst"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("f.txt")).unwrap();
        let expected = ["a.txt", "b.jsonl", "e.TXT.zst"].map(|name| dir.path().join(name));
        assert_eq!(text_files(dir.path()).unwrap(), expected);
        let file = dir.path().join("d.json");
        assert_eq!(text_files(&file).unwrap(), [file]);
    }
}
