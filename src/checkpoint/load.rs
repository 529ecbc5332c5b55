//! From a model directory onto an engine, and back.

use super::{ModelDirectory, ModelWriter};
use crate::blt::config::ModelConfig;
use crate::blt::parameters::{PATCHER_PREFIX, model_parameters};
use crate::blt::{LoadedDirectory, LoadedModel};
use crate::engine::Engine;
use crate::error::Result;
use std::path::Path;

/// Elements that are read, checked and handed over together: 16 MiB.
pub const PIECE_ELEMENTS: usize = 4 << 20;

/// Elements that may be on their way to a device: 128 MiB.
const WAITING_ELEMENTS: usize = 32 << 20;

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
    write_weights(engine, &model, directory, prefix).await?;
    Ok(model)
}

/// Gives a model the weights that stand in the directory under `prefix`: a piece after the other
/// through memory, and the device waited for now and then, so that what is on its way stays small.
///
/// # Errors
/// As [`LoadedDirectory::load`].
pub async fn write_weights<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    directory: &ModelDirectory,
    prefix: &str,
) -> Result<()> {
    let mut staging = Vec::new();
    let mut waiting = 0;
    for parameter in &model.parameters {
        let name = format!("{prefix}{}", parameter.name);
        let place = model.layout.require(&parameter.name)?;
        for rows in parameter.row_pieces(PIECE_ELEMENTS) {
            let first_row = rows.start;
            staging.resize(rows.len() * parameter.cols, 0.0);
            directory.read_rows(&name, rows, &mut staging)?;
            engine.write_rows(&model.store, place, first_row, &staging)?;
            waiting += staging.len();
            if waiting > WAITING_ELEMENTS {
                // Reading comes behind everything that was written.
                let shard = place.shards.first().expect("a tensor lies somewhere");
                engine.read(&model.store, shard.arena, shard.offset, 1).await?;
                waiting = 0;
            }
        }
    }
    Ok(())
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
