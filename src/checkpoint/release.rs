//! Directories in the original layout (spec §22.1).
//!
//! `config.json` with `args` beside `model.safetensors`, or `params.json` beside
//! `consolidated.pth`; the entropy model in `entropy_model/`, or beside a bundle's directory.
//! Tensors go by the names of the reference (spec §22.2).

use std::path::{Path, PathBuf};

use super::source::{self, Source};
use super::tensor_set::{INDEX_FILE, SINGLE_FILE, TORCH_FILES, TensorSet};
use crate::blt::config::{ModelConfig, Parsed, ReleaseTexts};
use crate::blt::parameters::{
    PATCHER_PREFIX, ParameterSpec, model_parameters, reference_entropy_name, reference_layout,
};
use crate::error::{Error, Result};

/// The file with the arguments of a training.
pub(super) const PARAMS_FILE: &str = "params.json";

/// The same beside a `config.json`.
const TRAIN_ARGS_FILE: &str = "train_args.json";

/// The folder of the entropy model.
pub(super) const ENTROPY_FOLDER: &str = "entropy_model";

/// The end of the names of rotary tables, which are computed here.
const ROPE_TABLE: &str = "freqs_cis";

/// A directory in the original layout, its tensors found.
pub(super) struct Release {
    pub parsed: Parsed<ModelConfig>,
    pub parameters: Vec<ParameterSpec>,
    pub sources: Vec<Source>,
    pub sets: Vec<TensorSet>,
}

/// Whether the text of a `config.json` is that of the original layout.
pub(super) fn is_release(config: &str) -> bool {
    let value: Option<serde_json::Value> = serde_json::from_str(config).ok();
    value.is_some_and(|value| value.get("args").is_some() && value.get("model_type").is_none())
}

/// Opens a directory; `config` is the text of its `config.json`, where there is one.
pub(super) fn open(path: &Path, config: Option<&str>) -> Result<Release> {
    let params = read_if_there(&path.join(match config {
        Some(_) => TRAIN_ARGS_FILE,
        None => PARAMS_FILE,
    }))?;
    let tensors = TensorSet::open_release(path)?;
    let texts = ReleaseTexts { config, params: params.as_deref(), entropy_params: None };
    if tensors.names().any(|name| name == "tok_embeddings.weight") {
        return put_together(texts.entropy()?, vec![tensors]);
    }
    let Some(folder) = entropy_folder(path, config.is_none()) else {
        let mut parsed = texts.blt()?;
        parsed.warnings.push(format!(
            "there is no {ENTROPY_FOLDER}/{PARAMS_FILE}, so the model has no entropy model"
        ));
        return put_together(parsed, vec![tensors]);
    };
    let entropy_params = read_if_there(&folder.join(PARAMS_FILE))?;
    let texts = ReleaseTexts { entropy_params: entropy_params.as_deref(), ..texts };
    put_together(texts.blt()?, vec![tensors, TensorSet::open_release(&folder)?])
}

/// Where the entropy model is: inside, or, for a bundle, beside.
fn entropy_folder(path: &Path, is_bundle: bool) -> Option<PathBuf> {
    let inside = path.join(ENTROPY_FOLDER);
    let beside = is_bundle.then(|| path.join("..").join(ENTROPY_FOLDER));
    let holds_weights = |folder: &PathBuf| {
        let names = [SINGLE_FILE, INDEX_FILE].into_iter().chain(TORCH_FILES);
        let mut files = names.map(|name| folder.join(name));
        folder.join(PARAMS_FILE).exists() || files.any(|file| file.exists())
    };
    [Some(inside), beside].into_iter().flatten().find(holds_weights)
}

fn put_together(parsed: Parsed<ModelConfig>, sets: Vec<TensorSet>) -> Result<Release> {
    let parameters = model_parameters(&parsed.config);
    let sources = sources(&parsed.config, &parameters);
    source::check(&sources, &sets, |name| name.ends_with(ROPE_TABLE))?;
    Ok(Release { parsed, parameters, sources, sets })
}

/// Where each parameter lies in the original layout; the entropy model inside a BLT in set 1.
pub(super) fn sources(config: &ModelConfig, parameters: &[ParameterSpec]) -> Vec<Source> {
    let rows_per_table = match config {
        ModelConfig::Blt(config) => config.hash.rows_per_table,
        ModelConfig::Entropy(_) => 1,
    };
    let layout = reference_layout(parameters, rows_per_table);
    let source = |parameter: &ParameterSpec| {
        if parameter.name.starts_with(PATCHER_PREFIX) {
            let name = reference_entropy_name(&parameter.name);
            let name = name.expect("every parameter of an entropy model has a name there");
            let shape = parameter.shape();
            return Source::Rows(vec![source::Piece { set: 1, name, shape }]);
        }
        source::reference_names(parameter, &layout, 0)
    };
    parameters.iter().map(source).collect()
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(Error::io("read", path, problem)),
    }
}
