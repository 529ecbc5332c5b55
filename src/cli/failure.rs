//! What the program says when it fails, and with which code it ends.

use super::terminal::{OutputClosed, Terminal};
use blt_wgpu::Error;
use std::fmt;
use std::process::ExitCode;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NO_DEVICE: u8 = 3;
/// 128 + SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;

/// Arguments that contradict each other or leave something open.
#[derive(Debug)]
pub struct Usage {
    problem: String,
    hint: String,
}

impl Usage {
    /// What is wrong with the arguments, and how it should look.
    pub fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }

    /// An option whose value the library refuses: what it says, of the option.
    pub fn of(option: &str, error: &Error) -> Self {
        let problem = match error {
            Error::Input { problem, .. } | Error::Config { problem, .. } => problem.clone(),
            other => other.to_string(),
        };
        let hint = error.hint().unwrap_or("`--help` says what it takes");
        Self::new(format!("{option}: {problem}"), hint)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Usage {}

/// A device that was chosen and cannot be opened.
#[derive(Debug)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the device {}", self.0)
    }
}

/// Prints `error:`, `caused by:` and `hint:` lines and gives the exit code.
pub fn report(error: &anyhow::Error, terminal: &Terminal) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    let messages = messages(error);
    for (index, message) in messages.iter().enumerate() {
        match index {
            0 => terminal.labelled("error", "\x1b[1;31m", message),
            _ => terminal.labelled("caused by", "\x1b[31m", message),
        }
    }
    if let Some(hint) = hint(error) {
        terminal.labelled("hint", "\x1b[1;36m", hint);
    }
    ExitCode::from(code(error))
}

/// The messages of the chain; one that ends with its cause is followed by none.
fn messages(error: &anyhow::Error) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if messages.last().is_none_or(|last| !last.ends_with(&text)) {
            messages.push(text);
        }
    }
    messages
}

fn hint(error: &anyhow::Error) -> Option<&str> {
    let of_library = error.chain().find_map(|cause| cause.downcast_ref::<Error>()?.hint());
    of_library.or_else(|| error.downcast_ref::<Usage>().map(|usage| usage.hint.as_str()))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return USAGE;
    }
    if error.is::<Unusable>() {
        return NO_DEVICE;
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::NoDevice { .. }) => NO_DEVICE,
        Some(Error::Cancelled) => INTERRUPTED,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn codes_are_those_of_the_contract() {
        let no_device = Error::NoDevice { wanted: "x".into(), available: "cpu".into() };
        assert_eq!(code(&anyhow::Error::from(no_device).context("while choosing")), NO_DEVICE);
        let lost = Error::lost("gpu", "reset");
        assert_eq!(code(&anyhow::Error::from(lost).context(Unusable("gpu".into()))), NO_DEVICE);
        assert_eq!(code(&Error::Cancelled.into()), INTERRUPTED);
        assert_eq!(code(&anyhow::Error::from(Error::input("a", "b"))), FAILED);
        assert_eq!(code(&anyhow::anyhow!(Usage::new("a", "b"))), USAGE);
    }

    #[test]
    fn a_cause_is_said_once() {
        let source = std::io::Error::other("the disk is full");
        let error = Error::io("write", "model", source);
        let failed: anyhow::Result<()> = Err(error).context("cannot save the model");
        let expected = ["cannot save the model", "cannot write model: the disk is full"];
        assert_eq!(messages(&failed.unwrap_err()), expected);
    }

    #[test]
    fn hints_are_found_behind_context() {
        let error = anyhow::Error::from(Error::input("a", "b").with_hint("do c")).context("d");
        assert_eq!(hint(&error), Some("do c"));
        assert_eq!(hint(&anyhow::anyhow!(Usage::new("a", "do b"))), Some("do b"));
        assert_eq!(hint(&anyhow::anyhow!("plain")), None);
    }
}
