//! The threshold that gives patches of a wanted mean length. Paper §4.3, spec §3.16.
//!
//! Only the scores that occur matter: between two neighbouring ones every threshold makes the same
//! cuts. The mean length never falls as the threshold rises, so a bisection over the sorted scores
//! finds the best step exactly.

use super::bytes_per_patch::bytes_per_patch;
use super::mode::{Patching, PatchingMode, check_entropies};
use super::{entropy, lengths};
use crate::error::{Error, Result};

/// How far a threshold that lies outside of all scores stays away from them, in nats.
const MARGIN: f32 = 1e-3;

/// A threshold and what it does to the documents it was made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// In nats. It lies midway between two scores where it can, so that scores which come out a
    /// little different on another device still fall on the same side.
    pub threshold: f32,
    /// What it gives: [`bytes_per_patch`] of the two counts.
    pub bytes_per_patch: f64,
    /// All ids but the first of each document.
    pub byte_count: u64,
    /// Patches that hold an id.
    pub patch_count: u64,
}

/// The threshold of `patching` (whose own is ignored) at which [`bytes_per_patch`] of all documents
/// comes nearest to `wanted`; of two equally near ones the lower. See [`Calibrator`].
///
/// # Errors
/// As [`Calibrator::new`] and [`Calibrator::at`].
pub fn calibrate_threshold<D: AsRef<[f32]>>(
    patching: &Patching,
    documents: &[D],
    wanted: f64,
) -> Result<Calibration> {
    Calibrator::new(patching, documents)?.at(wanted)
}

/// Finds thresholds for some documents.
///
/// `documents[d][i]` is the entropy in nats after id i of document d, one per id with BOS and EOS.
/// Starts that no threshold can prevent and the longest length of `patching` count as they do in
/// [`Patching::patch_lengths`]; the virtual token is in no figure. In `Combined` patching the
/// second threshold stands, and the first is looked for.
pub struct Calibrator<'d, D> {
    patching: Patching,
    rule: Rule,
    documents: &'d [D],
    byte_count: u64,
    /// What a threshold may be compared with, increasing, each once.
    scores: Vec<f32>,
}

impl<'d, D: AsRef<[f32]>> Calibrator<'d, D> {
    /// Looks through the documents.
    ///
    /// # Errors
    /// A mode that reads no entropies; no documents, or one with no entropies; an entropy that is
    /// no finite number.
    pub fn new(patching: &Patching, documents: &'d [D]) -> Result<Self> {
        let patching = Patching { include_next_token: false, ..*patching };
        let rule = Rule::of(&patching)?;
        check_documents(documents)?;
        let mut byte_count = 0;
        let mut scores = Vec::new();
        for document in documents {
            let row_length = patching.row_length(document.as_ref().len())?;
            byte_count += u64::from(row_length) - 1;
            scores.extend(rule.scores(document.as_ref(), row_length));
        }
        scores.sort_unstable_by(f32::total_cmp);
        // Zeroes of either sign are one score.
        scores.dedup_by(|a, b| *a == *b);
        Ok(Self { patching, rule, documents, byte_count, scores })
    }

