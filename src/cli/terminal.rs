//! Where text goes: results to stdout, everything else to stderr.

use anyhow::Context;
use serde::Serialize;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// What stands behind stdout and stderr.
pub struct Terminal {
    /// Results may be coloured.
    pub color: bool,
    /// Messages may be coloured.
    pub message_color: bool,
    /// Somebody watches stderr: progress may move.
    pub is_watched: bool,
    /// Another process says it all.
    pub is_silent: bool,
}

/// Whoever read our results has stopped reading; nobody needs to be told.
#[derive(Debug)]
pub struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stdout was closed")
    }
}

impl std::error::Error for OutputClosed {}

impl Terminal {
    /// Asks the process. `NO_COLOR` with any value turns colours off (no-color.org).
    pub fn detect() -> Self {
        let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let is_watched = io::stderr().is_terminal();
        Self {
            color: colors && io::stdout().is_terminal(),
            message_color: colors && is_watched,
            is_watched,
            is_silent: false,
        }
    }

    /// Results.
    ///
    /// # Errors
    /// [`OutputClosed`] if nobody reads them any more, or what the disk behind stdout says.
    pub fn print(&self, text: &str) -> anyhow::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
            other => other.context("cannot write to stdout"),
        }
    }

    /// Text that a model wrote: a terminal is shown its control characters, never sent them.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn print_text(&self, text: &str) -> anyhow::Result<()> {
        if io::stdout().is_terminal() { self.print(&visible(text)) } else { self.print(text) }
    }

    /// One result as one line of JSON.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn print_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_string(value).context("cannot write the result as JSON")?;
        self.print(&format!("{line}\n"))
    }

    /// A message for a person; nothing depends on whether it arrives. What it quotes of files and
    /// answers is shown with its control characters, which are never sent.
    pub fn note(&self, text: &str) {
        self.styled_note(&visible(text));
    }

    /// The same with styles of our own, around text that is [`visible`].
    pub fn styled_note(&self, text: &str) {
        if !self.is_silent {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// A message beside the text that matters.
    pub fn dim_note(&self, text: &str) {
        match self.message_color {
            true => self.styled_note(&format!("\x1b[2m{}\x1b[0m", visible(text))),
            false => self.note(text),
        }
    }

    /// A message that should not be overlooked.
    pub fn warn(&self, text: &str) {
        self.labelled("warning", "\x1b[1;33m", text);
    }

    /// A message behind a label, which is coloured where there is colour.
    pub fn labelled(&self, label: &str, style: &str, text: &str) {
        match self.message_color {
            true => self.styled_note(&format!("{style}{label}:\x1b[0m {}", visible(text))),
            false => self.note(&format!("{label}: {text}")),
        }
    }
}

/// The text with control pictures (U+2400 and on) in the place of control characters; line breaks
/// and tabs stay.
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            '\x7f' => '\u{2421}',
            '\0'..='\x1f' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
            '\u{80}'..='\u{9f}' => '\u{fffd}',
            _ => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(visible("a\nb\tc é 日"), "a\nb\tc é 日");
        assert_eq!(visible("\x1b[2J\x07\x7f\u{9b}x"), "␛[2J␇␡\u{fffd}x");
    }
}
