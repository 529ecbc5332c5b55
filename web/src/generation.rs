//! A text that a model goes on with, in pieces as they come.

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::{Kind, Model, Result};
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::device::Device;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{BYTES_A_SUBMISSION, End, ModelSource, OnLimit, Piece, Stops, TextStream};
use blt_wgpu::text::{BOS_ID, byte_of};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a text is gone on with; what is left out is greedy.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GenerateOptions {
    /// Most ids of the answer.
    pub max_bytes: usize,
    pub seed: u64,
    pub temperature: f32,
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
    pub repetition_penalty: f32,
    /// Strings before which the answer ends.
    pub stop: Vec<String>,
    pub allow_special: bool,
    /// Bytes that a GPU adds by itself before anybody hears of them; 0: as many as suit it.
    pub bytes_a_submission: usize,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_bytes: 200,
            seed: 0,
            temperature: 0.0,
            top_k: 0,
            top_p: 0.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            stop: Vec::new(),
            allow_special: false,
            bytes_a_submission: 0,
        }
    }
}

/// Text that is sure, and the bytes it is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BytePiece {
    pub text: String,
    pub bytes: Vec<u8>,
    /// Of the entropy model's prediction of each, in nats; not a number where it made none.
    pub entropies: Vec<f32>,
    /// Whether a patch begins with each.
    pub starts: Vec<bool>,
}

/// An answer that has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Generated {
    pub text: String,
    /// Ids that were generated, an end of the text included.
    pub byte_count: usize,
    /// `eos`, `count`, `stop` or `interrupted`.
    pub end: &'static str,
    /// From the begin to the first id: plans, prompt, choice.
    pub first_byte_ms: f64,
    /// Of the prompt, over the same time.
    pub prefill_bytes_per_second: f64,
    /// Ids after the first.
    pub bytes_per_second: f64,
}

/// How long steps follow each other before pieces are handed over and others have a turn.
const TURN: Duration = Duration::from_millis(30);

impl Model<'_> {
    /// Goes on with a text until the options, the model or somebody ends it; `on_piece` has the
    /// text as it comes. A prompt that is longer than the model's positions slides.
    ///
    /// # Errors
    /// Options out of their range; a device that fails.
    pub async fn generate(
        &mut self,
        prompt: &[u8],
        options: &GenerateOptions,
        surroundings: &impl Surroundings,
        mut on_piece: impl FnMut(BytePiece),
    ) -> Result<Generated> {
        let stops = Stops {
            count: Some(options.max_bytes),
            strings: options.stop.iter().map(|text| text.as_bytes().to_vec()).collect(),
        };
        let sampler = options.sampler()?;
        let begin = surroundings.monotonic_seconds();
        let device: &Device = self.device;
        let bytes = match (options.bytes_a_submission, device) {
            (0, Device::Cpu(_)) => 1,
            (0, Device::Gpu(_)) => BYTES_A_SUBMISSION,
            (bytes, _) => bytes,
        };
        let source =
            ModelSource::with_bytes_a_submission(device, &self.loaded, sampler, bytes).await?;
        let mut stream = TextStream::new(source, &stops, OnLimit::Slide)?;
        match prompt.is_empty() {
            true => stream.push_ids(&[BOS_ID])?,
            false => stream.push(prompt),
        }
        if options.max_bytes > 0 {
            surroundings.breathe().await;
            stream.prefill().await?;
        }
        let mut text = String::new();
        let mut give = |piece: Piece| {
            text.push_str(&piece.text);
            if !piece.events.is_empty() {
                on_piece(BytePiece::of(&piece));
            }
        };
        let mut first = None;
        while !surroundings.is_stop_requested() {
            let piece = match first {
                None => stream.step().await?,
                Some(_) => stream.run_for(TURN, surroundings).await?,
            };
            let Some(piece) = piece else { break };
            first.get_or_insert_with(|| surroundings.monotonic_seconds());
            give(piece);
            surroundings.breathe().await;
        }
        give(stream.cancel());
        let end = surroundings.monotonic_seconds();
        let first = first.unwrap_or(end);
        let byte_count = stream.generated().len();
        let rate = |count: usize, seconds: f64| match seconds > 0.0 {
            true => count as f64 / seconds,
            false => 0.0,
        };
        Ok(Generated {
            text,
            byte_count,
            end: match stream.end() {
                Some(End::EndOfText) => "eos",
                Some(End::Count) => "count",
                Some(End::String(_)) => "stop",
                Some(End::Cancelled) | None => "interrupted",
            },
            first_byte_ms: (first - begin) * 1e3,
            prefill_bytes_per_second: rate(prompt.len(), first - begin),
            bytes_per_second: rate(byte_count.saturating_sub(1), end - first),
        })
    }

    /// Whether texts fall into patches: not with a lone entropy model.
    pub fn has_patches(&self) -> bool {
        matches!(self.loaded.model.config, ModelConfig::Blt(_))
    }
}

impl GenerateOptions {
    fn sampler(&self) -> Result<Sampler> {
        let options = SamplingOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            allow_special: self.allow_special,
            banned_ids: Vec::new(),
        };
        Sampler::new(options, self.seed)
            .map_err(|error| Failure { kind: Kind::Input, ..Failure::from(error) })
    }
}

impl BytePiece {
    fn of(piece: &Piece) -> Self {
        let mut bytes = Self { text: piece.text.clone(), ..Self::default() };
        for event in &piece.events {
            let Some(byte) = byte_of(event.id) else { continue };
            bytes.bytes.push(byte);
            bytes.entropies.push(event.patch_entropy.unwrap_or(f32::NAN));
            bytes.starts.push(event.starts_patch);
        }
        bytes
    }
}
