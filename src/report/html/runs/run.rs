//! A run on the page: its colour, and its figures at every line.

use crate::report::runs::TrainingRun;
use crate::train::metrics::Metrics;

/// Colours of the page, in the order in which runs get them; further runs share the last.
const COLORS: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];
/// The same as lines of training, lines and dots of held-out scores.
const TRAINS: [&str; 6] = ["train m0", "train m1", "train m2", "train m3", "train m4", "train m5"];
const LINES: [&str; 6] = ["line m0", "line m1", "line m2", "line m3", "line m4", "line m5"];
const DOTS: [&str; 6] = ["dots m0", "dots m1", "dots m2", "dots m3", "dots m4", "dots m5"];

/// One run.
pub(super) struct Run<'a> {
    pub of: &'a TrainingRun,
    pub points: Vec<Point<'a>>,
    index: usize,
}

/// What a line says, and how far the run had come.
pub(super) struct Point<'a> {
    pub line: &'a Metrics,
    /// Targets up to here.
    pub byte_count: f64,
    /// Seconds of updates up to here.
    pub seconds: f64,
}

impl<'a> Run<'a> {
    /// The run at this place on the page.
    pub fn new(index: usize, of: &'a TrainingRun) -> Self {
        let (mut byte_count, mut seconds, mut step) = (0.0, 0.0, 0);
        let points = of.lines.iter().map(|line| {
            byte_count += line.target_count_across as f64;
            let update_count = line.global_step.saturating_sub(step);
            seconds += line.update_seconds * update_count as f64;
            step = line.global_step;
            Point { line, byte_count, seconds }
        });
        Self { of, points: points.collect(), index }
    }

    pub fn color(&self) -> &'static str {
        COLORS[self.index.min(COLORS.len() - 1)]
    }

    pub fn train(&self) -> &'static str {
        TRAINS[self.index.min(TRAINS.len() - 1)]
    }

    pub fn line(&self) -> &'static str {
        LINES[self.index.min(LINES.len() - 1)]
    }

    pub fn dots(&self) -> &'static str {
        DOTS[self.index.min(DOTS.len() - 1)]
    }

    /// Bits per byte on held-out text, and at how many bytes of training they were scored.
    pub fn held_out(&self) -> Vec<(f64, f64)> {
        let scored = |point: &Point<'_>| Some((point.byte_count, point.line.eval_bits_per_byte?));
        self.points.iter().filter_map(scored).collect()
    }

    /// The best of them, with its update.
    pub fn best(&self) -> Option<(u64, f64)> {
        let scored = self.points.iter();
        let scored =
            scored.filter_map(|it| Some((it.line.global_step, it.line.eval_bits_per_byte?)));
        scored.filter(|(_, bpb)| bpb.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Figures of a line, over bytes of training.
    pub fn over_bytes(&self, of: impl Fn(&Metrics) -> Option<f64>) -> Vec<(f64, f64)> {
        let point = |point: &Point<'_>| Some((point.byte_count, of(point.line)?));
        self.points.iter().filter_map(point).collect()
    }

    /// The middle one of the figures of all lines.
    pub fn median(&self, of: impl Fn(&Metrics) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.of.lines.iter().filter_map(of).collect();
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Patches of the whole run by their length.
    pub fn patch_lengths(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for more in self.of.lines.iter().filter_map(|line| line.patch_lengths.as_ref()) {
            counts.resize(counts.len().max(more.len()), 0);
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
        counts
    }
}
