//! What the app does by itself: types a text, writes on, learns, and looks at what came of it.

use super::desk::Desk;
use super::frames::{FrameFigures, Frames};
use super::models::Part;
use super::options::Options;
use std::ops::Range;

/// What is typed. In its middle is what no model of prose expects.
pub const TYPED: &str = "\
The clockmaker of the village had three daughters, and every morning they walked with him to the \
market by the river, where he sold his clocks to the people of the town.

A GPU dreams in bytes: 0x2F, 7 qubits, zigzag!

One evening in the winter, when the snow lay deep upon the roofs, the youngest of them said";

/// At which temperature and from which seed the model writes: what it writes is known from them.
pub const TEMPERATURE: f32 = 0.7;
pub const SEED: u64 = 3;

/// Characters that are typed in a frame: faster than people, so that reading is behind.
const TYPED_A_FRAME: usize = 5;

/// How far it is.
pub struct Script {
    phase: Phase,
    write_count: usize,
    part: Part,
    step_count: usize,
    /// Frames in which models learned.
    pub learning_frames: FrameFigures,
    /// The frames of each step.
    pub steps: Vec<Range<usize>>,
    first_learning_frame: usize,
    /// The text behind what was typed, once the model has written.
    pub written: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Typing { next: usize },
    Writing,
    Learning,
    Resting { frames: usize },
    Over,
}

impl Script {
    /// A script at its begin.
    pub fn new(options: &Options) -> Self {
        Self {
            phase: Phase::Typing { next: 0 },
            write_count: options.write_count,
            part: options.part,
            step_count: options.step_count,
            learning_frames: FrameFigures::default(),
            steps: Vec::new(),
            first_learning_frame: 0,
            written: String::new(),
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Does what comes next, before a frame.
    pub fn play(&mut self, desk: &mut Desk, input: &mut egui::RawInput, frames: &Frames) {
        if desk.problem.is_some() {
            self.phase = Phase::Over;
        }
        if desk.learning.losses.len() > self.steps.len() {
            let first = self.steps.last().map_or(self.first_learning_frame, |step| step.end);
            self.steps.push(first..frames.times_ms.len());
        }
        self.phase = match self.phase {
            Phase::Typing { next } if next < TYPED.len() => {
                let end = (next + TYPED_A_FRAME).min(TYPED.len());
                // As a keyboard would do it.
                input.events.push(egui::Event::Text(TYPED[next..end].to_owned()));
                Phase::Typing { next: end }
            }
            Phase::Typing { .. } if desk.text == TYPED && desk.is_at_rest() => {
                desk.writing.temperature = TEMPERATURE;
                desk.writing.seed = SEED;
                desk.writing.byte_count = self.write_count;
                desk.writing.is_wanted = true;
                Phase::Writing
            }
            Phase::Writing if desk.is_at_rest() => {
                self.written = desk.text[TYPED.len()..].to_owned();
                desk.learning.part = self.part;
                desk.learning.wanted_steps = self.step_count;
                self.first_learning_frame = frames.times_ms.len();
                Phase::Learning
            }
            Phase::Learning if desk.is_at_rest() => {
                self.learning_frames = frames.figures(self.first_learning_frame);
                Phase::Resting { frames: 3 }
            }
            Phase::Resting { frames: 0 } => Phase::Over,
            Phase::Resting { frames } => Phase::Resting { frames: frames - 1 },
            phase => phase,
        };
    }
}
