//! A directory that is there as a whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::atomic::{directory_of, partial_path, sync_directory};
use super::place_lock::PlaceLock;
use crate::error::{Error, Result};

/// A directory in the making: it stands beside its place as `.NAME.partial` until
/// [`Self::commit`], and is removed again if that never comes. Of one path there is one at a time,
/// in all processes.
#[derive(Debug)]
pub struct AtomicDirectory {
    path: PathBuf,
    partial: PathBuf,
    /// Given back when the partial directory is gone.
    _lock: PlaceLock,
    /// Removed again after the lock, where they are empty.
    _parents: MadeParents,
}

impl AtomicDirectory {
    /// Begins a directory that will stand at `path`. What a killed process left of one is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if something stands there already that is no empty directory, or if another
    /// process is writing it; [`Error::Io`] for the disk.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        refuse_full(&path)?;
        // Before the lock, so that it is dropped after it.
        let parents = MadeParents::make(directory_of(&path))?;
        let lock = PlaceLock::take(&path)?;
        // Whoever had it before may have been done just now.
        refuse_full(&path)?;
        let partial = partial_path(&path)?;
        // Where the file system has no locks nobody knows whose it is, and making it again fails.
        if lock.is_held()
            && let Err(problem) = fs::remove_dir_all(&partial)
            && problem.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::io("remove", &partial, problem));
        }
        fs::create_dir(&partial).map_err(|problem| Error::io("create", &partial, problem))?;
        Ok(Self { path, partial, _lock: lock, _parents: parents })
    }

    /// Where it is for now.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Puts the directory in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], if something came to stand there meanwhile, or for the disk.
    pub fn commit(self) -> Result<()> {
        sync_directory(&self.partial)?;
        // An empty directory gives way; on Windows only if it is removed before.
        match fs::remove_dir(&self.path) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("replace", &self.path, problem));
            }
            _ => {}
        }
        fs::rename(&self.partial, &self.path)
            .map_err(|problem| Error::io("rename", &self.partial, problem))?;
        sync_directory(directory_of(&self.path))
    }
}

impl Drop for AtomicDirectory {
    fn drop(&mut self) {
        // After a commit there is nothing here; a leftover is cleared by the next attempt.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// Directories that were made to put another into. They are removed again with what was to be in
/// them: those that hold something stay.
#[derive(Debug)]
struct MadeParents(Vec<PathBuf>);

impl MadeParents {
    /// Makes a directory and the missing ones that it is in.
    fn make(directory: &Path) -> Result<Self> {
        let mut made = Self(Vec::new());
        let missing: Vec<_> = directory.ancestors().take_while(|it| !is_there(it)).collect();
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Ok(()) => made.0.push(directory.to_path_buf()),
                // Another process made it meanwhile.
                Err(_) if directory.is_dir() => {}
                Err(problem) => return Err(Error::io("create", directory, problem)),
            }
        }
        Ok(made)
    }
}

impl Drop for MadeParents {
    fn drop(&mut self) {
        // The innermost first; the system removes none that holds anything.
        let _ = self.0.iter().rev().try_for_each(fs::remove_dir);
    }
}

/// Whether a path leads to a directory; the empty one is where the process is.
fn is_there(directory: &Path) -> bool {
    directory.as_os_str().is_empty() || directory.is_dir()
}

/// A directory that holds something is somebody's work.
///
/// # Errors
///
/// [`Error::Input`] for a path at which something stands that is no empty directory.
pub fn refuse_full(path: &Path) -> Result<()> {
    let problem = match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            Some(_) => "this directory is not empty",
            None => return Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => "this is not a directory",
        Err(error) => return Err(Error::io("look into", path, error)),
    };
    Err(Error::input(path.display().to_string(), problem).with_hint("name another place"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new");
        let begun = AtomicDirectory::create(&path).unwrap();
        fs::write(begun.partial().join("file"), "half").unwrap();
        drop(begun);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        // What a killed process leaves behind is cleared, and an empty directory is taken.
        fs::create_dir(place.path().join(".new.partial")).unwrap();
        fs::write(place.path().join(".new.partial/junk"), "x").unwrap();
        fs::create_dir(&path).unwrap();
        let begun = AtomicDirectory::create(&path).unwrap();
        fs::write(begun.partial().join("file"), "whole").unwrap();
        begun.commit().unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "whole");
        assert!(!path.join("junk").exists());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        let error = AtomicDirectory::create(&path).unwrap_err();
        assert!(error.to_string().ends_with("not empty"), "{error}");
        assert!(AtomicDirectory::create(path.join("file")).is_err());
    }

    #[test]
    fn parents_go_with_what_was_to_be_in_them() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b/new");
        drop(AtomicDirectory::create(&path).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        // Not those that were there, and not those that others use meanwhile.
        fs::create_dir(place.path().join("a")).unwrap();
        let begun = AtomicDirectory::create(&path).unwrap();
        fs::write(place.path().join("a/b/mine"), "").unwrap();
        drop(begun);
        assert_eq!(fs::read_dir(place.path().join("a/b")).unwrap().count(), 1);
        fs::remove_file(place.path().join("a/b/mine")).unwrap();
        fs::remove_dir(place.path().join("a/b")).unwrap();
        drop(AtomicDirectory::create(&path).unwrap());
        assert_eq!(fs::read_dir(place.path().join("a")).unwrap().count(), 0);
        AtomicDirectory::create(&path).unwrap().commit().unwrap();
        assert!(path.is_dir());
        // A file in the way is an error.
        fs::write(place.path().join("file"), "").unwrap();
        assert!(AtomicDirectory::create(place.path().join("file/x/new")).is_err());
        assert_eq!(fs::read_to_string(place.path().join("file")).unwrap(), "");
    }

    #[test]
    fn two_at_once_do_not_mix() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new");
        let first = AtomicDirectory::create(&path).unwrap();
        fs::write(first.partial().join("file"), "first").unwrap();
        let error = AtomicDirectory::create(&path).unwrap_err();
        assert!(error.to_string().ends_with("another process is writing it"), "{error}");
        assert_eq!(fs::read_to_string(first.partial().join("file")).unwrap(), "first");
        first.commit().unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "first");
        let error = AtomicDirectory::create(&path).unwrap_err();
        assert!(error.to_string().ends_with("not empty"), "{error}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no lock is left");
    }
}
