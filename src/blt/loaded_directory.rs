//! The models of a model directory on an engine: the model, and its entropy model where it carries
//! one.

use super::LoadedModel;
use super::config::ModelConfig;
use crate::engine::Engine;

/// The models of a directory, their weights in Stores.
pub struct LoadedDirectory<E: Engine> {
    /// A BLT, or a lone entropy model.
    pub model: LoadedModel<E>,
    /// The entropy model inside a BLT, a model of its own here.
    pub patcher: Option<LoadedModel<E>>,
}

impl<E: Engine> LoadedDirectory<E> {
    /// What gives entropies here: the patcher of a BLT, or the lone entropy model itself.
    pub fn entropy_model(&self) -> Option<&LoadedModel<E>> {
        match &self.model.config {
            ModelConfig::Blt(_) => self.patcher.as_ref(),
            ModelConfig::Entropy(_) => Some(&self.model),
        }
    }
}
