//! The modes of patching, and a row of ids cut by one of them. Spec §3.
//!
//! ids `[N]`, entropies `[N]` (nats) -> patch lengths `[P]`, which sum to N, or to N + 1 with the
//! virtual token: the token to be predicted next, whose patch the model has to know. Rows are
//! independent of each other. No length is zero.

use super::lengths::{cap_lengths, lengths_of_starts, strided_lengths};
use super::{delimiter, entropy, space};
use crate::error::{Error, Result};
use crate::text::check_ids;

/// The entropy threshold of the released models, in nats: about 4.5 bytes a patch on their
/// training mix. Spec §3.4.
pub const DEFAULT_THRESHOLD: f32 = 1.335_442_066_192_627_f64 as f32;

/// What decides that a patch starts. Thresholds are in nats, compared in f32, strictly.
///
/// In every mode but `Static`, positions 0 and 1 start patches whatever the rule says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PatchingMode {
    /// Every `patch_size` ids, from 0 on; the first patch is not special. Spec §3.9.
    Static { patch_size: u32 },
    /// After the first of a run of space-like bytes, and after special ids. Spec §3.8.
    Space,
    /// Where the entropy exceeds the threshold. Spec §3.4.
    Entropy { threshold: f32 },
    /// Where the entropy has risen by more than the threshold since the token before. Spec §3.5.
    Monotonic { threshold: f32 },
    /// Where both are so: above `threshold`, and risen by more than `threshold_add`. Spec §3.6.
    Combined { threshold: f32, threshold_add: f32 },
    /// Everywhere. Spec §3.10.
    Byte,
    /// After the id [`BPE_ID`](crate::text::BPE_ID). Spec §3.11.
    BpeDelimiter,
}

/// A mode of patching and what holds for any mode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patching {
    pub mode: PatchingMode,
    /// Longer patches are cut into this length, from the left, the virtual token included.
    /// Spec §3.13.
    pub max_patch_length: Option<u32>,
    /// Whether the lengths count the virtual token: so in front of the model, not so where
    /// documents are prepared for packing. Spec §3.1.
    pub include_next_token: bool,
}

impl PatchingMode {
    /// Whether entropies of the ids decide.
    pub fn needs_entropies(self) -> bool {
        match self {
            Self::Entropy { .. } | Self::Monotonic { .. } | Self::Combined { .. } => true,
            Self::Static { .. } | Self::Space | Self::Byte | Self::BpeDelimiter => false,
        }
    }

    /// The name by which people choose the mode.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static { .. } => "static",
            Self::Space => "space",
            Self::Entropy { .. } => "entropy",
            Self::Monotonic { .. } => "monotonic",
            Self::Combined { .. } => "combined",
            Self::Byte => "byte",
            Self::BpeDelimiter => "bpe",
        }
    }
}

impl Patching {
    /// The mode as the model uses it: lengths count the virtual token, and there is no longest one.
    pub fn new(mode: PatchingMode) -> Self {
        Self { mode, max_patch_length: None, include_next_token: true }
    }

    /// That the settings mean something.
    ///
    /// # Errors
    /// A patch size or longest patch of 0; a threshold that is no finite number.
    pub fn check(&self) -> Result<()> {
        let subject = || format!("{} patching", self.mode.name());
        if self.max_patch_length == Some(0) {
            let problem = "max_patch_length: expected at least 1, got 0";
            return Err(Error::input(subject(), problem));
        }
        let thresholds: &[(&str, f32)] = match self.mode {
            PatchingMode::Static { patch_size: 0 } => {
                return Err(Error::input(subject(), "patch_size: expected at least 1, got 0"));
            }
            PatchingMode::Entropy { threshold } | PatchingMode::Monotonic { threshold } => {
                &[("threshold", threshold)]
            }
            PatchingMode::Combined { threshold, threshold_add } => {
                &[("threshold", threshold), ("threshold_add", threshold_add)]
            }
            _ => &[],
        };
        match thresholds.iter().find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some((name, value)) => {
                let problem = format!("{name}: expected a finite number of nats, got {value}");
                Err(Error::input(subject(), problem))
            }
        }
    }

    /// The patch lengths of one row.
    ///
    /// `entropies[i]` is the entropy in nats of the prediction made after `ids[i]`, about the id
    /// behind it. Modes that use none take an empty slice too.
    ///
    /// # Errors
    /// No ids; an id outside the vocabulary; another number of entropies than of ids; an entropy
    /// that is no finite number; settings that [`check`](Self::check) refuses.
    pub fn patch_lengths(&self, ids: &[u32], entropies: &[f32]) -> Result<Vec<u32>> {
        self.check()?;
        self.check_row(ids, entropies)?;
        let row_length = self.row_length(ids.len())?;
        let natural = match self.mode {
            PatchingMode::Static { patch_size } => strided_lengths(row_length, patch_size),
            PatchingMode::Byte => vec![1; row_length as usize],
            PatchingMode::Space => {
                lengths_of_starts(row_length, |start| space::starts_at(ids, start))
            }
            PatchingMode::BpeDelimiter => {
                lengths_of_starts(row_length, |start| delimiter::starts_at(ids, start))
            }
            PatchingMode::Entropy { threshold } => lengths_of_starts(row_length, |start| {
                entropy::starts_above(entropies, start, threshold)
            }),
            PatchingMode::Monotonic { threshold } => lengths_of_starts(row_length, |start| {
                entropy::starts_at_rise(entropies, start, threshold)
            }),
            PatchingMode::Combined { threshold, threshold_add } => {
                lengths_of_starts(row_length, |start| {
                    entropy::starts_above_at_rise(entropies, start, threshold, threshold_add)
                })
            }
        };
        Ok(match self.max_patch_length {
            Some(max_length) => cap_lengths(&natural, max_length),
            None => natural,
        })
    }

    /// What the lengths of a row of `id_count` ids sum to.
    ///
    /// # Errors
    /// More ids than u32 counts.
    pub(super) fn row_length(&self, id_count: usize) -> Result<u32> {
        let row_length = id_count as u64 + u64::from(self.include_next_token);
        u32::try_from(row_length).map_err(|_| Error::Limit {
            limit: "ids in a row".to_owned(),
            needed: row_length,
            available: u64::from(u32::MAX),
            hint: "cut the text into shorter documents".to_owned(),
        })
    }

    fn check_row(&self, ids: &[u32], entropies: &[f32]) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::input("ids to patch", "expected at least one id, got none"));
        }
        check_ids(ids)?;
        let not_needed = entropies.is_empty() && !self.mode.needs_entropies();
        if entropies.len() != ids.len() && !not_needed {
            return Err(Error::input(
                format!("entropies for {} patching", self.mode.name()),
                format!("expected {}, one per id, got {}", ids.len(), entropies.len()),
            ));
        }
        check_entropies(entropies)
    }
}

