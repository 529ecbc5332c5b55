//! `blt generate -i`: lines of the user and answers of the model, which together are the text.

use super::super::interrupt;
use super::super::terminal::Terminal;
use super::show::{Show, summary};
use blt_wgpu::Error;
use blt_wgpu::generate::{Source, TextStream};
use std::io::{BufRead, IsTerminal};
use std::time::Instant;

const HELP: &str = "The model goes on from what you type; lines and answers are one text.\n\
                    An empty line: go on.  A line that ends in \\: without its line break.\n\
                    Ctrl-C stops an answer.  Ctrl-D, or Ctrl-C again, leaves.";

/// Reads lines until there are no more, and answers each.
///
/// # Errors
/// Stdin or stdout that fails; a device that fails; a text that is too long for the model.
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
    if !stream.ids().is_empty() {
        answer(stream, show, has_patches, terminal)?;
    }
    loop {
        if is_typed {
            terminal.print(if terminal.color { "\x1b[1;36m>\x1b[0m " } else { "> " })?;
        }
        let mut line = Vec::new();
        let read =
            interrupt::while_waiting(|| std::io::stdin().lock().read_until(b'\n', &mut line));
        if read.map_err(|error| Error::io("read", "stdin", error))? == 0 {
            return if is_typed { terminal.print("\n") } else { Ok(()) };
        }
        stream.push(typed(&line));
        answer(stream, show, has_patches, terminal)?;
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

/// One answer, to its end or until somebody stops it.
fn answer(
    stream: &mut TextStream<impl Source>,
    show: &mut Show<'_>,
    has_patches: bool,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !interrupt::is_requested() {
        let Some(piece) = pollster::block_on(stream.step())? else { break };
        show.piece(&piece)?;
    }
    show.piece(&stream.cancel())?;
    show.end_line()?;
    let seconds = begin.elapsed().as_secs_f64();
    if terminal.is_watched {
        let rate = stream.generated().len() as f64 / seconds.max(1e-9);
        let text = summary(stream.generated(), stream.end(), has_patches);
        terminal.dim_note(&format!("{text}, {rate:.1} bytes/s"));
    }
    Ok(())
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
