//! The checkpoints of a training run: `step-0000001234/` directories and the pointers `latest` and
//! `best`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::atomic::{AtomicFile, atomic_write, partial_path, sync_directory};
use super::model_directory::ModelDirectory;
use super::model_writer::ModelWriter;
use super::tensor_file::TensorFile;
use super::tensor_writer::TensorWriter;
use super::write_plan::WriteOptions;
use crate::blt::config::ModelConfig;
use crate::error::{Error, Result};

/// The file that names the newest checkpoint.
const POINTER: &str = "latest";
/// The file that names the one with the best score on held-out text.
const BEST: &str = "best";
/// What a checkpoint is called behind its name while another of the same step takes its place.
const REPLACED: &str = ".replaced";
/// How often a checkpoint is put in the place of another, where readers come in between.
const MOST_ATTEMPTS: usize = 10;

/// A directory of checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    root: PathBuf,
    keep_count: Option<usize>,
}

/// A checkpoint that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Optimiser steps it has behind it.
    pub step: u64,
    /// Its directory, which is a model directory.
    pub path: PathBuf,
}

/// A checkpoint in the making. It has another name until [`Self::commit`], and is removed again if
/// that never comes.
#[derive(Debug)]
pub struct CheckpointDraft {
    checkpoints: Checkpoints,
    step: u64,
    partial: PathBuf,
    best: Option<u64>,
}

impl Checkpoints {
    /// Checkpoints under `root`, of which the last `keep_count` are kept, or all. At least one is.
    pub fn new(root: impl Into<PathBuf>, keep_count: Option<usize>) -> Self {
        Self { root: root.into(), keep_count }
    }

    /// Begins the checkpoint of a step. What killed processes left of others is removed.
    pub fn begin(&self, step: u64) -> Result<CheckpointDraft> {
        let partial = partial_path(&self.path_of(step))?;
        self.remove_leftovers()?;
        fs::create_dir_all(&partial).map_err(|problem| Error::io("create", &partial, problem))?;
        Ok(CheckpointDraft { checkpoints: self.clone(), step, partial, best: None })
    }

