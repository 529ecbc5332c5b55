//! How an answer is shown: as text, or coloured by patch and entropy.

use super::super::numbers::counted;
use super::super::terminal::Terminal;
use blt_wgpu::generate::{ByteEvent, End, Piece, patch_lengths};
use blt_wgpu::report::live::{LiveByte, LivePaint, Shown, entropy_scale};

/// Flags for what is shown besides the text.
#[derive(clap::Args)]
#[command(next_help_heading = "What is shown")]
pub struct ShowArguments {
    /// Colour the text by patch; without colours a `|` stands where one starts
    #[arg(long)]
    pub show_patches: bool,
    /// Colour the text by how hard each byte was to predict; without colours as digits 0 to 7
    ///
    /// The entropy is that of the entropy model where it decides about patches, else that of the
    /// model itself.
    #[arg(long)]
    pub show_entropy: bool,
}

/// Prints answers as they come.
pub struct Show<'t> {
    terminal: &'t Terminal,
    shown: Shown,
    paint: LivePaint,
    ends_line: bool,
}

impl<'t> Show<'t> {
    /// In front of the first answer.
    pub fn new(arguments: &ShowArguments, terminal: &'t Terminal) -> Self {
        let shown = Shown {
            patches: arguments.show_patches,
            entropy: arguments.show_entropy,
            color: terminal.color,
        };
        if shown.entropy {
            terminal.styled_note(&entropy_scale(terminal.message_color));
        }
        Self { terminal, shown, paint: LivePaint::new(shown), ends_line: true }
    }

    /// Prints a piece.
    ///
    /// # Errors
    /// If stdout takes no more.
    pub fn piece(&mut self, piece: &Piece) -> anyhow::Result<()> {
        if piece.events.is_empty() {
            return Ok(());
        }
        if !self.shown.patches && !self.shown.entropy {
            self.ends_line =
                piece.text.ends_with('\n') || (self.ends_line && piece.text.is_empty());
            return self.terminal.print_text(&piece.text);
        }
        let bytes: Vec<LiveByte> = piece.events.iter().map(live).collect();
        let text = self.paint.push(&bytes);
        self.ends_line = text.ends_with('\n');
        self.terminal.print(&text)
    }

    /// Ends an answer: what comes next begins a line.
    ///
    /// # Errors
    /// As [`Self::piece`].
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.paint = LivePaint::new(self.shown);
        self.terminal.print("\n")
    }

    /// The same where a line has ended anyway.
    ///
    /// # Errors
    /// As [`Self::piece`].
    pub fn end_line(&mut self) -> anyhow::Result<()> {
        self.paint = LivePaint::new(self.shown);
        if std::mem::replace(&mut self.ends_line, true) {
            Ok(())
        } else {
            self.terminal.print("\n")
        }
    }
}

/// What an answer was, in words: how long, in how many patches, and why it ended.
pub fn summary(events: &[ByteEvent], end: Option<End>, has_patches: bool) -> String {
    let mut text = counted(events.len(), "id");
    if has_patches && !events.is_empty() {
        let count = patch_lengths(events).len();
        let mean = events.len() as f64 / count as f64;
        text.push_str(&format!(" in {} of {mean:.2}", counted(count, "patch")));
    }
    text.push_str(match end {
        Some(End::EndOfText) => ", the end of the text",
        Some(End::String(_)) => ", up to a stop string",
        Some(End::Cancelled) => ", stopped",
        Some(End::Count) | None => "",
    });
    text
}

fn live(event: &ByteEvent) -> LiveByte {
    // One of them is there wherever entropies are shown; nothing is drawn of it otherwise.
    let entropy = event.patch_entropy.or(event.entropy);
    LiveByte {
        id: event.id,
        starts_patch: event.starts_patch,
        entropy_nats: entropy.unwrap_or(0.0),
    }
}
