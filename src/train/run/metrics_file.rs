//! `metrics.jsonl`, which grows by whole lines.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::checkpoint::atomic_write;
use crate::error::{Error, Result};
use crate::train::metrics::{Metrics, lines_up_to, parse_lines};

/// The file of a run.
#[derive(Clone, Debug)]
pub struct MetricsFile {
    path: PathBuf,
    is_begun: bool,
}

impl MetricsFile {
    /// The file of a run that is to begin; nothing is touched yet.
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join("metrics.jsonl"), is_begun: false }
    }

    /// Begins an empty file, in a directory that is made if it is missing; one that is begun stays
    /// as it is. To be called when it is clear that there is something to train on.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(&mut self) -> Result<()> {
        if !self.is_begun {
            let directory = self.path.parent().expect("it was joined to a directory");
            let fail = |problem| Error::io("create", directory, problem);
            std::fs::create_dir_all(directory).map_err(fail)?;
            atomic_write(&self.path, |_| Ok(()))?;
            self.is_begun = true;
        }
        Ok(())
    }

    /// The file of a run that goes on behind update `step`: without the lines after that. With
    /// `take_last` the line of that update is taken out too, if there is one, and given back.
    ///
    /// # Errors
    /// If it cannot be written, or holds something else than lines of metrics.
    pub fn resume(directory: &Path, step: u64, take_last: bool) -> Result<(Self, Option<Metrics>)> {
        let path = directory.join("metrics.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(problem) => return Err(Error::io("read", &path, problem)),
        };
        let last = parse_lines(&text)?.into_iter().find(|line| line.global_step == step);
        let last = last.filter(|_| take_last);
        let kept = lines_up_to(&text, if last.is_some() { step - 1 } else { step })?;
        atomic_write(&path, |file| file.write_all(kept.as_bytes()))?;
        Ok((Self { path, is_begun: true }, last))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&self, metrics: &Metrics) -> Result<()> {
        let fail = |problem| Error::io("write", &self.path, problem);
        let mut file = OpenOptions::new().append(true).open(&self.path).map_err(fail)?;
        file.write_all(metrics.to_line().as_bytes()).map_err(fail)
    }
}