    /// The checkpoint to resume from: the one `latest` names, or the newest where there is no
    /// `latest`; `None` where there is no checkpoint. One that a killed process was about to
    /// replace is put back.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if `latest` names something that is not there; [`Error::Io`] for the disk.
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        self.restore_replaced()?;
        match self.named_by(POINTER)? {
            Some(checkpoint) => Ok(Some(checkpoint)),
            None => Ok(self.list()?.pop()),
        }
    }

    /// The checkpoint with the best score on held-out text, if one has been named.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if `best` names something that is not there.
    pub fn best(&self) -> Result<Option<Checkpoint>> {
        self.named_by(BEST)
    }

    /// The checkpoint that a pointer names, if there is such a pointer.
    fn named_by(&self, pointer: &str) -> Result<Option<Checkpoint>> {
        let pointer = self.root.join(pointer);
        let text = match fs::read_to_string(&pointer) {
            Ok(text) => text,
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(problem) => return Err(Error::io("read", &pointer, problem)),
        };
        let name = text.trim();
        let found = step_of(name).map(|step| Checkpoint { step, path: self.root.join(name) });
        match found {
            Some(checkpoint) if checkpoint.path.is_dir() => Ok(Some(checkpoint)),
            _ => Err(Error::model(
                pointer.display().to_string(),
                format!("it names {name:?}, and there is no such checkpoint"),
            )
            .with_hint("remove the file to resume from the newest checkpoint that is there")),
        }
    }

    /// All complete checkpoints, the oldest first; none where the directory is missing.
    pub fn list(&self) -> Result<Vec<Checkpoint>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(problem) => return Err(Error::io("list", &self.root, problem)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|problem| Error::io("list", &self.root, problem))?;
            let step = entry.file_name().to_str().and_then(step_of);
            if let Some(step) = step.filter(|_| entry.path().is_dir()) {
                found.push(Checkpoint { step, path: entry.path() });
            }
        }
        found.sort_by_key(|checkpoint| checkpoint.step);
        Ok(found)
    }

    /// The checkpoint of a step, which another process writes.
    pub fn at(&self, step: u64) -> Checkpoint {
        Checkpoint { step, path: self.path_of(step) }
    }

    fn path_of(&self, step: u64) -> PathBuf {
        self.root.join(name_of(step))
    }

    /// Removes all but the last ones that are to be kept, and never `newest` nor `best`, which is
    /// kept on top of those.
    fn prune(&self, newest: u64, best: Option<u64>) -> Result<()> {
        let Some(keep_count) = self.keep_count else { return Ok(()) };
        let mut old = self.list()?;
        old.retain(|checkpoint| checkpoint.step != newest);
        let surplus = old.len().saturating_sub(keep_count.max(1) - 1);
        for checkpoint in old[..surplus].iter().filter(|it| Some(it.step) != best) {
            // Renamed first, so that a half-removed directory does not pass for a checkpoint.
            let partial = partial_path(&checkpoint.path)?;
            remove_directory(&partial)?;
            rename(&checkpoint.path, &partial)?;
            remove_directory(&partial)?;
        }
        Ok(())
    }

    /// Gives checkpoints their name back that [`CheckpointDraft::commit`] had moved out of the way
    /// when its process was killed.
    fn restore_replaced(&self) -> Result<()> {
        for (step, path) in self.hidden(REPLACED)? {
            let place = self.path_of(step);
            if !place.exists()
                && let Err(problem) = rename(&path, &place)
                // Another process put it back, or was replacing it after all.
                && !place.exists()
            {
                return Err(problem);
            }
        }
        Ok(())
    }

    /// Removes what killed processes left: checkpoints in the making or being removed, and those
    /// that have been replaced. One that has not been yet is put back.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove_leftovers(&self) -> Result<()> {
        self.restore_replaced()?;
        for (_, path) in [self.hidden(".partial")?, self.hidden(REPLACED)?].concat() {
            remove_directory(&path)?;
        }
        Ok(())
    }

    /// Directories that are called as a checkpoint is, but with a point before it and this behind.
    fn hidden(&self, ending: &str) -> Result<Vec<(u64, PathBuf)>> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Ok(vec![]) };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|problem| Error::io("list", &self.root, problem))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_prefix('.'));
            if let Some(step) = name.and_then(|name| name.strip_suffix(ending)).and_then(step_of) {
                found.push((step, entry.path()));
            }
        }
        Ok(found)
    }
}

impl CheckpointDraft {
    /// Names the checkpoint with the best score so far, this one or an older one, which is kept.
    #[must_use]
    pub fn with_best(mut self, best: Option<u64>) -> Self {
        // The checkpoint of that step may have been removed by hand.
        let is_there = |step| step == self.step || self.checkpoints.path_of(step).is_dir();
        self.best = best.filter(|&step| is_there(step));
        self
    }

    /// The directory that files are written into for now.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Begins the model, in f32; in more than one file where one would pass `shard_bytes`.
    pub fn model_writer(
        &self,
        config: &ModelConfig,
        shard_bytes: Option<u64>,
    ) -> Result<ModelWriter> {
        let options = WriteOptions { shard_bytes, ..WriteOptions::default() };
        ModelWriter::create_with(&self.partial, config, &options)
    }

    /// Begins a file of tensors, such as `optimizer-00001.safetensors`.
    pub fn tensor_writer(
        &self,
        name: &str,
        tensors: &[(String, Vec<usize>)],
    ) -> Result<TensorWriter<AtomicFile>> {
        TensorWriter::create(self.partial.join(name), tensors)
    }

