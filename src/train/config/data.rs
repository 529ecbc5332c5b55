//! `[data]` and `[data.patcher_args]`: texts, rows and patches (spec §15, §18).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Value;

use super::ignored;
use super::section::{Section, wrong};
use crate::error::{Error, Result};

/// The threshold of the released models, nats.
const RELEASED_THRESHOLD: f64 = 1.335_442_066_192_627;

/// Bytes of a document that is read in one piece: more than books have, and little enough for the
/// memory that ids, entropies and patches of it take.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 26;

/// Threads that make tables, and batches that they make ahead.
const WORKERS: usize = 2;
const PREFETCH_SIZE: usize = 8;

fn default_workers() -> usize {
    WORKERS
}

fn default_prefetch_size() -> usize {
    PREFETCH_SIZE
}

fn default_max_document_bytes() -> usize {
    MAX_DOCUMENT_BYTES
}

/// Where the text comes from and how it is cut into rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// What relative paths of `sources` and `valid` are relative to; absent: the current directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_dir: Option<PathBuf>,
    /// Held-out texts: a path or a list of paths. `.txt`, `.jsonl`, either with `.zst` or
    /// `.gz`; directories and patterns stand for the texts in them.
    pub valid: Vec<PathBuf>,
    /// Rows in a micro-batch; 2.
    pub batch_size: usize,
    /// Patches in a row, or bytes when the entropy model trains; 2048.
    pub seq_len: usize,
    /// Most bytes in a row; 12288. When the entropy model trains this and `seq_len` are the same
    /// thing: either may be left out.
    pub max_encoder_seq_length: usize,
    /// Seed of shuffling and of the choice between sources; absent: the seed of the run.
    pub seed: u64,
    /// Put id 1 before every document; true.
    pub add_bos: bool,
    /// Put id 2 after every document; true.
    pub add_eos: bool,
    /// Rows among which the next is drawn, 1 is no shuffling; 64. Also under the reference's name
    /// `buffer_size`.
    pub shuffle_buffer: usize,
    /// Pack rows as the reference does, which loses the last patch of most rows; false.
    pub reference_packing: bool,
    /// Threads that make the tables of batches; 0 does everything in the thread of the run; 2. No
    /// number depends on it.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// Batches that are made ahead of the run, where no entropy model takes part; 8.
    #[serde(default = "default_prefetch_size")]
    pub prefetch_size: usize,
    /// Stop at a document that is empty, binary, no UTF-8 or longer than `max_document_bytes`, and
    /// at a line that holds none, instead of counting and naming it; false.
    #[serde(default)]
    pub strict: bool,
    /// Read entropies that another entropy model than that of the run has computed; false.
    #[serde(default)]
    pub accept_entropies: bool,
    /// Longer documents are read in pieces of so many bytes, each a document; 67108864.
    #[serde(default = "default_max_document_bytes")]
    pub max_document_bytes: usize,
    /// Training texts: a path, a list of paths or of `{ path, weight }`, or a table
    /// `"path" = weight`. A directory stands for the texts in it, a pattern (`*`, `?`, `[..]`,
    /// `**`) for those that match it. Weights are relative; 1.
    pub sources: Vec<Source>,
    /// How documents are cut into patches.
    pub patcher_args: PatcherConfig,
}

/// A text and how often it is drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub path: PathBuf,
    /// Probability of this source, up to the sum over all sources.
    pub weight: f64,
}

/// How bytes are grouped into patches (spec §3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatcherConfig {
    /// `entropy`, `space`, `static`, `byte` or `bpe`; entropy, or byte when the entropy model
    /// trains.
    pub patching_mode: PatchingMode,
    /// Entropy, nats, above which the next byte starts a patch; compared in f32; 1.3354.
    pub threshold: f64,
    /// Rise of entropy, nats, that is needed as well; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold_add: Option<f64>,
    /// Compare the rise of entropy, not entropy, with `threshold`; false.
    pub monotonicity: bool,
    /// Most bytes in a patch; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_patch_length: Option<usize>,
    /// Bytes in a patch of static patching, a whole number there; 4.5.
    pub patch_size: f64,
    /// Model directory of the entropy model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_model_checkpoint_dir: Option<PathBuf>,
}

