//! Files that are either the old ones or the new ones: written beside, synced, renamed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Replaces the file at `path` by what `write` writes, or leaves it as it was.
pub fn atomic_write(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    write(&mut file).map_err(|problem| Error::io("write", file.path(), problem))?;
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
    let Some(name) = path.file_name() else {
        return Err(Error::input(path.display().to_string(), "this path has no file name"));
    };
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(".partial");
    Ok(path.with_file_name(partial))
}

/// The directory a path stands in; `.` for a bare name.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
