//! How the documents of a run are cut into patches, and where the entropies come from.

use crate::blt::LoadedModel;
use crate::blt::config as model;
use crate::blt::patching::{Patching, PatchingMode};
use crate::engine::Engine;
use crate::error::Result;
use crate::eval::{PreparedScore, ScoreOptions, Scorer};
use crate::train::config::{self, PatcherConfig};

/// Most positions that the entropy model sees at once, as in the reference (spec §3.14).
const ENTROPY_CONTEXT: usize = 8192;

/// Patching of documents before they are packed: no virtual token.
pub fn patching_of(config: &PatcherConfig) -> Patching {
    let threshold = config.threshold as f32;
    let mode = match (config.patching_mode, config.monotonicity, config.threshold_add) {
        (config::PatchingMode::Entropy, true, _) => PatchingMode::Monotonic { threshold },
        (config::PatchingMode::Entropy, false, None) => PatchingMode::Entropy { threshold },
        (config::PatchingMode::Entropy, false, Some(add)) => {
            PatchingMode::Combined { threshold, threshold_add: add as f32 }
        }
        (config::PatchingMode::Space, ..) => PatchingMode::Space,
        (config::PatchingMode::Static, ..) => {
            PatchingMode::Static { patch_size: config.patch_size as u32 }
        }
        (config::PatchingMode::Byte, ..) => PatchingMode::Byte,
        (config::PatchingMode::Bpe, ..) => PatchingMode::BpeDelimiter,
    };
    let max_patch_length =
        config.max_patch_length.map(|length| u32::try_from(length).unwrap_or(u32::MAX));
    Patching { mode, max_patch_length, include_next_token: false }
}

/// The same rule as a model writes it down, so that its text is cut later as it was in training.
/// `patch_size` is the model's own where the rule has none.
pub fn patching_config(config: &PatcherConfig, patch_size: usize) -> model::PatchingConfig {
    let mode = match patching_of(config).mode {
        PatchingMode::Static { .. } => model::PatchingMode::Static,
        PatchingMode::Space => model::PatchingMode::Space,
        PatchingMode::Entropy { .. } => model::PatchingMode::Entropy,
        PatchingMode::Monotonic { .. } => model::PatchingMode::Monotonic,
        PatchingMode::Combined { .. } => model::PatchingMode::Combined,
        PatchingMode::Byte => model::PatchingMode::Byte,
        PatchingMode::BpeDelimiter => model::PatchingMode::Bpe,
    };
    let is_static = mode == model::PatchingMode::Static;
    model::PatchingConfig {
        mode,
        threshold: config.threshold,
        threshold_add: config.threshold_add,
        patch_size: if is_static { config.patch_size as usize } else { patch_size },
        max_patch_length: config.max_patch_length,
    }
}

/// Gives entropies of documents.
#[allow(async_fn_in_trait, reason = "used directly, never across threads")]
pub trait EntropySource {
    /// Entropy in nats of the prediction made after every id of a document, `[ids]`.
    ///
    /// # Errors
    /// If the device fails.
    async fn entropies(&mut self, ids: &[u32]) -> Result<Vec<f32>>;

    /// The same of several documents, which may be scored together.
    ///
    /// # Errors
    /// If the device fails.
    async fn entropies_of(&mut self, documents: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let mut entropies = Vec::with_capacity(documents.len());
        for ids in documents {
            entropies.push(self.entropies(ids).await?);
        }
        Ok(entropies)
    }

    /// Ids of documents that are best scored together; 0 where it makes no difference.
    fn group_ids(&self) -> usize {
        0
    }

    /// Whether there is a device behind it, which stays with its thread.
    fn has_device(&self) -> bool {
        true
    }
}

/// For patching that needs none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEntropies;

impl EntropySource for NoEntropies {
    async fn entropies(&mut self, _ids: &[u32]) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }

    fn has_device(&self) -> bool {
        false
    }
}

impl<S: EntropySource> EntropySource for Option<S> {
    async fn entropies(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        match self {
            Some(source) => source.entropies(ids).await,
            None => Ok(Vec::new()),
        }
    }

    async fn entropies_of(&mut self, documents: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        match self {
            Some(source) => source.entropies_of(documents).await,
            None => Ok(vec![Vec::new(); documents.len()]),
        }
    }

    fn group_ids(&self) -> usize {
        self.as_ref().map_or(0, S::group_ids)
    }

    fn has_device(&self) -> bool {
        self.as_ref().is_some_and(S::has_device)
    }
}

impl<S: EntropySource> EntropySource for &mut S {
    async fn entropies(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        (**self).entropies(ids).await
    }

    async fn entropies_of(&mut self, documents: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        (**self).entropies_of(documents).await
    }

    fn group_ids(&self) -> usize {
        (**self).group_ids()
    }

    fn has_device(&self) -> bool {
        (**self).has_device()
    }
}

/// An entropy model on a device.
pub struct EntropyScorer<'e, E: Engine> {
    engine: &'e E,
    /// The entropy model.
    pub model: LoadedModel<E>,
    scorer: Scorer<E>,
    options: ScoreOptions,
}

impl<'e, E: Engine> EntropyScorer<'e, E> {
    /// Scores with `model`, a lone entropy model, in windows of its longest row.
    pub fn new(engine: &'e E, model: LoadedModel<E>) -> Self {
        let context = match &model.config {
            model::ModelConfig::Entropy(config) => config.transformer.max_positions,
            model::ModelConfig::Blt(_) => panic!("entropies come from an entropy model"),
        };
        let context = context.min(ENTROPY_CONTEXT);
        let options = ScoreOptions { context, batch_bytes: ENTROPY_CONTEXT };
        Self { engine, model, scorer: Scorer::new(options), options }
    }
}

impl<E: Engine> EntropySource for EntropyScorer<'_, E> {
    async fn entropies(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        self.scorer.entropies(self.engine, &self.model, ids).await
    }

    async fn entropies_of(&mut self, documents: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let mut entropies = vec![Vec::new(); documents.len()];
        for prepared in PreparedScore::of(&self.model.config, documents, self.options)? {
            self.scorer.run(self.engine, &self.model, &prepared, &mut entropies).await?;
        }
        Ok(entropies)
    }

    fn group_ids(&self) -> usize {
        self.options.batch_bytes
    }
}