/// That every entropy is a finite number.
pub(super) fn check_entropies(entropies: &[f32]) -> Result<()> {
    match entropies.iter().position(|entropy| !entropy.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::input(
            format!("entropies[{index}]"),
            format!("expected a finite number of nats, got {}", entropies[index]),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(patching: Patching, ids: &[u32], entropies: &[f32]) -> String {
        patching.patch_lengths(ids, entropies).unwrap_err().to_string()
    }

    #[test]
    fn bad_rows_are_refused() {
        let entropy = Patching::new(PatchingMode::Entropy { threshold: 1.0 });
        let space = Patching::new(PatchingMode::Space);
        assert_eq!(message(space, &[], &[]), "ids to patch: expected at least one id, got none");
        assert_eq!(
            message(entropy, &[1, 2], &[0.5]),
            "entropies for entropy patching: expected 2, one per id, got 1"
        );
        assert_eq!(
            message(entropy, &[1], &[]),
            "entropies for entropy patching: expected 1, one per id, got 0"
        );
        assert_eq!(
            message(space, &[1, 2], &[0.5; 3]),
            "entropies for space patching: expected 2, one per id, got 3"
        );
        assert_eq!(
            message(entropy, &[1, 2], &[0.5, f32::NAN]),
            "entropies[1]: expected a finite number of nats, got NaN"
        );
        assert_eq!(
            message(entropy, &[1, 2], &[f32::INFINITY, 0.5]),
            "entropies[0]: expected a finite number of nats, got inf"
        );
        assert_eq!(message(space, &[1, 260], &[]), "ids[1]: expected an id in 0..260, got 260");
    }

    #[test]
    fn bad_settings_are_refused() {
        let fixed = Patching::new(PatchingMode::Static { patch_size: 0 });
        assert_eq!(
            message(fixed, &[1], &[]),
            "static patching: patch_size: expected at least 1, got 0"
        );
        let space = Patching::new(PatchingMode::Space);
        assert_eq!(
            message(Patching { max_patch_length: Some(0), ..space }, &[1], &[]),
            "space patching: max_patch_length: expected at least 1, got 0"
        );
        let nan = f32::NAN;
        for mode in [
            PatchingMode::Entropy { threshold: nan },
            PatchingMode::Monotonic { threshold: nan },
            PatchingMode::Combined { threshold: nan, threshold_add: 0.0 },
        ] {
            let expected = "threshold: expected a finite number of nats, got NaN";
            assert!(message(Patching::new(mode), &[1], &[1.0]).ends_with(expected));
        }
        let combined = PatchingMode::Combined { threshold: 0.0, threshold_add: f32::INFINITY };
        assert_eq!(
            message(Patching::new(combined), &[1], &[1.0]),
            "combined patching: threshold_add: expected a finite number of nats, got inf"
        );
    }

    #[test]
    fn only_some_modes_need_entropies() {
        let byte = Patching::new(PatchingMode::Byte);
        assert_eq!(byte.patch_lengths(&[1, 5], &[]).unwrap(), [1, 1, 1]);
        assert_eq!(byte.patch_lengths(&[1, 5], &[0.0, 9.0]).unwrap(), [1, 1, 1]);
    }

    #[test]
    fn the_default_threshold_is_the_released_one() {
        assert_eq!(f64::from(DEFAULT_THRESHOLD), 1.335_442_066_192_627);
    }
}
