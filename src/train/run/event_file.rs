//! The event file of a run, which TensorBoard shows: `RUN/tensorboard/events.out.tfevents.*`.
//!
//! Every start of a run begins a file. Its first event says from which update on the files before
//! it are no longer true, so that a run that was killed and resumed has one curve.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::train::event_records::{What, record};
use crate::train::metrics::Metrics;

/// What the names of event files begin with, by which TensorBoard knows them.
const PREFIX: &str = "events.out.tfevents.";

/// The file of one start of a run; it is made when something is written to it.
#[derive(Clone, Debug)]
pub struct EventFile {
    directory: PathBuf,
    /// The first update that it can be about.
    first_step: u64,
    path: Option<PathBuf>,
}

impl EventFile {
    /// The file of a run that begins or goes on behind update `step`.
    pub fn new(dump_dir: &Path, step: u64) -> Self {
        Self { directory: dump_dir.join("tensorboard"), first_step: step + 1, path: None }
    }

    /// Writes the numbers of a line under the names that they have there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&mut self, metrics: &Metrics, unix_seconds: u64) -> Result<()> {
        let line = serde_json::to_value(metrics).expect("numbers and strings are JSON");
        let object = line.as_object().expect("a line is an object");
        let step = metrics.global_step;
        let mut records = Vec::new();
        for (name, value) in object.iter().filter(|(name, _)| !COUNTERS.contains(&name.as_str())) {
            if let Some(number) = value.as_f64() {
                let scalar = What::Scalar(name, number as f32);
                records.extend(record(unix_seconds as f64, step, &scalar));
            }
        }
        if let Some(counts) = &metrics.patch_lengths {
            let counts = What::Counts("patch_lengths", counts);
            records.extend(record(unix_seconds as f64, step, &counts));
        }
        self.write(&records, unix_seconds)
    }

    /// Writes a text under a name, which may be Markdown.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append_text(
        &mut self,
        name: &str,
        text: &str,
        step: u64,
        unix_seconds: u64,
    ) -> Result<()> {
        let records = record(unix_seconds as f64, step, &What::Text(name, text));
        self.write(&records, unix_seconds)
    }

    fn write(&mut self, records: &[u8], unix_seconds: u64) -> Result<()> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None => self.begin(unix_seconds)?,
        };
        let fail = |problem| Error::io("write", &path, problem);
        let mut file = OpenOptions::new().append(true).open(&path).map_err(fail)?;
        file.write_all(records).map_err(fail)
    }

    /// TensorBoard reads files in the order of their names, so that a clock that went back must
    /// not put this one before the last.
    fn begin(&mut self, unix_seconds: u64) -> Result<PathBuf> {
        let fail = |problem| Error::io("create", &self.directory, problem);
        fs::create_dir_all(&self.directory).map_err(fail)?;
        let mut stamp = unix_seconds;
        for entry in fs::read_dir(&self.directory).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let stamped =
                name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next());
            if let Some(earlier) = stamped.and_then(|it| it.parse::<u64>().ok()) {
                stamp = stamp.max(earlier.saturating_add(1));
            }
        }
        let path = self.directory.join(format!("{PREFIX}{stamp:010}.blt"));
        let mut records = record(unix_seconds as f64, 0, &What::Version);
        records.extend(record(unix_seconds as f64, self.first_step, &What::Start));
        fs::write(&path, records).map_err(|problem| Error::io("write", &path, problem))?;
        self.path = Some(path.clone());
        Ok(path)
    }
}

/// Keys of a line that are the step itself.
const COUNTERS: [&str; 2] = ["global_step", "acc_step"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_in_the_order_of_starts_whatever_the_clock_says() {
        let place = tempfile::tempdir().unwrap();
        let line = Metrics { global_step: 1, loss: 2.0, ..Metrics::default() };
        for (step, seconds) in [(0, 1_700_000_000), (5, 1_600_000_000), (7, 1_800_000_000)] {
            EventFile::new(place.path(), step).append(&line, seconds).unwrap();
        }
        let directory = fs::read_dir(place.path().join("tensorboard")).unwrap();
        let mut names: Vec<_> =
            directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let expected = [1_700_000_000_u64, 1_700_000_001, 1_800_000_000];
        assert_eq!(names, expected.map(|stamp| format!("{PREFIX}{stamp}.blt")));
        let bytes = fs::read(place.path().join("tensorboard").join(&names[1])).unwrap();
        // Behind the version: what is from update 6 on, is said here.
        let start = record(1_600_000_000.0, 6, &What::Start);
        assert!(bytes.windows(start.len()).any(|it| it == start));
        let tag = b"loss/step_per_gpu";
        assert!(bytes.windows(tag.len()).any(|it| it == tag));
        assert!(!bytes.windows(11).any(|it| it == b"global_step"));
    }
}
