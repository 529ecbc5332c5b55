//! A model from files in memory, on a device, and what a page shows of it.

use crate::Result;
use crate::cutting::Kept;
use crate::failure::{Failure, Kind};
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::{LoadedDirectory, PlanSlot, forward_graph};
use blt_wgpu::checkpoint::{LoadOptions, ModelDirectory};
use blt_wgpu::device::Device;
use blt_wgpu::eval::{ScoreOptions, Scorer};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Positions that the entropy model scores in one replay. On the CPU engine the Worker hears no
/// message meanwhile, so they are few.
const SCORE_POSITIONS: usize = 2048;

const WHAT_A_DIRECTORY_HAS: &str = "a model directory has config.json and model.safetensors";

/// A file of a model directory.
pub type NamedFile = (String, Vec<u8>);

/// A model on a device, with the plans that look at texts.
pub struct Model<'d> {
    pub(crate) device: &'d Device,
    pub(crate) loaded: LoadedDirectory<Device>,
    pub(crate) info: ModelInfo,
    pub(crate) scorer: Scorer<Device>,
    pub(crate) score_options: ScoreOptions,
    pub(crate) forward: PlanSlot<Device>,
    /// The text that was looked at last, and its entropies.
    pub(crate) kept: Kept,
}

/// What a page shows of a model.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    pub name: String,
    /// `blt`, `blt_wgpu` or `blt_patcher`.
    pub model_type: String,
    pub parameter_count: u64,
    /// Of its files.
    pub bytes: u64,
    /// The type in which most weights are stored.
    pub dtype: String,
    pub patching: PatchingInfo,
    pub has_entropy_model: bool,
    /// Keys that a byte sees in the local encoder; 0: all before it.
    pub window: usize,
    pub ngram_sizes: Vec<usize>,
    pub hash_function_count: usize,
    /// Rows of each hash table.
    pub table_rows: usize,
    /// Most bytes that the model reads at once.
    pub max_bytes: usize,
    /// What should be said about the configuration, a sentence each.
    pub warnings: Vec<String>,
    /// The text of `config.json`, parsed.
    pub config: Value,
}

/// The rule by which a model's texts are cut.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchingInfo {
    /// `none` for a lone entropy model, which reads no patches.
    pub mode: String,
    pub threshold: Option<f64>,
    pub threshold_add: Option<f64>,
    pub patch_size: Option<usize>,
    pub max_patch_length: Option<usize>,
}

/// Files of which a model can be made; nothing of it is on a device yet.
pub struct ModelFiles {
    info: ModelInfo,
    directory: ModelDirectory,
}

impl ModelFiles {
    /// Looks at the files of a model, `config.json` and one safetensors file or shards with their
    /// index. Other files are passed over.
    ///
    /// # Errors
    /// [`Kind::NotAModel`] where `config.json` or weights are missing or are something else,
    /// [`Kind::Truncated`] where a file is cut off.
    pub fn new(name: &str, files: Vec<NamedFile>) -> Result<Self> {
        let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let (config, weights) = sorted(name, files)?;
        let directory = ModelDirectory::from_files(&config, weights);
        let directory = directory.map_err(|error| {
            let failure = Failure::from(error);
            let hint = failure.hint.unwrap_or_else(|| WHAT_A_DIRECTORY_HAS.into());
            Failure { hint: Some(hint), ..failure }
        })?;
        let info = ModelInfo::of(name, bytes, &config, &directory)?;
        Ok(Self { info, directory })
    }
}

impl<'d> Model<'d> {
    /// Loads a model from its files, see [`ModelFiles::new`].
    ///
    /// # Errors
    /// As [`ModelFiles::new`]; a device without room.
    pub async fn load(device: &'d Device, name: &str, files: Vec<NamedFile>) -> Result<Self> {
        Self::upload(device, ModelFiles::new(name, files)?).await
    }

    /// Puts a model on a device.
    ///
    /// # Errors
    /// A device without room.
    pub async fn upload(device: &'d Device, files: ModelFiles) -> Result<Self> {
        let ModelFiles { info, directory } = files;
        let options = LoadOptions::default();
        let loaded = LoadedDirectory::load_as(device, &directory, options).await?;
        let context = match loaded.entropy_model().map(|model| &model.config) {
            Some(ModelConfig::Entropy(config)) => config.transformer.max_positions,
            _ => SCORE_POSITIONS,
        };
        let score_options = ScoreOptions { context, batch_bytes: SCORE_POSITIONS };
        Ok(Self {
            device,
            loaded,
            info,
            scorer: Scorer::new(score_options),
            score_options,
            forward: PlanSlot::new("forward", forward_graph),
            kept: Kept::default(),
        })
    }

    /// What a page shows of it.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }
}

