//! Tests that found no GPU.
//!
//! libtest knows no "skipped", so a test that needs a GPU and finds none writes one line into the
//! file that the environment variable `BLT_SKIP_LOG` names, `NAME` or `NAME<tab>REASON`, and
//! returns. A run counts these lines and fails on them, unless `BLT_ALLOW_NO_GPU=1`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

/// The variable that names the file.
pub const LOG_VARIABLE: &str = "BLT_SKIP_LOG";

/// The file in which the tests of one command leave their lines.
pub struct SkipLog {
    path: PathBuf,
}

impl SkipLog {
    /// An empty log. The commands that [`SkipLog::watch`] was called on write into it.
    pub fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("blt-skips-{}.txt", std::process::id()));
        std::fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path })
    }

    /// Tells a command's tests where to write.
    pub fn watch(&self, command: &mut Command) {
        command.env(LOG_VARIABLE, &self.path);
    }

    /// The tests that were skipped so far, as `NAME` or `NAME: REASON`, each once.
    pub fn read(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(names(&text))
    }
}

impl Drop for SkipLog {
    fn drop(&mut self) {
        // A file left in the temporary directory harms nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a run without a GPU was asked for.
pub fn allowed() -> bool {
    std::env::var_os("BLT_ALLOW_NO_GPU").is_some_and(|value| value == "1")
}

fn names(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut names: Vec<String> = lines.map(|line| line.replacen('\t', ": ", 1)).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_test_counts_once_and_empty_lines_not_at_all() {
        let text = "matmul.base\tno adapter\n\nrms_norm.base\nmatmul.base\tno adapter\n";
        assert_eq!(names(text), ["matmul.base: no adapter", "rms_norm.base"]);
    }
}
