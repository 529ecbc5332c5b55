//! Bits per byte, and the windows in which a document longer than the context is scored.
//!
//! One definition everywhere: the nats of all targets divided by ln 2 and by the number of those
//! targets. Targets are the bytes of a document and its end-of-document id (paper Eq. 18; that the
//! end counts is how the reference implementation counts). A model over larger tokens is held to
//! the same denominator: its nats over UTF-8 bytes + document ends. A model that knows nothing has
//! log2(260) = 8.0224.

use serde::{Deserialize, Serialize};

/// Nats and targets so far; sums of f64, in the order they are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitsPerByte {
    /// Sum of the cross-entropies, natural logarithm.
    pub nats: f64,
    /// Number of targets they are of.
    pub target_count: u64,
}

/// A stretch of input positions `start..end` to be run at once, of which those from `score_from`
/// are scored; position `p` reads id `p` and predicts id `p + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: usize,
    pub end: usize,
    pub score_from: usize,
}

impl BitsPerByte {
    /// Counts the losses of targets, in nats each.
    pub fn add_losses(&mut self, losses: &[f32]) {
        for &loss in losses {
            self.nats += f64::from(loss);
        }
        self.target_count += losses.len() as u64;
    }

    /// Counts a sum of nats over so many targets.
    pub fn add(&mut self, nats: f64, target_count: u64) {
        self.nats += nats;
        self.target_count += target_count;
    }

    /// Bits per target; 0 where nothing was counted.
    pub fn bits_per_byte(&self) -> f64 {
        self.mean_nats() / std::f64::consts::LN_2
    }

    /// Nats per target; 0 where nothing was counted.
    pub fn mean_nats(&self) -> f64 {
        if self.target_count == 0 { 0.0 } else { self.nats / self.target_count as f64 }
    }

    /// Perplexity per target, `exp(mean_nats)`.
    pub fn perplexity(&self) -> f64 {
        self.mean_nats().exp()
    }
}

/// The windows that score each of a document's `length` input positions exactly once.
///
/// `length` is the number of targets: ids minus one. `context` is the most positions that are run
/// at once. The first window scores all it holds; the first half (rounded down) of every other is
/// context only, and overlaps the window before. So a position is either scored with everything
/// before it, or with at least half a context before it. Windows begin at multiples of the context
/// less its half, whatever the length: which one scores a position, and what it holds before that,
/// follows from the position alone.
///
/// # Panics
/// If `context` is 0.
pub fn windows(length: usize, context: usize) -> Vec<Window> {
    assert!(context > 0, "windows: a context holds at least one position");
    let mut windows = Vec::new();
    let mut scored = 0;
    while let Some(window) = next_window(length, context, scored) {
        windows.push(window);
        scored = window.end;
    }
    windows
}

/// The window of [`windows`] that scores on from `scored`, the end of another or 0; `None` behind
/// the last.
pub fn next_window(length: usize, context: usize, scored: usize) -> Option<Window> {
    if scored >= length {
        return None;
    }
    let start = if scored == 0 { 0 } else { scored - context / 2 };
    let end = length.min(start.saturating_add(context));
    Some(Window { start, end, score_from: scored })
}

/// Where the window begins that scores a position, and whether that is the first one it scores.
///
/// # Panics
/// If `context` is 0.
pub fn window_at(position: usize, context: usize) -> (usize, bool) {
    assert!(context > 0, "windows: a context holds at least one position");
    let stride = context - context / 2;
    match position.checked_sub(context) {
        None => (0, position == 0),
        Some(behind) => ((behind / stride + 1) * stride, behind.is_multiple_of(stride)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn anchors() {
        let mut score = BitsPerByte::default();
        assert_eq!(score.bits_per_byte(), 0.0);
        score.add(260_f64.ln() * 1000.0, 1000);
        assert!((score.bits_per_byte() - 8.0224).abs() < 5e-5);
        assert!((score.perplexity() - 260.0).abs() < 1e-9);
        let mut one = BitsPerByte::default();
        one.add_losses(&[0.5, 1.5]);
        assert_eq!((one.nats, one.target_count), (2.0, 2));
        assert!((one.bits_per_byte() - std::f64::consts::LOG2_E).abs() < 1e-15);
    }

    #[test]
    fn many_small_losses_are_not_lost() {
        let mut score = BitsPerByte::default();
        score.add(1e9, 1);
        score.add_losses(&[1e-3; 1000]);
        assert!((score.nats - 1e9 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn windows_of_eight() {
        let window = |start, end, score_from| Window { start, end, score_from };
        assert_eq!(windows(0, 8), []);
        assert_eq!(windows(5, 8), [window(0, 5, 0)]);
        assert_eq!(windows(8, 8), [window(0, 8, 0)]);
        assert_eq!(windows(9, 8), [window(0, 8, 0), window(4, 9, 8)]);
        assert_eq!(
            windows(17, 8),
            [window(0, 8, 0), window(4, 12, 8), window(8, 16, 12), window(12, 17, 16)]
        );
        assert_eq!(windows(3, 1), [window(0, 1, 0), window(1, 2, 1), window(2, 3, 2)]);
        assert_eq!(windows(5, 3), [window(0, 3, 0), window(2, 5, 3)]);
    }

    proptest! {
        #[test]
        fn each_position_is_scored_once_with_the_context_of_the_rule(
            length in 0_usize..500,
            context in 1_usize..70,
        ) {
            let mut times_scored = vec![0; length];
            for window in windows(length, context) {
                prop_assert!(window.start <= window.score_from && window.score_from < window.end);
                prop_assert!(window.end <= length && window.end - window.start <= context);
                for position in window.score_from..window.end {
                    let is_first = position == window.score_from;
                    prop_assert_eq!(window_at(position, context), (window.start, is_first));
                }
                // The first position that a window scores is the one with least before it.
                let before = window.score_from - window.start;
                prop_assert!(window.start == 0 || before >= context / 2);
                for times in &mut times_scored[window.score_from..window.end] {
                    *times += 1;
                }
                // Only a last window may hold fewer positions than fit.
                let full = window.end - window.start == context;
                prop_assert!(full || window.end == length);
            }
            prop_assert!(times_scored.iter().all(|&times| times == 1));
        }

        #[test]
        fn a_longer_document_has_the_same_windows_and_more(
            length in 1_usize..500,
            more in 0_usize..200,
            context in 1_usize..70,
        ) {
            let (short, long) = (windows(length, context), windows(length + more, context));
            for (short, long) in short.iter().zip(&long) {
                prop_assert_eq!((short.start, short.score_from), (long.start, long.score_from));
                prop_assert_eq!(short.start % (context - context / 2), 0);
                prop_assert_eq!(short.end, long.end.min(length));
            }
        }
    }
}
