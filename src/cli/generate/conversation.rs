//! `blt generate -i`: lines of the user and answers of the model, which together are the text.

use super::super::failure;
use super::super::interrupt;
use super::super::numbers::counted;
use super::super::terminal::Terminal;
use super::show::{Show, summary};
use blt_wgpu::Error;
use blt_wgpu::generate::{Source, TextStream};
use std::io::{BufRead, IsTerminal};
use std::time::Instant;

const HELP: &str = "The model goes on from what you type; lines and answers are one text.\n\
                    An empty line: go on.  A line that ends in \\: without its line break.\n\
                    Ctrl-C stops an answer.  Ctrl-D, or Ctrl-C again, leaves.";

/// Reads lines until there are no more, and answers each. What goes wrong in an answer is told, and
/// the next line goes on.
///
/// # Errors
/// Stdin or stdout that fails; a device that is lost; in the end, where nobody types, answers in
/// which something went wrong.
pub fn run(
    stream: &mut TextStream<impl Source>,
    show: &mut Show<'_>,
    has_patches: bool,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let is_typed = std::io::stdin().is_terminal();
    if is_typed {
        terminal.dim_note(HELP);
    }
    let mut failed_count = 0;
    if !stream.ids().is_empty() {
        failed_count += usize::from(!answer(stream, show, has_patches, terminal)?);
    }
    loop {
        if is_typed {
            terminal.print(if terminal.color { "\x1b[1;36m>\x1b[0m " } else { "> " })?;
        }
        let mut line = Vec::new();
        let read =
            interrupt::while_waiting(|| std::io::stdin().lock().read_until(b'\n', &mut line));
        if read.map_err(|error| Error::io("read", "stdin", error))? == 0 {
            return match failed_count {
                _ if is_typed => terminal.print("\n"),
                0 => Ok(()),
                count => anyhow::bail!("{} ended with an error", counted(count, "answer")),
            };
        }
        stream.push(typed(&line));
        failed_count += usize::from(!answer(stream, show, has_patches, terminal)?);
    }
}

/// What of a line belongs to the text.
fn typed(line: &[u8]) -> &[u8] {
    let content = line.strip_suffix(b"\n").unwrap_or(line);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    match content.strip_suffix(b"\\") {
        Some(unbroken) => unbroken,
        None if content.is_empty() => b"",
        None => line,
    }
}

/// One answer, to its end, until somebody stops it, or until something goes wrong, which is told:
/// then it is `false`.
fn answer(
    stream: &mut TextStream<impl Source>,
    show: &mut Show<'_>,
    has_patches: bool,
    terminal: &Terminal,
) -> anyhow::Result<bool> {
    let begin = Instant::now();
    // What has come before an error is worth something.
    let mut failed = None;
    while !interrupt::is_requested() {
        match pollster::block_on(stream.step()) {
            Ok(Some(piece)) => show.piece(&piece)?,
            Ok(None) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    show.piece(&stream.cancel())?;
    show.end_line()?;
    let seconds = begin.elapsed().as_secs_f64();
    if terminal.is_watched {
        let rate = stream.generated().len() as f64 / seconds.max(1e-9);
        let text = summary(stream.generated(), stream.end(), has_patches);
        terminal.dim_note(&format!("{text}, {rate:.1} bytes/s"));
    }
    match failed {
        None => Ok(true),
        Some(error) if error.is_loss() => Err(error.into()),
        Some(error) => {
            failure::report(&error.into(), terminal);
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_break_unless_it_says_otherwise() {
        for (line, expected) in [
            ("To be\n", "To be\n"),
            ("To be, \\\n", "To be, "),
            ("\n", ""),
            ("\r\n", ""),
            ("no end", "no end"),
            ("\\\n", ""),
        ] {
            assert_eq!(typed(line.as_bytes()), expected.as_bytes(), "{line:?}");
        }
    }
}
