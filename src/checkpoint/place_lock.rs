//! One maker of a directory at a time, while nothing stands in its place yet.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::atomic::hidden_path;
use crate::error::{Error, Result};

/// The right to make what will stand at a path: a lock on `.NAME.lock` beside it. It is given back
/// when this is dropped, and by the system when the process ends, however it does.
#[derive(Debug)]
pub(super) struct PlaceLock {
    /// Locked as long as it is open.
    file: File,
    path: PathBuf,
    is_held: bool,
}

impl PlaceLock {
    /// Takes a place; the directory it is in must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if another process makes something there, [`Error::Io`] for the disk.
    pub fn take(place: &Path) -> Result<Self> {
        let path = hidden_path(place, "lock")?;
        loop {
            let mut options = File::options();
            let options = options.create(true).truncate(false).write(true);
            let file = options.open(&path).map_err(|problem| Error::io("open", &path, problem))?;
            let is_held = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => {
                    let problem = "another process is writing it";
                    return Err(Error::input(place.display().to_string(), problem)
                        .with_hint("wait for its end, or name another place"));
                }
                Err(TryLockError::Error(it)) if it.kind() == ErrorKind::Unsupported => false,
                Err(TryLockError::Error(it)) => return Err(Error::io("lock", &path, it)),
            };
            // Whoever had it before may have removed the file between opening and locking. Then
            // this lock keeps nobody out.
            if !is_held || is_at(&file, &path).map_err(|it| Error::io("look at", &path, it))? {
                return Ok(Self { file, path, is_held });
            }
        }
    }

    /// Whether others are kept out: not where the file system has no locks.
    pub fn is_held(&self) -> bool {
        self.is_held
    }
}

impl Drop for PlaceLock {
    fn drop(&mut self) {
        // While the lock is held, so that nobody else has locked this file. One that cannot be
        // removed can be locked by the next.
        if is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether an open file is the one at a path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino())),
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// Elsewhere no file takes the name of a removed one that is open.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_once_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new");
        let lock = PlaceLock::take(&place).unwrap();
        assert!(lock.is_held());
        let error = PlaceLock::take(&place).unwrap_err();
        assert!(error.to_string().ends_with("another process is writing it"), "{error}");
        PlaceLock::take(&directory.path().join("other")).unwrap();
        drop(lock);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        // What a killed process left is nobody's.
        fs::write(directory.path().join(".new.lock"), "").unwrap();
        drop(PlaceLock::take(&place).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn threads_that_take_and_give_back_are_never_in_it_together() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Ok(lock) = PlaceLock::take(&place) else { continue };
                        assert_eq!(inside.fetch_add(1, order), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, order);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
