//! Progress on stderr: a moving line for somebody who watches, a line now and then for a log.

use super::terminal::{Terminal, visible};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Seconds between two lines in a log.
const LOG_SECONDS: u64 = 15;

/// The progress of one job.
pub struct Watch<'t> {
    terminal: &'t Terminal,
    bar: ProgressBar,
    said: Cell<Instant>,
}

/// Figures of a training that are shown while it goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Mean nats of a target.
    pub loss_nats: f64,
    pub learning_rate: f64,
    pub gradient_norm: f64,
    pub bytes_per_second: f64,
    /// Bits per byte on held-out text, where they were measured.
    pub held_out_bpb: Option<f64>,
    /// Share of the time that was spent waiting for data, where it was measured.
    pub data_share: Option<f64>,
}

impl Figures {
    /// `loss 1.386 bpb 2.000 lr 4.0e-4 |g| 0.52 12.3 kB/s`: with what stands before it, a line of
    /// 80 columns.
    fn line(&self) -> String {
        let bpb = self.loss_nats / std::f64::consts::LN_2;
        let mut line = format!(
            "loss {:.3} bpb {bpb:.3} lr {:.1e} |g| {:.2} {:.1} kB/s",
            self.loss_nats,
            self.learning_rate,
            self.gradient_norm,
            self.bytes_per_second / 1e3
        );
        if let Some(bpb) = self.held_out_bpb {
            line.push_str(&format!(" held-out {bpb:.3}"));
        }
        // Below that it is hidden behind the step.
        if let Some(share) = self.data_share.filter(|share| *share >= 0.005) {
            line.push_str(&format!(" data wait {:.1}%", share * 100.0));
        }
        line
    }
}

impl<'t> Watch<'t> {
    /// Progress of a job whose end nobody knows.
    pub fn spinner(terminal: &'t Terminal, what: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}");
        let watch = Self::new(terminal, ProgressBar::no_length(), style.ok(), what);
        if terminal.is_watched {
            watch.bar.enable_steady_tick(Duration::from_millis(120));
        }
        watch
    }

    /// Progress over so many steps, with the time that is left.
    pub fn steps(terminal: &'t Terminal, what: &str, step_count: u64) -> Self {
        // The bar takes what a wide terminal leaves; what may be cut off stands last.
        let style = ProgressStyle::with_template(
            "{prefix} {wide_bar:.cyan/blue} {pos}/{len} {elapsed}<{eta} {msg}",
        );
        Self::new(terminal, ProgressBar::new(step_count), style.ok(), what)
    }

    fn new(
        terminal: &'t Terminal,
        bar: ProgressBar,
        style: Option<ProgressStyle>,
        what: &str,
    ) -> Self {
        bar.set_draw_target(match terminal.is_watched {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        if let Some(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        Self { terminal, bar, said: Cell::new(Instant::now()) }
    }

    /// What the job does now.
    pub fn name(&self, what: &str) {
        self.bar.set_prefix(what.to_owned());
    }

    /// Where the job is now.
    pub fn say(&self, text: &str) {
        self.bar.set_message(visible(text));
        if !self.terminal.is_watched && self.said.get().elapsed().as_secs() >= LOG_SECONDS {
            self.said.set(Instant::now());
            let at = match self.bar.length() {
                Some(length) => format!(" {}/{length}", self.bar.position()),
                None => String::new(),
            };
            self.terminal.note(&format!("{}{at}  {text}", self.bar.prefix()));
        }
    }

    /// Steps that were done before the job began to be watched.
    pub fn begin_at(&self, index: u64) {
        self.bar.set_position(index);
        self.bar.reset_eta();
    }

    /// A step of a training, with figures where there are new ones.
    pub fn step(&self, index: u64, count: u64, figures: Option<&Figures>) {
        self.bar.set_length(count);
        self.bar.set_position(index);
        if let Some(figures) = figures {
            self.say(&figures.line());
        }
    }

    /// A message that stays, above what moves.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| self.terminal.note(text));
    }

    /// The same with styles of our own, around text that is visible.
    pub fn styled_note(&self, text: &str) {
        self.bar.suspend(|| self.terminal.styled_note(text));
    }

    /// Takes away what moves.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_in_a_line() {
        let mut figures = Figures {
            loss_nats: 2.0 * std::f64::consts::LN_2,
            learning_rate: 4e-4,
            gradient_norm: 0.519,
            bytes_per_second: 12_345.0,
            held_out_bpb: None,
            data_share: Some(0.004),
        };
        assert_eq!(figures.line(), "loss 1.386 bpb 2.000 lr 4.0e-4 |g| 0.52 12.3 kB/s");
        let before = "step  12345/20000 12m<34m ";
        assert!(before.len() + figures.line().len() <= 80, "nothing is cut off");
        figures.held_out_bpb = Some(2.25);
        assert!(figures.line().ends_with("kB/s held-out 2.250"));
        figures.data_share = Some(0.0312);
        assert!(figures.line().ends_with("held-out 2.250 data wait 3.1%"));
    }
}
