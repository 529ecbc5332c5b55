//! What a run of the demo, or of a training, knows about itself.
//!
//! Plain data with serde on both sides, so that a run can leave it as JSON beside its page. Losses
//! are nats, `bpb` is bits per byte, times are seconds since the run began unless a name says
//! otherwise. A figure that is not finite is left out of charts, never drawn.

use serde::{Deserialize, Serialize};

/// One run, from its first second to its last figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// What ran, as a heading: `"A Byte Latent Transformer in three minutes"`.
    pub title: String,
    pub program: Program,
    pub device: Device,
    pub corpus: Corpus,
    pub result: Figures,
    /// Models without a neural network, for comparison on the same held-out bytes.
    pub baselines: Vec<Baseline>,
    pub entropy_model: ModelCard,
    pub blt: ModelCard,
    pub entropy_curve: Curve,
    pub blt_curve: Curve,
    pub patching: Patching,
    pub strip: Option<EntropyStrip>,
    pub samples: Vec<Sample>,
    /// In the order in which they happened; they need not cover the whole run.
    pub phases: Vec<Phase>,
    pub replay: Replay,
}

/// The program that ran and the words it was started with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub name: String,
    pub version: String,
    pub commit: Option<String>,
    /// As the caller wants to see it, such as `"2026-03-01 14:05 UTC"`.
    pub started_at: Option<String>,
    pub command: String,
}

/// Where it ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    /// `"cpu"`, `"vulkan"`, `"metal"`, `"dx12"` or `"webgpu"`.
    pub backend: String,
    pub driver: Option<String>,
    pub memory_bytes: Option<u64>,
    pub thread_count: Option<u32>,
}

/// What was learnt from, and what was kept back to measure with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Corpus {
    pub name: String,
    pub train_bytes: u64,
    pub held_out_bytes: u64,
}

/// The figures a run is remembered by, all on held-out bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub bpb: f64,
    pub entropy_bpb: f64,
    pub bytes_per_patch: f64,
    /// Wall-clock seconds of the whole run.
    pub seconds: f64,
}

/// Something simpler, measured on the same held-out bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Such as `"order-2 byte counts"` or `"zstd -19"`.
    pub name: String,
    pub bpb: f64,
    /// How it was measured, in a few words.
    pub note: String,
}

/// The shape of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    pub name: String,
    pub parts: Vec<ModelPart>,
    /// What is worth a row in a table and has no field here: context, optimiser, hash tables.
    pub facts: Vec<Fact>,
}

impl ModelCard {
    /// Parameters of all parts.
    pub fn parameter_count(&self) -> u64 {
        self.parts.iter().map(|part| part.parameter_count).sum()
    }
}

/// One part of a model: local encoder, latent transformer, hash tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelPart {
    pub name: String,
    pub parameter_count: u64,
    /// Its shape in a few words: `"4 layers, width 192, 6 heads"`.
    pub shape: String,
}

/// A named value, both as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

impl Fact {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// The training of one model, in order of steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub points: Vec<CurvePoint>,
}

/// What was measured at one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Optimiser steps done, from 1.
    pub step: u64,
    /// Since the run (not this training) began, so that both curves share one time axis.
    pub seconds: f64,
    pub loss_nats: f64,
    pub train_bpb: f64,
    /// Where the held-out bytes were scored after this step.
    pub held_out_bpb: Option<f64>,
    pub learning_rate: f64,
    /// Global norm before clipping.
    pub gradient_norm: f64,
    pub bytes_per_second: f64,
}

/// How bytes became patches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patching {
    /// As on the command line: `"entropy"`, `"space"`, `"static"`.
    pub mode: String,
    /// A patch begins at a byte whose entropy is above this (spec §3.4).
    pub threshold_nats: Option<f64>,
    /// What calibration aimed at.
    pub target_bytes_per_patch: Option<f64>,
    pub max_patch_length: Option<u32>,
    /// Thresholds that calibration tried, in any order.
    pub calibration: Vec<CalibrationPoint>,
    /// `length_counts[i]`: held-out patches of `i` bytes.
    pub length_counts: Vec<u64>,
}

impl Patching {
    /// `length_counts` of a list of patch lengths.
    pub fn count_lengths(patch_lengths: &[u32]) -> Vec<u64> {
        let longest = patch_lengths.iter().copied().max().unwrap_or(0) as usize;
        let mut counts = vec![0; longest + 1];
        for &length in patch_lengths {
            counts[length as usize] += 1;
        }
        counts
    }
}

/// One threshold that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    pub threshold_nats: f64,
    pub bytes_per_patch: f64,
}