/// The rule that says where a patch starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchingMode {
    /// Where the entropy model is unsure of the next byte.
    #[default]
    Entropy,
    /// After a byte that is like a space.
    Space,
    /// Every `patch_size` bytes.
    Static,
    /// At every byte.
    Byte,
    /// After id 3, the delimiter of BPE tokens.
    Bpe,
}

impl PatchingMode {
    /// Every mode with the name it has in a configuration.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("entropy", Self::Entropy),
        ("space", Self::Space),
        ("static", Self::Static),
        ("byte", Self::Byte),
        ("bpe", Self::Bpe),
    ];
}

impl Default for PatcherConfig {
    fn default() -> Self {
        Self {
            patching_mode: PatchingMode::Entropy,
            threshold: RELEASED_THRESHOLD,
            threshold_add: None,
            monotonicity: false,
            max_patch_length: None,
            patch_size: 4.5,
            entropy_model_checkpoint_dir: None,
        }
    }
}

impl DataConfig {
    /// A path of `sources` or `valid`, with `root_dir` before it where it is relative.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.root_dir.as_ref().map_or_else(|| path.to_path_buf(), |root| root.join(path))
    }

    pub(super) fn read(
        section: &mut Section<'_>,
        run_seed: u64,
        train_entropy_model: bool,
    ) -> Result<Self> {
        let (seq_len, max_encoder_seq_length) = read_lengths(section, train_entropy_model)?;
        let data = Self {
            root_dir: section.optional_path("root_dir")?,
            valid: read_paths(section, "valid")?,
            batch_size: section.size("batch_size", 2, 1..)?,
            seq_len,
            max_encoder_seq_length,
            seed: section.count("seed", run_seed, ..)?,
            add_bos: section.flag("add_bos", true)?,
            add_eos: section.flag("add_eos", true)?,
            shuffle_buffer: read_shuffle_buffer(section)?,
            reference_packing: section.flag("reference_packing", false)?,
            workers: section.size("workers", WORKERS, ..=256)?,
            prefetch_size: section.size("prefetch_size", PREFETCH_SIZE, 1..=4096)?,
            strict: section.flag("strict", false)?,
            accept_entropies: section.flag("accept_entropies", false)?,
            max_document_bytes: section.size("max_document_bytes", MAX_DOCUMENT_BYTES, 1..)?,
            sources: read_sources(section, "sources")?,
            patcher_args: section.within("patcher_args", |section| {
                PatcherConfig::read(section, train_entropy_model)
            })?,
        };
        if section.flag("enable_byte_ngrams", false)? {
            let problem = "expected false, got true: there are no frequency n-gram tables here";
            return Err(Error::config(section.dotted("enable_byte_ngrams"), problem));
        }
        section.ignore(ignored::DATA);
        Ok(data)
    }
}

impl PatcherConfig {
    fn read(section: &mut Section<'_>, train_entropy_model: bool) -> Result<Self> {
        let default = Self::default();
        let patching_mode = section.choice("patching_mode", &PatchingMode::NAMES)?;
        if train_entropy_model && patching_mode.is_some_and(|mode| mode != PatchingMode::Byte) {
            let problem = "expected \"byte\" or nothing where train_entropy_model is true";
            return Err(Error::config(section.dotted("patching_mode"), problem));
        }
        let implied = if train_entropy_model { PatchingMode::Byte } else { default.patching_mode };
        let patcher = Self {
            patching_mode: patching_mode.unwrap_or(implied),
            threshold: section.number("threshold", default.threshold, ..)?,
            threshold_add: section.optional_number("threshold_add", ..)?,
            monotonicity: section.flag("monotonicity", default.monotonicity)?,
            max_patch_length: section.optional_size("max_patch_length", 1..)?,
            patch_size: section.number("patch_size", default.patch_size, 1.0..)?,
            entropy_model_checkpoint_dir: section.optional_path("entropy_model_checkpoint_dir")?,
        };
        section.ignore(ignored::PATCHER);
        if patcher.monotonicity && patcher.threshold_add.is_some() {
            let problem = "contradicts monotonicity = true, which has a threshold of its own";
            return Err(Error::config(section.dotted("threshold_add"), problem));
        }
        if patcher.patching_mode == PatchingMode::Static && patcher.patch_size.fract() != 0.0 {
            let problem =
                format!("expected a whole number with static patching, got {}", patcher.patch_size);
            return Err(Error::config(section.dotted("patch_size"), problem));
        }
        Ok(patcher)
    }
}

