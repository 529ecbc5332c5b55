//! What went wrong, in the kinds that a page tells apart.

use blt_wgpu::Error;
use serde::Serialize;

/// What a page can treat differently; the strings are those of `BltError.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The browser has not what was asked for.
    Unsupported,
    /// An option or a text that cannot be.
    Input,
    /// Files that are no model.
    NotAModel,
    /// A file that ends before its end.
    Truncated,
    /// A limit of the device, of the model or of this program.
    Limit,
    OutOfMemory,
    DeviceLost,
    /// Another job has the model.
    Busy,
    Interrupted,
    /// A fault of this program, or of a driver.
    Internal,
}

/// An error as a page shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    pub kind: Kind,
    /// What happened, and to what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// Without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// With a sentence on what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Input { .. } => Kind::Input,
            Error::Config { .. } | Error::Model { .. } => Kind::NotAModel,
            Error::Limit { .. } | Error::Positions { .. } => Kind::Limit,
            Error::Lost { .. } => Kind::DeviceLost,
            Error::OutOfMemory { .. } => Kind::OutOfMemory,
            Error::NoDevice { .. } => Kind::Unsupported,
            Error::Cancelled => Kind::Interrupted,
            Error::Device { .. } | Error::Io { .. } => Kind::Internal,
        };
        // The library's hints are for the command line where these are not.
        let hint = match &error {
            Error::NoDevice { .. } => Some("use the CPU engine".to_owned()),
            Error::Lost { .. } => Some("open again: what was saved is whole".to_owned()),
            Error::Positions { .. } => Some("shorten the text".to_owned()),
            Error::OutOfMemory { .. } => {
                Some("close other tabs, use a smaller model or text, or the CPU engine".to_owned())
            }
            Error::Limit { hint, .. } => Some(format!("{hint}, or the CPU engine")),
            _ => error.hint().map(str::to_owned),
        };
        Self { kind, message: error.to_string(), hint }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.hint {
            None => f.write_str(&self.message),
            Some(hint) => write!(f, "{} ({hint})", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_library_have_a_kind_and_what_to_do_in_a_browser() {
        let lost = Failure::from(Error::lost("webgpu/x", "reset"));
        assert_eq!(lost.kind, Kind::DeviceLost);
        assert!(lost.hint.unwrap().starts_with("open again"));
        let none = Error::NoDevice { wanted: "any".into(), available: "none".into() };
        let none = Failure::from(none);
        assert_eq!(
            (none.kind, none.hint.as_deref()),
            (Kind::Unsupported, Some("use the CPU engine"))
        );
        let limit = Error::Limit {
            limit: "elements".into(),
            needed: 2,
            available: 1,
            hint: "use a smaller model".into(),
        };
        let limit = Failure::from(limit);
        assert_eq!(limit.message, "elements: 2 needed, 1 available");
        assert_eq!(limit.hint.as_deref(), Some("use a smaller model, or the CPU engine"));
    }

    #[test]
    fn kinds_are_the_words_of_the_package() {
        let word = |kind| serde_json::to_value(kind).unwrap();
        assert_eq!(word(Kind::NotAModel), "not-a-model");
        assert_eq!(word(Kind::OutOfMemory), "out-of-memory");
    }
}