    /// Writes a JSON file, such as `train_state.json` or `plan.json`.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|problem| Error::input(name, format!("not to be had as JSON: {problem}")))?;
        atomic_write(self.partial.join(name), |file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")
        })
    }

    /// Makes this the newest checkpoint, in place of one of the same step, and removes those that
    /// are not to be kept.
    pub fn commit(self) -> Result<Checkpoint> {
        sync_directory(&self.partial)?;
        let (root, step) = (&self.checkpoints.root, self.step);
        let path = self.checkpoints.path_of(step);
        let replaced = root.join(format!(".{}{REPLACED}", name_of(step)));
        let put = || {
            remove_directory(&replaced)?;
            if path.exists() {
                // A kill between these two is mended by `restore_replaced`.
                rename(&path, &replaced)?;
            }
            rename(&self.partial, &path)
        };
        // A reader that comes between the two takes that for a kill, and puts the old one back.
        let mut placed = put();
        for _ in 1..MOST_ATTEMPTS {
            placed = placed.or_else(|_| put());
        }
        if let Err(problem) = placed {
            self.checkpoints.restore_replaced()?;
            return Err(problem);
        }
        sync_directory(root)?;
        atomic_write(root.join(POINTER), |file| writeln!(file, "{}", name_of(step)))?;
        remove_directory(&replaced)?;
        if let Some(best) = self.best {
            atomic_write(root.join(BEST), |file| writeln!(file, "{}", name_of(best)))?;
        }
        self.checkpoints.prune(step, self.best)?;
        Ok(Checkpoint { step, path })
    }
}

impl Drop for CheckpointDraft {
    fn drop(&mut self) {
        // After a commit there is nothing here; a leftover is cleared by the next attempt.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

impl Checkpoint {
    /// Opens the model.
    pub fn model(&self) -> Result<ModelDirectory> {
        ModelDirectory::open(&self.path)
    }

    /// Opens a file of tensors.
    pub fn tensors(&self, name: &str) -> Result<TensorFile> {
        TensorFile::open(self.path.join(name))
    }

    /// Reads a JSON file.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.path.join(name);
        let text = fs::read(&path).map_err(|problem| Error::io("read", &path, problem))?;
        serde_json::from_slice(&text).map_err(|problem| {
            Error::model(path.display().to_string(), format!("not what was written: {problem}"))
        })
    }
}

fn name_of(step: u64) -> String {
    format!("step-{step:010}")
}

fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|problem| Error::io("rename", from, problem))
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(problem) => Err(Error::io("remove", path, problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn names_in(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Killed between moving the old checkpoint away and putting the new one in its place.
    #[test]
    fn a_checkpoint_that_was_about_to_be_replaced_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(directory.path(), None);
        let draft = checkpoints.begin(7).unwrap();
        draft.write_json("state.json", &json!("old")).unwrap();
        let saved = draft.commit().unwrap().path;
        let replaced = directory.path().join(".step-0000000007.replaced");
        let strand = || {
            fs::rename(&saved, &replaced).unwrap();
            fs::create_dir(directory.path().join(".step-0000000007.partial")).unwrap();
        };
        let state = || -> Value {
            checkpoints.latest().unwrap().expect("it is there").read_json("state.json").unwrap()
        };
        strand();
        assert_eq!(state(), "old");
        drop(checkpoints.begin(7).unwrap());
        strand();
        drop(checkpoints.begin(8).unwrap());
        assert_eq!(names_in(directory.path()), ["latest", "step-0000000007"]);
        // Killed a moment later, the new one is in its place and the old one of no use.
        fs::create_dir(&replaced).unwrap();
        assert_eq!(state(), "old");
        drop(checkpoints.begin(8).unwrap());
        assert_eq!(names_in(directory.path()), ["latest", "step-0000000007"]);
    }

    /// A reader that takes a checkpoint that is being replaced for one that was left is in nobody's
    /// way.
    #[test]
    fn a_reader_does_not_stop_a_checkpoint_from_being_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(directory.path(), None);
        let is_done = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::Relaxed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(order) {
                    // It may find the middle, which is an error of its own.
                    let _ = checkpoints.latest();
                }
            });
            for round in 0..100 {
                let draft = checkpoints.begin(7).unwrap();
                draft.write_json("state.json", &json!(round)).unwrap();
                let saved = draft.commit();
                is_done.store(round == 99 || saved.is_err(), order);
                assert_eq!(saved.unwrap().read_json::<Value>("state.json").unwrap(), round);
            }
        });
        assert_eq!(names_in(directory.path()), ["latest", "step-0000000007"]);
    }
}
