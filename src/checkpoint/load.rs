//! From a model directory onto an engine, and back.

use super::mapped_table::MappedTable;
use super::underway::Underway;
use super::{ModelDirectory, ModelWriter};
use crate::blt::config::ModelConfig;
use crate::blt::parameters::{
    BYTE_EMBEDDING_NAME, HASH_TABLE_NAME, PATCHER_PREFIX, ParameterSpec, model_parameters,
};
use crate::blt::{
    HostEmbedding, LoadedDirectory, LoadedModel, Precision, WeightTypes, hash_config,
};
use crate::engine::Engine;
use crate::error::Result;
use crate::packed::WeightType;
use std::path::Path;

/// Elements that are read, checked and handed over together: 16 MiB.
pub const PIECE_ELEMENTS: usize = 4 << 20;

/// In which types weights shall lie on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadedTypes {
    /// Matrices as they are stored, vectors in f32.
    #[default]
    Stored,
    /// Matrices as `blt convert` would write them: with blocks, what it does not put into blocks
    /// stays as it is stored.
    Of(WeightType),
}

/// How a directory is loaded that is read and not trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    pub types: LoadedTypes,
    /// Hash tables stay where they are stored, in the type they have there; embeddings are made on
    /// the host. The directory stays open as long as the model.
    pub tables_on_host: bool,
    /// What products of many rows are computed in: prompts, whole texts. Bytes that follow a prompt
    /// one by one, entropies and so the ends of patches are f32 in either.
    pub precision: Precision,
}

impl<E: Engine> LoadedDirectory<E> {
    /// Uploads the weights of a directory: with `training`, in f32, with room for gradients and
    /// moments of the model, never of the patcher; without, as they are stored.
    ///
    /// # Errors
    /// A tensor with an element that is not finite, or a device that has not the memory.
    pub async fn load(engine: &E, directory: &ModelDirectory, training: bool) -> Result<Self> {
        if !training {
            return Self::load_as(engine, directory, LoadOptions::default()).await;
        }
        let patcher = load_patcher(engine, directory, LoadOptions::default()).await?;
        let model = LoadedModel::create(engine, directory.config().clone(), true).await?;
        write_weights(engine, &model, directory, "").await?;
        Ok(Self { model, patcher })
    }

    /// The same to be read only, as the options say.
    ///
    /// # Errors
    /// As [`Self::load`]; an element that is too large for its type.
    pub async fn load_as(
        engine: &E,
        directory: &ModelDirectory,
        options: LoadOptions,
    ) -> Result<Self> {
        let patcher = load_patcher(engine, directory, options).await?;
        let config = directory.config().clone();
        let mut model = upload(engine, directory, config, "", options).await?;
        model.compute_in(engine, options.precision)?;
        if let ModelConfig::Blt(config) = &model.config
            && options.tables_on_host
            && config.hash.table_count() > 0
        {
            let (hash, cols) = (hash_config(&config.hash), config.encoder.hidden_size);
            let bytes = model.read(engine, BYTE_EMBEDDING_NAME).await?;
            let table = MappedTable::new(directory.clone(), HASH_TABLE_NAME)?;
            model.host_embedding = Some(HostEmbedding::new(hash, bytes, cols, table));
        }
        Ok(Self { model, patcher })
    }
}

async fn load_patcher<E: Engine>(
    engine: &E,
    directory: &ModelDirectory,
    options: LoadOptions,
) -> Result<Option<LoadedModel<E>>> {
    match directory.config() {
        ModelConfig::Blt(_) => entropy_model(engine, directory, options).await,
        ModelConfig::Entropy(_) => Ok(None),
    }
}

/// The entropy model of a directory alone: the patcher of a BLT, or a lone one; `None` where a BLT
/// carries none. Its weights lie as they are stored.
///
/// # Errors
/// As [`LoadedDirectory::load`].
pub async fn load_entropy_model<E: Engine>(
    engine: &E,
    directory: &ModelDirectory,
) -> Result<Option<LoadedModel<E>>> {
    entropy_model(engine, directory, LoadOptions::default()).await
}

async fn entropy_model<E: Engine>(
    engine: &E,
    directory: &ModelDirectory,
    options: LoadOptions,
) -> Result<Option<LoadedModel<E>>> {
    let (config, prefix) = match directory.config() {
        ModelConfig::Entropy(config) => (config, ""),
        ModelConfig::Blt(config) => match &config.patcher {
            Some(config) => (config, PATCHER_PREFIX),
            None => return Ok(None),
        },
    };
    let config = ModelConfig::Entropy(config.clone());
    upload(engine, directory, config, prefix, options).await.map(Some)
}

/// A model whose tensors stand in the directory under `prefix`.
async fn upload<E: Engine>(
    engine: &E,
    directory: &ModelDirectory,
    config: ModelConfig,
    prefix: &str,
    options: LoadOptions,
) -> Result<LoadedModel<E>> {
    let stored = |spec: &ParameterSpec| {
        let stored = directory.weight_type(&format!("{prefix}{}", spec.name));
        stored.expect("the directory has what its configuration says")
    };
    let of = |spec: &ParameterSpec| match options.types {
        LoadedTypes::Of(weights) if !weights.is_blocks() => weights,
        LoadedTypes::Of(weights) if prefix.is_empty() && spec.may_be_blocks() => weights,
        LoadedTypes::Of(_) | LoadedTypes::Stored => stored(spec),
    };
    let mut weights = WeightTypes::new(&config, of);
    if options.tables_on_host {
        weights = weights.without_tables();
    }
    let model = LoadedModel::create_packed(engine, config, &weights).await?;
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
    let (mut staging, mut words) = (Vec::new(), Vec::new());
    let mut underway = Underway::default();
    for parameter in &model.parameters {
        let name = format!("{prefix}{}", parameter.name);
        let place = model.layout.require(&parameter.name)?;
        for rows in parameter.row_pieces(PIECE_ELEMENTS) {
            let first_row = rows.start;
            let length = rows.len() * place.row_length();
            if underway.is_full_before(length) {
                // Reading comes behind everything that was written.
                let shard = place.shards.first().expect("a tensor lies somewhere");
                engine.read(&model.store, shard.arena, shard.offset, 1).await?;
            }
            if place.weights.is_packed() {
                words.resize(length, 0);
                directory.read_words(&name, rows, place.weights, &mut words, &mut staging)?;
                let bits = bytemuck::cast_slice(&words);
                engine.write_rows(&model.store, place, first_row, bits)?;
            } else {
                staging.resize(length, 0.0);
                directory.read_rows(&name, rows, &mut staging)?;
                engine.write_rows(&model.store, place, first_row, &staging)?;
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
