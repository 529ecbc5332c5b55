//! A patcher: ids in, entropies and patch lengths out, by the rule and entropy model of a model.

use super::score::{ScoreOptions, Scorer};
use crate::blt::config::ModelConfig;
use crate::blt::patching::{Patching, first_patch_of_one};
use crate::blt::{LoadedDirectory, LoadedModel, model_patching};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Positions that the entropy model scores in one replay.
const BATCH_BYTES: usize = 16_384;

/// Cuts rows of ids into patches.
pub struct Patcher<'m, E: Engine> {
    engine: &'m E,
    patching: Patching,
    entropy: Option<(&'m LoadedModel<E>, Scorer<E>)>,
}

/// A row and how it falls into patches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cut {
    /// Nats of the prediction after each id; empty where none were needed.
    pub entropies: Vec<f32>,
    /// Sum to the number of ids, or one more with the virtual token; the first is 1.
    pub patch_lengths: Vec<u32>,
}

impl Cut {
    /// Positions at which patches start; the last may be that of the virtual token.
    pub fn starts(&self) -> Vec<usize> {
        let mut next = 0;
        let starts = self.patch_lengths.iter().map(|&length| {
            let start = next;
            next += length as usize;
            start
        });
        starts.collect()
    }
}

impl<'m, E: Engine> Patcher<'m, E> {
    /// A patcher by this rule.
    ///
    /// # Errors
    /// Settings that mean nothing, or a rule that reads entropies and no model that gives them.
    pub fn new(
        engine: &'m E,
        patching: Patching,
        entropy_model: Option<&'m LoadedModel<E>>,
    ) -> Result<Self> {
        patching.check()?;
        if patching.mode.needs_entropies() && entropy_model.is_none() {
            let subject = format!("{} patching", patching.mode.name());
            return Err(Error::input(subject, "expected an entropy model, got none")
                .with_hint("use a model that carries one, or a mode that needs none: space"));
        }
        let entropy = entropy_model.map(|model| {
            let context = match &model.config {
                ModelConfig::Entropy(config) => config.transformer.max_positions,
                ModelConfig::Blt(config) => config.encoder.max_positions,
            };
            (model, Scorer::new(ScoreOptions { context, batch_bytes: BATCH_BYTES }))
        });
        Ok(Self { engine, patching, entropy })
    }

    /// The patcher of a directory, or `None` for a lone entropy model, which reads no patches.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(engine: &'m E, directory: &'m LoadedDirectory<E>) -> Result<Option<Self>> {
        match &directory.model.config {
            ModelConfig::Entropy(_) => Ok(None),
            ModelConfig::Blt(config) => {
                let patching = model_patching(config);
                Self::new(engine, patching, directory.patcher.as_ref()).map(Some)
            }
        }
    }

    /// The rule.
    pub fn patching(&self) -> &Patching {
        &self.patching
    }

    /// The same patcher with lengths that sum to the ids, without the virtual token.
    #[must_use]
    pub fn without_next_token(mut self) -> Self {
        self.patching.include_next_token = false;
        self
    }

    /// Entropy in nats of the prediction after every id; empty where there is no entropy model.
    /// A row longer than the entropy model's positions is scored in windows.
    ///
    /// # Errors
    /// An id outside the vocabulary, or a device that fails.
    pub async fn entropies(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        crate::text::check_ids(ids)?;
        match &mut self.entropy {
            None => Ok(Vec::new()),
            Some((model, scorer)) => scorer.entropies(self.engine, model, ids).await,
        }
    }

    /// Patch lengths as a model reads them: those of the rule, the first split to length 1.
    /// Entropies are asked for only where the rule reads them.
    ///
    /// # Errors
    /// No ids, an id outside the vocabulary, or a device that fails.
    pub async fn cut(&mut self, ids: &[u32]) -> Result<Cut> {
        let entropies = match self.patching.mode.needs_entropies() {
            true => self.entropies(ids).await?,
            false => Vec::new(),
        };
        let patch_lengths = self.lengths(ids, &entropies)?;
        Ok(Cut { entropies, patch_lengths })
    }

    /// The same with entropies that are known already; a rule that reads none takes any.
    ///
    /// # Errors
    /// No ids, an id outside the vocabulary, or another number of entropies than of ids.
    pub fn lengths(&self, ids: &[u32], entropies: &[f32]) -> Result<Vec<u32>> {
        Ok(first_patch_of_one(&self.patching.patch_lengths(ids, entropies)?))
    }
}
