//! From a model directory onto an engine, and back.

use super::{ModelDirectory, ModelWriter};
use crate::blt::config::ModelConfig;
use crate::blt::parameters::{PATCHER_PREFIX, model_parameters};
use crate::blt::{LoadedDirectory, LoadedModel};
use crate::engine::Engine;
use crate::error::Result;
use std::path::Path;

impl<E: Engine> LoadedDirectory<E> {
    /// Uploads the weights of a directory; with `training`, there is room for gradients and moments
    /// of the model, never of the patcher.
    ///
    /// # Errors
    /// A tensor with an element that is not finite, or a device that has not the memory.
    pub async fn load(engine: &E, directory: &ModelDirectory, training: bool) -> Result<Self> {
        let config = directory.config().clone();
        let patcher = match &config {
            ModelConfig::Blt(_) => load_entropy_model(engine, directory).await?,
            ModelConfig::Entropy(_) => None,
        };
        let model = upload(engine, directory, config, "", training).await?;
        Ok(Self { model, patcher })
    }
}

/// The entropy model of a directory alone: the patcher of a BLT, or a lone one; `None` where a BLT
/// carries none.
///
/// # Errors
/// As [`LoadedDirectory::load`].
pub async fn load_entropy_model<E: Engine>(
    engine: &E,
    directory: &ModelDirectory,
) -> Result<Option<LoadedModel<E>>> {
    let (config, prefix) = match directory.config() {
        ModelConfig::Entropy(config) => (config, ""),
        ModelConfig::Blt(config) => match &config.patcher {
            Some(config) => (config, PATCHER_PREFIX),
            None => return Ok(None),
        },
    };
    let config = ModelConfig::Entropy(config.clone());
    upload(engine, directory, config, prefix, false).await.map(Some)
}

/// A model whose tensors stand in the directory under `prefix`.
async fn upload<E: Engine>(
    engine: &E,
    directory: &ModelDirectory,
    config: ModelConfig,
    prefix: &str,
    training: bool,
) -> Result<LoadedModel<E>> {
    let model = LoadedModel::create(engine, config, training).await?;
    for parameter in &model.parameters {
        let values = directory.read(&format!("{prefix}{}", parameter.name))?;
        model.write(engine, &parameter.name, &values)?;
    }
    Ok(model)
}

/// Writes models as a directory; `config` is that of the whole, with the patcher if there is one.
///
/// # Errors
/// A weight that is not finite, a device that is lost, or a disk that refuses; what was there
/// before is then still whole.
pub async fn save_directory<E: Engine>(
    engine: &E,
    path: &Path,
    config: &ModelConfig,
    model: &LoadedModel<E>,
    patcher: Option<&LoadedModel<E>>,
) -> Result<()> {
    let mut writer = ModelWriter::create(path, config)?;
    for parameter in model_parameters(config) {
        let values = match (parameter.name.strip_prefix(PATCHER_PREFIX), patcher) {
            (Some(name), Some(patcher)) => patcher.read(engine, name).await?,
            _ => model.read(engine, &parameter.name).await?,
        };
        writer.push(&parameter.name, &values)?;
    }
    writer.commit()
}
