//! One writer in a directory at a time.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// The file that is locked. It stays where it is: who removed it would let in two.
const LOCK_FILE: &str = ".lock";

/// A directory that no other run may take. It is given back when this is dropped, and by the system
/// when the process ends, however it does.
#[derive(Debug)]
pub struct DirectoryLock {
    /// Locked as long as it is open.
    _file: File,
    is_held: bool,
}

impl DirectoryLock {
    /// Takes a directory, which is made if it is missing.
    ///
    /// # Errors
    /// [`Error::Input`] with the process that has it, if one has; [`Error::Io`] for the disk.
    pub fn take(directory: &Path) -> Result<Self> {
        let fail = |problem| Error::io("create", directory, problem);
        fs::create_dir_all(directory).map_err(fail)?;
        let path = directory.join(LOCK_FILE);
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(|problem| Error::io("open", &path, problem))?;
        let is_held = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Err(taken(directory, &mut file)),
            Err(TryLockError::Error(problem)) if problem.kind() == ErrorKind::Unsupported => false,
            Err(TryLockError::Error(problem)) => return Err(Error::io("lock", &path, problem)),
        };
        // Who it is helps whoever is refused; a full disk that cannot take it stops nobody.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file, is_held })
    }

    /// Whether others are kept out: not where the file system has no locks.
    pub fn is_held(&self) -> bool {
        self.is_held
    }
}

fn taken(directory: &Path, file: &mut File) -> Error {
    let mut owner = String::new();
    // Where a locked file cannot be read the process has no name.
    let problem = match file.read_to_string(&mut owner) {
        Ok(count) if count > 0 => format!("another run, process {owner}, is writing here"),
        _ => "another run is writing here".to_owned(),
    };
    Error::input(directory.display().to_string(), problem)
        .with_hint("stop it or wait for its end; another `dump_dir` or `--out` is another run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("run");
        let lock = DirectoryLock::take(&directory).unwrap();
        assert!(lock.is_held());
        let error = DirectoryLock::take(&directory).unwrap_err();
        let process = format!("process {}, is writing here", std::process::id());
        assert!(error.to_string().ends_with(&process), "{error}");
        assert!(error.hint().unwrap().contains("--out"));
        drop(lock);
        DirectoryLock::take(&directory).unwrap();
        DirectoryLock::take(&place.path().join("other")).unwrap();
    }
}
