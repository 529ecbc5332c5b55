//! Files that are either the old ones or the new ones: written beside, synced, renamed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Replaces the file at `path` by what `write` writes, or leaves it as it was. A link stays, and
/// the file behind it is replaced; a device or a pipe is written to.
pub fn atomic_write(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let failed = |problem| Error::io("write", path, problem);
    let found = fs::metadata(path).ok();
    if found.as_ref().is_some_and(|found| !found.is_file() && !found.is_dir()) {
        let mut file = File::options().write(true).open(path).map_err(failed)?;
        return write(&mut file).and_then(|()| file.flush()).map_err(failed);
    }
    let place = match found {
        Some(_) => fs::canonicalize(path).map_err(failed)?,
        None => path.to_path_buf(),
    };
    let mut file = AtomicFile::create(place)?;
    write(&mut file).map_err(failed)?;
    file.commit()
}

/// Makes renames inside a directory survive a power cut. Where directories cannot be synced
/// (Windows) it does nothing.
pub fn sync_directory(path: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|problem| Error::io("sync", path, problem))?;
    }
    Ok(())
}

/// A file in the making: it stands beside its place as `.NAME.partial` until [`Self::commit`], and
/// is removed again if that never comes.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    /// `None` once it is synced and closed.
    writer: Option<BufWriter<File>>,
    committed: bool,
}

impl AtomicFile {
    /// Begins a file that will stand at `path`; its directory must exist.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let partial = partial_path(&path)?;
        let file =
            File::create(&partial).map_err(|problem| Error::io("create", &partial, problem))?;
        let writer = Some(BufWriter::with_capacity(1 << 20, file));
        Ok(Self { path, partial, writer, committed: false })
    }

    /// Where the file will stand.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that every byte is on the disk. Nothing can be written afterwards.
    pub fn sync(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let file = writer
            .into_inner()
            .map_err(|problem| Error::io("write", &self.path, problem.into_error()))?;
        file.sync_all().map_err(|problem| Error::io("sync", &self.path, problem))
    }

    /// Syncs the file and renames it into its place.
    pub fn commit(mut self) -> Result<()> {
        self.sync()?;
        fs::rename(&self.partial, &self.path)
            .map_err(|problem| Error::io("rename", &self.path, problem))?;
        self.committed = true;
        sync_directory(directory_of(&self.path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::Error::other("the file has been synced already")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            drop(self.writer.take().map(BufWriter::into_parts));
            // A partial file that cannot be removed is overwritten by the next attempt.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// `.NAME.partial` beside `path`.
pub(super) fn partial_path(path: &Path) -> Result<PathBuf> {
    hidden_path(path, "partial")
}

/// `.NAME.ENDING` beside `path`.
pub(super) fn hidden_path(path: &Path, ending: &str) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::input(path.display().to_string(), "this path has no file name"));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(ending);
    Ok(path.with_file_name(hidden))
}

/// The directory a path stands in; `.` for a bare name.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn atomic_write_leaves_links_and_devices_in_their_place() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        atomic_write(&link, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // Through a link of our own, so that a failure replaces that and not the device.
        let sink = directory.path().join("sink");
        std::os::unix::fs::symlink("/dev/null", &sink).unwrap();
        atomic_write(&sink, |out| out.write_all(b"gone")).unwrap();
        assert!(fs::symlink_metadata(&sink).unwrap().is_symlink());
        assert!(!fs::metadata(&sink).unwrap().is_file());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing partial is left");
    }

    #[test]
    fn atomic_write_replaces_or_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        atomic_write(&path, |file| file.write_all(b"old")).unwrap();
        let failed = atomic_write(&path, |file| {
            file.write_all(b"new but torn")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        atomic_write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(atomic_write(directory.path().join("no/such/place"), |_| Ok(())).is_err());
    }
}
