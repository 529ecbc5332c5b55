//! The models of a run, from its configuration.

use std::path::Path;

use crate::blt::LoadedModel;
use crate::blt::config::{
    EntropyConfig, ModelConfig, ReferenceEntropyKeys, ReferenceModelKeys, Semantics,
};
use crate::blt::parameters::{PATCHER_PREFIX, ParameterSpec, blt_parameters, entropy_parameters};
use crate::checkpoint::{ModelDirectory, write_weights};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::train::config::RunConfig;
use crate::train::data::patching_config;

/// The model that a run trains, before it has weights.
#[derive(Clone, Debug)]
pub struct RunModel {
    /// Without a patcher.
    pub config: ModelConfig,
    /// Its parameters, initialised as the configuration says.
    pub parameters: Vec<ParameterSpec>,
    /// Seed of the initialisation.
    pub seed: u64,
    /// What the person who runs it should see once.
    pub warnings: Vec<String>,
}

/// The model of `[model]`, or of `[entropy_model]` where that trains.
///
/// # Errors
/// `Config` with the key: unknown, of a wrong type, or against another.
pub fn run_model(config: &RunConfig) -> Result<RunModel> {
    if config.train_entropy_model {
        let keys = ReferenceEntropyKeys::from_table(config.entropy_model.clone())?;
        let (options, seed) = (keys.init_options(), keys.seed.unwrap_or(config.seed));
        let parsed = keys.into_config()?;
        check_positions(
            "entropy_model.max_seqlen",
            parsed.config.transformer.max_positions,
            config,
        )?;
        return Ok(RunModel {
            parameters: entropy_parameters(&parsed.config, "", &options),
            config: ModelConfig::Entropy(parsed.config),
            seed,
            warnings: parsed.warnings,
        });
    }
    let (keys, ignored) = ReferenceModelKeys::from_table(config.model.clone())?;
    let (options, seed) = (keys.init_options(), keys.seed.unwrap_or(config.seed));
    let names_a_mode = keys.patching_mode.is_some();
    let mut parsed = keys.into_config()?;
    let own = parsed.config.patching.clone();
    parsed.config.patching = patching_config(&config.data.patcher_args, own.patch_size);
    if names_a_mode && own.mode != parsed.config.patching.mode {
        let problem = format!(
            "expected {:?} as in data.patcher_args, got {:?}",
            parsed.config.patching.mode.name(),
            own.mode.name()
        );
        return Err(Error::config("model.patching_mode", problem));
    }
    parsed.config.validate()?;
    Ok(RunModel {
        parameters: blt_parameters(&parsed.config, &options),
        config: ModelConfig::Blt(parsed.config),
        seed,
        warnings: parsed.warnings.into_iter().chain(ignored).collect(),
    })
}

fn check_positions(key: &str, available: usize, config: &RunConfig) -> Result<()> {
    let needed = config.data.seq_len;
    if needed <= available {
        return Ok(());
    }
    let problem = format!("expected at least {needed}, data.seq_len, got {available}");
    Err(Error::config(key, problem).with_hint("raise it, or train on shorter rows"))
}

impl RunModel {
    /// Gives a model the weights that it begins with.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn initialise<E: Engine>(&self, engine: &E, model: &LoadedModel<E>) -> Result<()> {
        for spec in &self.parameters {
            model.initialise_parameter(engine, spec, self.seed)?;
        }
        Ok(())
    }
}

/// The entropy model of a directory: a lone one, or the patcher of a BLT. With `semantics` it
/// follows those instead of its own, as it will inside the BLT. Beside it: what should be said
/// about the directory.
///
/// # Errors
/// A directory that holds no entropy model, or is damaged; or if the device has not the memory.
pub async fn load_entropy_model<E: Engine>(
    engine: &E,
    directory: &Path,
    semantics: Option<Semantics>,
) -> Result<(LoadedModel<E>, Vec<String>)> {
    let files = ModelDirectory::open(directory)?;
    let (config, prefix) = match files.config() {
        ModelConfig::Entropy(config) => (config, ""),
        ModelConfig::Blt(config) => match &config.patcher {
            Some(patcher) => (patcher, PATCHER_PREFIX),
            None => {
                let problem = "this BLT has no entropy model in it";
                return Err(Error::model(directory.display().to_string(), problem).with_hint(
                    "train one with `train_entropy_model = true` and give its directory",
                ));
            }
        },
    };
    let config =
        EntropyConfig { semantics: semantics.unwrap_or(config.semantics), ..config.clone() };
    let model = LoadedModel::create(engine, ModelConfig::Entropy(config), false).await?;
    write_weights(engine, &model, &files, prefix).await?;
    let about = |warning: &String| format!("{}: {warning}", directory.display());
    Ok((model, files.warnings().iter().map(about).collect()))
}