/// The text of `config.json` and the files of weights.
fn sorted(name: &str, files: Vec<NamedFile>) -> Result<(String, Vec<NamedFile>)> {
    let (mut config, mut weights) = (None, Vec::new());
    for (path, bytes) in files {
        let file = path.rsplit('/').next().unwrap_or(&path);
        if file == "config.json" {
            config = Some(bytes);
        } else if file.ends_with(".safetensors") {
            check_whole(&path, &bytes)?;
            weights.push((file.to_owned(), bytes));
        } else if file == "model.safetensors.index.json" {
            weights.push((file.to_owned(), bytes));
        }
    }
    let missing = |what: &str| {
        Failure::new(Kind::NotAModel, format!("{name}: {what}")).with_hint(WHAT_A_DIRECTORY_HAS)
    };
    let config = config.ok_or_else(|| missing("config.json is missing"))?;
    if weights.is_empty() {
        return Err(missing("there is no file of weights, *.safetensors"));
    }
    let config = String::from_utf8(config).map_err(|_| missing("config.json is no text"))?;
    Ok((config, weights))
}

/// That a safetensors file is as long as its header says; what else is wrong with it is said when
/// it is read.
///
/// # Errors
/// [`Kind::Truncated`] with what there is and what there should be.
fn check_whole(path: &str, bytes: &[u8]) -> Result<()> {
    let Some(needed) = needed_bytes(bytes) else { return Ok(()) };
    let found = bytes.len() as u64;
    if needed <= found {
        return Ok(());
    }
    let message = format!("{path}: the file is cut off: {needed} bytes needed, {found} there");
    Err(Failure::new(Kind::Truncated, message).with_hint("fetch it again"))
}

/// How long a safetensors file must be at least, as far as what is there of it says.
fn needed_bytes(bytes: &[u8]) -> Option<u64> {
    let length = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    // Longer headers are none: the file is something else.
    if length > 100 << 20 {
        return None;
    }
    let start = 8 + length;
    let Some(header) = bytes.get(8..start as usize) else { return Some(start) };
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).ok()?;
    let ends = header.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    Some(start.saturating_add(ends.max().unwrap_or(0)))
}

impl ModelInfo {
    fn of(name: &str, bytes: u64, config: &str, directory: &ModelDirectory) -> Result<Self> {
        let mut by_type: BTreeMap<&str, u64> = BTreeMap::new();
        for parameter in directory.parameters() {
            let kind = directory.weight_type(&parameter.name)?.name();
            *by_type.entry(kind).or_default() += parameter.element_count();
        }
        let most = by_type.iter().max_by_key(|(_, count)| **count);
        let dtype = most.map_or("f32", |(kind, _)| *kind).to_owned();
        let json: Value = serde_json::from_str(config).unwrap_or_default();
        let model_type = json["model_type"].as_str().unwrap_or_default().to_owned();
        let none = PatchingInfo {
            mode: "none".into(),
            threshold: None,
            threshold_add: None,
            patch_size: None,
            max_patch_length: None,
        };
        let info = Self {
            name: name.to_owned(),
            model_type,
            parameter_count: by_type.values().sum(),
            bytes,
            dtype,
            patching: none.clone(),
            has_entropy_model: true,
            window: 0,
            ngram_sizes: Vec::new(),
            hash_function_count: 0,
            table_rows: 0,
            max_bytes: 0,
            warnings: directory.warnings().to_vec(),
            config: json,
        };
        Ok(match directory.config() {
            ModelConfig::Entropy(config) => Self {
                window: config.transformer.window.unwrap_or(0),
                max_bytes: config.transformer.max_positions,
                ..info
            },
            ModelConfig::Blt(config) => {
                let rule = &config.patching;
                let scores = rule.mode.needs_entropies();
                Self {
                    patching: PatchingInfo {
                        mode: rule.mode.name().into(),
                        threshold: scores.then_some(rule.threshold),
                        threshold_add: rule.threshold_add,
                        patch_size: (rule.mode.name() == "static").then_some(rule.patch_size),
                        max_patch_length: rule.max_patch_length,
                    },
                    has_entropy_model: config.patcher.is_some(),
                    window: config.encoder.window.unwrap_or(0),
                    ngram_sizes: config.hash.group_sizes.clone(),
                    hash_function_count: config.hash.function_count,
                    table_rows: config.hash.rows_per_table,
                    max_bytes: config.encoder.max_positions,
                    ..info
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(files: Vec<NamedFile>) -> Kind {
        sorted("m", files).unwrap_err().kind
    }

    fn weights(length: u64, data_bytes: usize) -> Vec<u8> {
        let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert_eq!(length, header.len() as u64);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(vec![0; data_bytes]);
        bytes
    }

    #[test]
    fn a_file_that_is_cut_off_is_told_from_one_that_is_something_else() {
        let whole = weights(54, 8);
        assert_eq!(needed_bytes(&whole), Some(whole.len() as u64));
        let config = || ("m/config.json".to_owned(), b"{}".to_vec());
        let file = |bytes: &[u8]| ("m/model.safetensors".to_owned(), bytes.to_vec());
        assert!(sorted("m", vec![config(), file(&whole)]).is_ok());
        for length in [whole.len() - 1, 20, 9] {
            assert_eq!(kind(vec![config(), file(&whole[..length])]), Kind::Truncated);
        }
        // Something else: what reads it will say so.
        assert_eq!(needed_bytes(b"<!doctype html><html>"), None);
        assert_eq!(needed_bytes(b"PK"), None);
        assert_eq!(kind(vec![config()]), Kind::NotAModel);
        assert_eq!(kind(vec![file(&whole)]), Kind::NotAModel);
    }
}