/// `seq_len` and `max_encoder_seq_length`, which are one thing when the entropy model trains.
fn read_lengths(section: &mut Section<'_>, train_entropy_model: bool) -> Result<(usize, usize)> {
    let seq_len = section.optional_size("seq_len", 2..)?;
    let max_bytes = section.optional_size("max_encoder_seq_length", 2..)?;
    if !train_entropy_model {
        return Ok((seq_len.unwrap_or(2048), max_bytes.unwrap_or(12_288)));
    }
    let length = seq_len.or(max_bytes).unwrap_or(2048);
    if let Some(other) = max_bytes.filter(|&max_bytes| max_bytes != length) {
        let problem = format!("expected {length} as in data.seq_len, got {other}");
        let error = Error::config(section.dotted("max_encoder_seq_length"), problem);
        return Err(
            error.with_hint("rows of the entropy model are counted in bytes: leave one out")
        );
    }
    Ok((length, length))
}

fn read_shuffle_buffer(section: &mut Section<'_>) -> Result<usize> {
    let ours = section.optional_size("shuffle_buffer", 1..)?;
    let reference = section.optional_size("buffer_size", 1..)?;
    if ours.is_some() && reference.is_some() {
        let problem = "another name of shuffle_buffer, which is set as well";
        return Err(Error::config(section.dotted("buffer_size"), problem));
    }
    Ok(ours.or(reference).unwrap_or(64))
}

fn read_paths(section: &mut Section<'_>, key: &str) -> Result<Vec<PathBuf>> {
    let expected = "a path or a list of paths";
    let values = match section.take(key) {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    let path = |value: Value| match value {
        Value::String(path) => Ok(PathBuf::from(path)),
        other => Err(section.wrong(key, expected, &other)),
    };
    values.into_iter().map(path).collect()
}

fn read_sources(section: &mut Section<'_>, key: &str) -> Result<Vec<Source>> {
    let name = section.dotted(key);
    match section.take(key) {
        None => Ok(Vec::new()),
        Some(Value::String(path)) => Ok(vec![Source { path: path.into(), weight: 1.0 }]),
        Some(Value::Array(values)) => {
            let named = values.into_iter().enumerate();
            named.map(|(index, value)| read_source(&format!("{name}[{index}]"), value)).collect()
        }
        Some(Value::Table(table)) => table
            .into_iter()
            .map(|(path, value)| {
                let weight = read_weight(&format!("{name}.{path:?}"), &value)?;
                Ok(Source { path: path.into(), weight })
            })
            .collect(),
        Some(other) => Err(wrong(&name, "paths, or a table of paths and weights", &other)),
    }
}

fn read_source(name: &str, value: Value) -> Result<Source> {
    let expected = "a path or { path, weight }";
    let mut table = match value {
        Value::String(path) => return Ok(Source { path: path.into(), weight: 1.0 }),
        Value::Table(table) => table,
        other => return Err(wrong(name, expected, &other)),
    };
    let path = match table.remove("path") {
        Some(Value::String(path)) => path.into(),
        Some(other) => return Err(wrong(&format!("{name}.path"), "a path", &other)),
        None => return Err(Error::config(name, format!("expected {expected}, got no path"))),
    };
    let weight = match table.remove("weight") {
        Some(value) => read_weight(&format!("{name}.weight"), &value)?,
        None => 1.0,
    };
    match table.keys().next() {
        Some(key) => {
            let error = Error::config(format!("{name}.{key}"), "unknown key");
            Err(error.with_hint("a source has the keys `path` and `weight`"))
        }
        None => Ok(Source { path, weight }),
    }
}

fn read_weight(name: &str, value: &Value) -> Result<f64> {
    let weight = value.as_float().or_else(|| value.as_integer().map(|integer| integer as f64));
    let expected = "a weight above 0 (a path with dots needs quotes)";
    weight
        .filter(|weight| weight.is_finite() && *weight > 0.0)
        .ok_or_else(|| wrong(name, expected, value))
}
