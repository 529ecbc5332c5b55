//! How the documents of a run are cut into patches, and where the entropies come from.

use crate::blt::LoadedModel;
use crate::blt::config as model;
use crate::blt::patching::{Patching, PatchingMode};
use crate::engine::Engine;
use crate::error::Result;
use crate::eval::bits_per_byte::Window;
use crate::eval::{PreparedScore, ScoreOptions, Scorer, Scoring};
use crate::train::config::{self, PatcherConfig};

/// Most positions that the entropy model sees at once where it cuts text, as in the reference (spec
/// §3.14).
pub const ENTROPY_CONTEXT: usize = 8192;

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

/// Gives entropies of documents, window by window.
#[allow(async_fn_in_trait, reason = "used directly, never across threads")]
pub trait EntropySource {
    /// Windows that are being scored.
    type Scoring;

    /// Most positions of a window.
    fn context(&self) -> usize;

    /// Positions that are best scored together.
    fn slice_positions(&self) -> usize {
        self.context()
    }

    /// Begins to score windows, each of the document with its index. Where a device works by
    /// itself it does so while the host goes on.
    ///
    /// # Errors
    /// If the device fails.
    async fn begin(
        &mut self,
        documents: &[&[u32]],
        windows: Vec<(usize, Window)>,
    ) -> Result<Self::Scoring>;

    /// Waits for the entropies, in nats, of the predictions made from the `score_from` of every
    /// window on, in the order of the windows, each with the index of its document.
    ///
    /// # Errors
    /// If the device fails.
    async fn finish(&mut self, scoring: Self::Scoring) -> Result<Vec<(usize, Vec<f32>)>>;

    /// Whether there is a device behind it, which stays with its thread.
    fn has_device(&self) -> bool {
        true
    }
}

/// For patching that needs none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEntropies;

impl EntropySource for NoEntropies {
    type Scoring = ();

    fn context(&self) -> usize {
        usize::MAX
    }

    async fn begin(&mut self, _: &[&[u32]], _: Vec<(usize, Window)>) -> Result<()> {
        Ok(())
    }

    async fn finish(&mut self, (): ()) -> Result<Vec<(usize, Vec<f32>)>> {
        Ok(Vec::new())
    }

    fn has_device(&self) -> bool {
        false
    }
}

impl<S: EntropySource> EntropySource for Option<S> {
    type Scoring = Option<S::Scoring>;

    fn context(&self) -> usize {
        self.as_ref().map_or(usize::MAX, S::context)
    }

    fn slice_positions(&self) -> usize {
        self.as_ref().map_or(usize::MAX, S::slice_positions)
    }

    async fn begin(
        &mut self,
        documents: &[&[u32]],
        windows: Vec<(usize, Window)>,
    ) -> Result<Self::Scoring> {
        match self {
            Some(source) => source.begin(documents, windows).await.map(Some),
            None => Ok(None),
        }
    }

    async fn finish(&mut self, scoring: Self::Scoring) -> Result<Vec<(usize, Vec<f32>)>> {
        match (self, scoring) {
            (Some(source), Some(scoring)) => source.finish(scoring).await,
            _ => Ok(Vec::new()),
        }
    }

    fn has_device(&self) -> bool {
        self.as_ref().is_some_and(S::has_device)
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

    /// Bytes of the device that the model and its plan take.
    pub fn memory_bytes(&self) -> usize {
        let plan = self.scorer.entropies_bytes();
        self.model.layout.size_bytes() + plan.transients + plan.inputs
    }
}

impl<'e, E: Engine> EntropySource for EntropyScorer<'e, E> {
    type Scoring = Scoring<'e>;

    fn context(&self) -> usize {
        self.options.context
    }

    fn slice_positions(&self) -> usize {
        self.options.batch_bytes
    }

    async fn begin(
        &mut self,
        documents: &[&[u32]],
        windows: Vec<(usize, Window)>,
    ) -> Result<Scoring<'e>> {
        let prepared = PreparedScore::new(&self.model.config, documents, windows)?;
        self.scorer.begin(self.engine, &self.model, &prepared).await
    }

    async fn finish(&mut self, scoring: Scoring<'e>) -> Result<Vec<(usize, Vec<f32>)>> {
        scoring.finish().await
    }
}
