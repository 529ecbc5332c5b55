//! How a model's text is cut into patches, spec §3.

use super::defaults::DEFAULT_PATCHING_THRESHOLD;

/// The rule by which patches begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchingMode {
    /// Where the entropy of the next byte passes a global threshold.
    Entropy,
    /// Where the entropy rises by more than the threshold (approximate monotonic constraint).
    Monotonic,
    /// Where both the entropy and its rise pass their thresholds.
    Combined,
    /// After space-like bytes.
    Space,
    /// Every `patch_size` bytes.
    Static,
    /// Every byte.
    Byte,
    /// After every BPE delimiter id.
    Bpe,
}

impl PatchingMode {
    /// Every mode, in the order in which they are documented.
    pub const ALL: [Self; 7] = [
        Self::Entropy,
        Self::Monotonic,
        Self::Combined,
        Self::Space,
        Self::Static,
        Self::Byte,
        Self::Bpe,
    ];

    /// The name in configuration files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entropy => "entropy",
            Self::Monotonic => "monotonic",
            Self::Combined => "combined",
            Self::Space => "space",
            Self::Static => "static",
            Self::Byte => "byte",
            Self::Bpe => "bpe",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Whether the rule reads the scores of an entropy model.
    pub fn needs_entropies(self) -> bool {
        matches!(self, Self::Entropy | Self::Monotonic | Self::Combined)
    }
}

/// Patching as a model was trained with it.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchingConfig {
    /// The rule.
    pub mode: PatchingMode,
    /// Threshold in nats; compared in f32 with a strict `>`.
    pub threshold: f64,
    /// The second threshold of [`PatchingMode::Combined`], on the rise of the entropy, in nats.
    pub threshold_add: Option<f64>,
    /// Bytes a patch in [`PatchingMode::Static`]; also the number of byte states that are
    /// concatenated where nothing is pooled.
    pub patch_size: usize,
    /// Longer patches are cut greedily from the left.
    pub max_patch_length: Option<usize>,
}

impl Default for PatchingConfig {
    fn default() -> Self {
        Self {
            mode: PatchingMode::Entropy,
            threshold: DEFAULT_PATCHING_THRESHOLD,
            threshold_add: None,
            patch_size: 4,
            max_patch_length: None,
        }
    }
}