    /// The threshold that comes nearest to a wanted mean length; of two equally near ones the
    /// lower. A mean out of reach gives the end of the range: compare
    /// [`Calibration::bytes_per_patch`].
    ///
    /// # Errors
    /// A wanted length that is no number from 1 up.
    pub fn at(&self, wanted: f64) -> Result<Calibration> {
        if !(wanted.is_finite() && wanted >= 1.0) {
            return Err(Error::input(
                "wanted bytes per patch",
                format!("expected a finite number of at least 1, got {wanted}"),
            ));
        }
        // The first step whose mean is not below the wanted one, or the last step.
        let (mut low, mut high) = (0, self.scores.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at_step(middle).bytes_per_patch < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let above = self.at_step(low);
        let below = self.at_step(low.saturating_sub(1));
        let distance = |found: &Calibration| (found.bytes_per_patch - wanted).abs();
        Ok(if distance(&below) <= distance(&above) { below } else { above })
    }

    fn at_step(&self, step: usize) -> Calibration {
        let (threshold, byte_count) = (threshold_of_step(&self.scores, step), self.byte_count);
        let patch_count = self.rule.count_patches(&self.patching, self.documents, threshold);
        let bytes_per_patch = bytes_per_patch(byte_count, patch_count);
        Calibration { threshold, bytes_per_patch, byte_count, patch_count }
    }
}

/// What a threshold is compared with.
#[derive(Clone, Copy)]
enum Rule {
    Above,
    Rise,
    /// Above, where it has risen by more than this.
    AboveAtRise(f32),
}

impl Rule {
    fn of(patching: &Patching) -> Result<Self> {
        let rule = match patching.mode {
            PatchingMode::Entropy { .. } => Self::Above,
            PatchingMode::Monotonic { .. } => Self::Rise,
            PatchingMode::Combined { threshold_add, .. } => Self::AboveAtRise(threshold_add),
            other => {
                return Err(Error::input(
                    "threshold calibration",
                    format!("expected patching by entropies, got {}", other.name()),
                ));
            }
        };
        // The threshold is what is looked for; whatever stands there now is as good as any.
        let mode = match rule {
            Self::AboveAtRise(add) => PatchingMode::Combined { threshold: 0.0, threshold_add: add },
            Self::Above | Self::Rise => PatchingMode::Entropy { threshold: 0.0 },
        };
        Patching { mode, ..*patching }.check()?;
        Ok(rule)
    }

    /// The scores of one document that decide about starts: all but those of forced ones.
    fn scores(self, entropies: &[f32], row_length: u32) -> impl Iterator<Item = f32> {
        let first_asked = match self {
            Self::Above => 2,
            Self::Rise => 3,
            Self::AboveAtRise(_) => 4,
        };
        (first_asked..row_length as usize).filter_map(move |start| match self {
            Self::Above => Some(entropies[start - 1]),
            Self::Rise => Some(entropy::rise(entropies, start)),
            Self::AboveAtRise(add) => {
                (entropy::rise(entropies, start) > add).then(|| entropies[start - 1])
            }
        })
    }

    fn count_patches<D: AsRef<[f32]>>(
        self,
        patching: &Patching,
        documents: &[D],
        threshold: f32,
    ) -> u64 {
        let count = |entropies: &[f32]| {
            let row_length = patching.row_length(entropies.len()).expect("checked before");
            lengths::count_patches(row_length, patching.max_patch_length, |start| match self {
                Self::Above => entropy::starts_above(entropies, start, threshold),
                Self::Rise => entropy::starts_at_rise(entropies, start, threshold),
                Self::AboveAtRise(add) => {
                    entropy::starts_above_at_rise(entropies, start, threshold, add)
                }
            })
        };
        documents.iter().map(|document| count(document.as_ref())).sum()
    }
}

/// A threshold that the lowest `step` of the scores do not exceed and the others do.
fn threshold_of_step(scores: &[f32], step: usize) -> f32 {
    match (step.checked_sub(1).map(|last| scores[last]), scores.get(step).copied()) {
        (None, None) => 0.0,
        (None, Some(lowest)) => (lowest - MARGIN).min(lowest.next_down()),
        (Some(highest), None) => highest + MARGIN,
        (Some(under), Some(over)) => {
            let middle = under + (over - under) / 2.0;
            // Neighbouring floats have nothing between them, and a score itself is not exceeded.
            if middle < over { middle } else { under }
        }
    }
}

fn check_documents<D: AsRef<[f32]>>(documents: &[D]) -> Result<()> {
    if documents.is_empty() {
        let problem = "expected the entropies of at least one document, got none";
        return Err(Error::input("threshold calibration", problem));
    }
    for (index, document) in documents.iter().enumerate() {
        let subject = || format!("document {index} of threshold calibration");
        if document.as_ref().is_empty() {
            return Err(Error::input(subject(), "expected at least one entropy, got none"));
        }
        check_entropies(document.as_ref())
            .map_err(|error| Error::input(subject(), error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "calibration_test.rs"]
mod tests;
