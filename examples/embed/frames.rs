//! How long frames take.

/// Milliseconds of frames, the latest last.
#[derive(Default)]
pub struct Frames {
    pub times_ms: Vec<f32>,
}

/// Frames in figures, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FrameFigures {
    pub count: usize,
    pub median: f32,
    /// The 99th percentile: one frame in a hundred takes longer.
    pub p99: f32,
    pub longest: f32,
}

impl Frames {
    /// Figures of the frames from `first` on; zeros if there is none.
    pub fn figures(&self, first: usize) -> FrameFigures {
        let mut times = self.times_ms[first.min(self.times_ms.len())..].to_vec();
        times.sort_by(f32::total_cmp);
        let at = |share: f64| {
            let rank = (times.len() as f64 * share).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        FrameFigures { count: times.len(), median: at(0.5), p99: at(0.99), longest: at(1.0) }
    }
}
