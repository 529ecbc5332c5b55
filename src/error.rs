//! The one error type of the library.
//!
//! An error names the thing it is about, says what is wrong with it, and, where there is something
//! to do, gives a hint. The program prints the three on lines of their own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, in families a caller may want to treat differently.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that was handed in: bytes, ids, patch lengths, an option.
    #[error("{subject}: {problem}")]
    Input { subject: String, problem: String, hint: Option<String> },

    /// A configuration, of a model or of a run.
    #[error("{subject}: {problem}")]
    Config { subject: String, problem: String, hint: Option<String> },

    /// A model directory or one of its tensors.
    #[error("{subject}: {problem}")]
    Model { subject: String, problem: String, hint: Option<String> },

    /// A file or directory that could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
        hint: Option<String>,
    },

    /// A limit of the device or of this program that is too small for the job.
    #[error("{limit}: {needed} needed, {available} available")]
    Limit { limit: String, needed: u64, available: u64, hint: String },

    /// A text with more bytes or patches than a model has positions.
    #[error("positions of the model, in {axis}: {needed} needed, {available} available")]
    Positions { axis: &'static str, needed: u64, available: u64, hint: String },

    /// The device failed: it refused a shader, or computed what is wrong.
    #[error("{subject}: {problem}")]
    Device { subject: String, problem: String, hint: Option<String> },

    /// The device is gone: reset by its driver, taken away, or closed by the host.
    #[error("{subject}: the device is lost: {reason}")]
    Lost { subject: String, reason: String, hint: String },

    /// The device has not the memory.
    #[error("{subject}: the device is out of memory")]
    OutOfMemory { subject: String, hint: String },

    /// No usable device answers to the name that was asked for.
    #[error("no device matches {wanted:?}; there are: {available}")]
    NoDevice { wanted: String, available: String },

    /// The caller asked a job to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// A value that was handed in is wrong.
    pub fn input(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Input { subject: subject.into(), problem: problem.into(), hint: None }
    }

    /// A configuration is wrong.
    pub fn config(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config { subject: subject.into(), problem: problem.into(), hint: None }
    }

    /// A model directory or tensor is wrong.
    pub fn model(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Model { subject: subject.into(), problem: problem.into(), hint: None }
    }

    /// The device failed.
    pub fn device(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Device { subject: subject.into(), problem: problem.into(), hint: None }
    }

    /// A file operation failed; `action` is a verb such as `"read"` or `"rename"`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source, hint: None }
    }

    /// The device is gone.
    pub fn lost(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        let hint = "begin again: what is on disk is whole".to_owned();
        Self::Lost { subject: subject.into(), reason: reason.into(), hint }
    }

    /// The same error with a sentence on what to do about it.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Input { hint, .. }
            | Self::Config { hint, .. }
            | Self::Model { hint, .. }
            | Self::Io { hint, .. }
            | Self::Device { hint, .. } => *hint = Some(text.into()),
            Self::Limit { hint, .. }
            | Self::Positions { hint, .. }
            | Self::Lost { hint, .. }
            | Self::OutOfMemory { hint, .. } => *hint = text.into(),
            Self::NoDevice { .. } | Self::Cancelled => {}
        }
        self
    }

    /// Whether less at a time might do: a limit of the device or of this program, or its memory.
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Limit { .. } | Self::OutOfMemory { .. })
    }

    /// Whether the device is gone, so that the same work may succeed on one that is opened anew.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// What the person who sees this error can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Input { hint, .. }
            | Self::Config { hint, .. }
            | Self::Model { hint, .. }
            | Self::Device { hint, .. } => hint.as_deref(),
            Self::Limit { hint, .. }
            | Self::Positions { hint, .. }
            | Self::Lost { hint, .. }
            | Self::OutOfMemory { hint, .. } => Some(hint),
            Self::NoDevice { .. } => Some("`blt devices` lists what this machine has"),
            Self::Io { hint: Some(hint), .. } => Some(hint),
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    Some("make room on that disk and do it again; what was there before is whole")
                }
                ErrorKind::FileTooLarge => {
                    Some("no larger file may be there, by its file system or by `ulimit -f`")
                }
                _ => None,
            },
            Self::Cancelled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let io = |kind: ErrorKind| Error::io("write", "a/b", kind.into());
        assert!(io(ErrorKind::StorageFull).hint().unwrap().contains("make room"));
        assert!(io(ErrorKind::QuotaExceeded).hint().unwrap().contains("make room"));
        assert!(io(ErrorKind::FileTooLarge).hint().unwrap().contains("ulimit"));
        assert_eq!(io(ErrorKind::NotFound).hint(), None);
    }
}