/// A held-out excerpt as the entropy model saw it.
///
/// `ids` and `entropies_nats` have one entry a token; `patch_lengths` sum to their count. Entry `i`
/// of `entropies_nats` is how uncertain the model was about token `i` before it read it, which is
/// the score `i - 1` of spec §3.3: where it is above the threshold, a patch begins *at* `i`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntropyStrip {
    pub ids: Vec<u32>,
    pub entropies_nats: Vec<f32>,
    pub patch_lengths: Vec<u32>,
    pub threshold_nats: Option<f32>,
    /// Where the excerpt is from, in a few words.
    pub source: String,
}

impl EntropyStrip {
    /// Cuts whole patches out of one scored row.
    ///
    /// `ids` and `scores` are `[N]` with `scores[i]` the entropy after reading ids `0..=i`;
    /// `patch_lengths` sum to `N` or, with the virtual token, `N + 1`. The excerpt begins with the
    /// first patch at or after `first_index` (never the very first token, which nothing predicts)
    /// and takes patches while at most `count` tokens are taken. `None` if no patch fits.
    pub fn from_row(
        ids: &[u32],
        scores: &[f32],
        patch_lengths: &[u32],
        first_index: usize,
        count: usize,
    ) -> Option<Self> {
        assert_eq!(ids.len(), scores.len(), "one score for each id");
        let mut start = 0;
        let mut begin = None;
        let mut end = 0;
        let mut lengths = Vec::new();
        for &length in patch_lengths {
            let stop = (start + length as usize).min(ids.len());
            if start >= first_index.max(1) && stop > start {
                let first = *begin.get_or_insert(start);
                if stop - first > count {
                    break;
                }
                lengths.push((stop - start) as u32);
                end = stop;
            }
            start = stop;
        }
        let begin = begin.filter(|_| !lengths.is_empty())?;
        Some(Self {
            ids: ids[begin..end].to_vec(),
            entropies_nats: scores[begin - 1..end - 1].to_vec(),
            patch_lengths: lengths,
            threshold_nats: None,
            source: String::new(),
        })
    }
}

/// Text that the model wrote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What it was given, without BOS; may be empty.
    pub prompt_ids: Vec<u32>,
    /// What it wrote.
    pub ids: Vec<u32>,
    /// Patches of `ids` alone; they sum to its count, or to one more with the virtual token.
    pub patch_lengths: Vec<u32>,
    /// How it was drawn: `"temperature 0.8, top-p 0.95, seed 7"`.
    pub settings: String,
    /// Of generation without the prompt.
    pub bytes_per_second: Option<f64>,
}

/// A stretch of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
    /// What it did, in a few words: `"620 steps of 8 x 256 bytes"`.
    pub detail: String,
}

/// What is needed to have the same run again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// The command that repeats it, given the record as a file of the name below.
    pub command: String,
    pub file_name: String,
    /// The record itself: seeds, shapes, step counts, kernel variants.
    pub record: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of a row of ten: score `i` is `i / 10`, so that a strip shows which it took.
    fn row() -> (Vec<u32>, Vec<f32>, Vec<u32>) {
        let ids = (0..10).map(|index| 100 + index).collect();
        let scores = (0..10).map(|index| index as f32 / 10.0).collect();
        (ids, scores, vec![1, 3, 2, 4, 1])
    }

    #[test]
    fn a_strip_takes_whole_patches_and_the_score_before_each_token() {
        let (ids, scores, lengths) = row();
        let strip = EntropyStrip::from_row(&ids, &scores, &lengths, 2, 6).unwrap();
        assert_eq!(strip.ids, [104, 105, 106, 107, 108, 109]);
        assert_eq!(strip.patch_lengths, [2, 4]);
        assert_eq!(strip.entropies_nats, [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]);
    }

    #[test]
    fn a_strip_never_begins_with_the_token_that_nothing_predicts() {
        let (ids, scores, lengths) = row();
        let strip = EntropyStrip::from_row(&ids, &scores, &lengths, 0, 4).unwrap();
        assert_eq!((strip.ids[0], strip.entropies_nats[0]), (101, 0.0));
        assert_eq!(strip.patch_lengths, [3]);
        assert_eq!(EntropyStrip::from_row(&ids, &scores, &lengths, 0, 2), None);
        assert_eq!(EntropyStrip::from_row(&[1], &[0.5], &[1, 1], 0, 9), None);
    }

    #[test]
    fn a_report_survives_json() {
        let report = crate::report::sample_run::sample_run();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<RunReport>(&text).unwrap(), report);
    }

    #[test]
    fn lengths_are_counted_by_length() {
        assert_eq!(Patching::count_lengths(&[3, 1, 3, 0]), [1, 1, 0, 2]);
        assert_eq!(Patching::count_lengths(&[]), [0]);
    }
}
