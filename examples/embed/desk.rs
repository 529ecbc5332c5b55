//! What the window and the jobs know of each other: what is wanted, and what has come of it.

use super::models::{Models, Part};
use super::options::Options;
use blt_wgpu::blt::patching::{Patching, PatchingMode, first_patch_of_one};
use blt_wgpu::gpu::wgpu;
use blt_wgpu::text::encode;
use std::time::Instant;

/// The text on the desk, and everything about it.
pub struct Desk {
    pub text: String,
    /// Rises with every change of the text.
    pub edit_count: u64,
    /// Rises whenever a model has learned.
    pub weights_count: u64,
    pub scored: Scored,
    /// The rule by which the text is cut, with the threshold of the slider.
    pub patching: Patching,
    /// Whether a patch begins at each byte of the scored text.
    pub starts: Vec<bool>,
    pub writing: Writing,
    pub learning: Learning,
    /// What went wrong last, for people.
    pub problem: Option<String>,
}

/// What is known of a text: of the one on the desk, or of one that was there shortly before.
#[derive(Default)]
pub struct Scored {
    pub text: String,
    pub edit_count: u64,
    pub weights_count: u64,
    /// Nats of the prediction in front of each byte, `[bytes]`, where they lie on the device.
    pub buffer: Option<wgpu::Buffer>,
    /// The same on the host, which cuts the text by them; not drawn.
    pub entropies: Vec<f32>,
}

/// The model that writes.
pub struct Writing {
    pub is_wanted: bool,
    pub temperature: f32,
    pub byte_count: usize,
    pub seed: u64,
    /// Bytes that were written since it began, and when that was.
    pub written: usize,
    pub began: Option<Instant>,
    pub bytes_per_second: f32,
    /// Where in the text the model has begun to write.
    pub begins_at: usize,
}

/// The model that learns.
pub struct Learning {
    /// Steps that are still wanted; `usize::MAX` until somebody says stop.
    pub wanted_steps: usize,
    pub part: Part,
    pub learns_text: bool,
    pub learning_rate: f32,
    /// Bits a byte of every step so far.
    pub losses: Vec<f32>,
    /// Milliseconds of the last step, with the frames that came in between.
    pub step_ms: f32,
    /// Whether a step is under way.
    pub is_busy: bool,
}

impl Desk {
    /// A desk with the text to begin with.
    pub fn new(models: &Models, options: &Options) -> Self {
        let part = models.parts()[0];
        Self {
            text: if options.script { String::new() } else { BEGIN.to_owned() },
            edit_count: 1,
            weights_count: 0,
            scored: Scored::default(),
            patching: models.patching(),
            starts: Vec::new(),
            writing: Writing {
                is_wanted: false,
                temperature: 0.7,
                byte_count: 200,
                seed: 1,
                written: 0,
                began: None,
                bytes_per_second: 0.0,
                begins_at: usize::MAX,
            },
            learning: Learning {
                wanted_steps: 0,
                part,
                learns_text: false,
                learning_rate: 1e-3,
                losses: Vec::new(),
                step_ms: 0.0,
                is_busy: false,
            },
            problem: None,
        }
    }

    /// Cuts the scored text anew, by the rule as it is now.
    pub fn cut(&mut self) {
        let Self { scored, patching, .. } = self;
        let ids = encode(scored.text.as_bytes(), true, false);
        let is_known = scored.entropies.len() == ids.len();
        let entropies = if is_known { scored.entropies.as_slice() } else { &[] };
        self.starts = vec![false; scored.text.len()];
        let Ok(lengths) = patching.patch_lengths(&ids, entropies) else { return };
        let mut start = 0;
        for length in first_patch_of_one(&lengths) {
            // Id 0 is no byte, and the virtual token behind the text is none yet.
            if (1..ids.len()).contains(&start) {
                self.starts[start - 1] = true;
            }
            start += length as usize;
        }
    }

    /// Bytes from the begin of the text of which the entropies are known.
    pub fn known_byte_count(&self) -> usize {
        let both = self.text.bytes().zip(self.scored.text.bytes());
        both.take_while(|(now, then)| now == then).count()
    }

    /// Patches of the scored text, that of the begin not counted.
    pub fn patch_count(&self) -> usize {
        self.starts.iter().filter(|&&starts| starts).count()
    }

    /// The threshold, where the rule has one.
    pub fn threshold(&self) -> Option<f32> {
        match self.patching.mode {
            PatchingMode::Entropy { threshold } => Some(threshold),
            _ => None,
        }
    }

    /// Adds to the end of the text.
    pub fn append(&mut self, text: &str) {
        self.text.push_str(text);
        self.edit_count += 1;
    }

    /// Whether everything that was asked for is done.
    pub fn is_at_rest(&self) -> bool {
        let is_scored = self.scored.edit_count == self.edit_count
            && self.scored.weights_count == self.weights_count;
        let learns = self.learning.wanted_steps > 0 || self.learning.is_busy;
        is_scored && !self.writing.is_wanted && !learns
    }
}

const BEGIN: &str = "\
To be, or not to be, that is the question:
Whether 'tis nobler in the mind to suffer
The slings and arrows of outrageous fortune,
Or to take arms against a sea of troubles
";
