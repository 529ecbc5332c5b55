//! Reading the JSON files of the original release (spec §18, §22.1): `config.json` with `args`, or
//! `params.json` with all arguments of a training; `train_args.json`; `entropy_model/params.json`.
//!
//! They hold the reference's own keys, so this is a way to [`ReferenceModelKeys`]. Unlike a TOML
//! that somebody writes, such a file may have keys nobody knows; they are named in a warning.

use serde_json::{Map, Value};

use super::json_read::Parsed;
use super::model::{BltConfig, EntropyConfig, ModelConfig};
use super::reference_entropy::ReferenceEntropyKeys;
use super::reference_keys::{ReferenceModelKeys, is_without_effect};
use crate::error::{Error, Result};

/// Keys that shape fresh weights and the reference's log, and one that says what is always so: the
/// decoder begins with the states of the encoder. A decoder with an embedding of its own would have
/// a tensor that nobody expects.
const DROPPED: &[&str] =
    &["init_base_std", "init_std_factor", "seed", "share_encoder_decoder_emb", "attn_impl"];

/// Frequency n-grams, which mean something only where they are switched on.
const NGRAM_KEYS: &[&str] = &["encoder_ngram_to_size_str", "ngram_vocab_sizes"];

/// The texts of the files of a directory in the original layout.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReleaseTexts<'a> {
    /// `config.json`, with `args`.
    pub config: Option<&'a str>,
    /// `params.json` or `train_args.json`, with the tables of a whole training.
    pub params: Option<&'a str>,
    /// `entropy_model/params.json`.
    pub entropy_params: Option<&'a str>,
}

impl ReleaseTexts<'_> {
    /// The BLT that they describe, with its entropy model where there are texts of one.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the file or the key: malformed JSON, a value of the wrong type, a
    /// feature that does not exist here.
    pub fn blt(&self) -> Result<Parsed<ModelConfig>> {
        let files = Files::parse(self)?;
        let mut keys = files.args()?.clone();
        overlay_patcher(&mut keys, &files);
        let semantics = files.semantics();
        if let Some(semantics) = semantics {
            keys.insert("blt_semantics".into(), semantics.clone());
        }
        let (table, unknown) = table(keys, ReferenceModelKeys::known_keys(), "model")?;
        let (keys, without_effect) = ReferenceModelKeys::from_table(table)?;
        let parsed = keys.into_config()?;
        let mut warnings: Vec<_> = without_effect.into_iter().collect();
        warnings.extend(unknown_warning("args", &unknown).into_iter().chain(parsed.warnings));
        let mut config: BltConfig = parsed.config;
        if files.entropy_params.is_some() {
            let entropy = entropy(files.entropy_table()?, semantics)?;
            warnings.extend(entropy.warnings);
            config.attach_patcher(entropy.config);
        }
        config.validate()?;
        Ok(Parsed { config: ModelConfig::Blt(config), warnings, blocks: None })
    }

    /// The lone entropy model that they describe.
    ///
    /// # Errors
    ///
    /// As [`Self::blt`].
    pub fn entropy(&self) -> Result<Parsed<ModelConfig>> {
        let files = Files::parse(self)?;
        let keys = match &files.config {
            Some(_) => files.args()?,
            None => files.table(files.params.as_ref(), "params.json", "entropy_model")?,
        };
        let Parsed { config, warnings, blocks } = entropy(keys, files.semantics())?;
        Ok(Parsed { config: ModelConfig::Entropy(config), warnings, blocks })
    }
}

type Table = Map<String, Value>;

struct Files {
    config: Option<Table>,
    params: Option<Table>,
    entropy_params: Option<Table>,
}

impl Files {
    fn parse(texts: &ReleaseTexts) -> Result<Self> {
        let parse = |name: &str, text: Option<&str>| -> Result<Option<Table>> {
            let Some(text) = text else { return Ok(None) };
            match serde_json::from_str(text) {
                Ok(Value::Object(table)) => Ok(Some(table)),
                Ok(_) => Err(Error::config(name, "expected an object at the top")),
                Err(problem) => Err(Error::config(name, format!("not JSON: {problem}"))),
            }
        };
        Ok(Self {
            config: parse("config.json", texts.config)?,
            params: parse("params.json", texts.params)?,
            entropy_params: parse("entropy_model/params.json", texts.entropy_params)?,
        })
    }

    /// The keys of the model.
    fn args(&self) -> Result<&Table> {
        match &self.config {
            Some(_) => self.table(self.config.as_ref(), "config.json", "args"),
            None => self.table(self.params.as_ref(), "params.json", "model"),
        }
    }

    fn entropy_table(&self) -> Result<&Table> {
        self.table(self.entropy_params.as_ref(), "entropy_model/params.json", "entropy_model")
    }

    fn table<'a>(&self, file: Option<&'a Table>, name: &str, key: &str) -> Result<&'a Table> {
        let found = file.and_then(|file| file.get(key));
        found.and_then(Value::as_object).ok_or_else(|| {
            Error::config(format!("{name}: {key}"), "expected an object with the model's arguments")
        })
    }

    /// `data.patcher_args` of the training of the model, and of that of the entropy model.
    fn patcher_args(&self) -> (Option<&Table>, Option<&Table>) {
        (patcher_args(&self.params), patcher_args(&self.entropy_params))
    }

    /// What this program adds where a model follows the reference at document ends.
    fn semantics(&self) -> Option<&Value> {
        let file = self.config.as_ref().or(self.params.as_ref())?;
        file.get("blt_semantics").filter(|value| !value.is_null())
    }
}

fn patcher_args(file: &Option<Table>) -> Option<&Table> {
    file.as_ref()?.get("data")?.get("patcher_args")?.as_object()
}

/// How the data of the training was cut decides before what the model's own keys say. Of an entropy
/// model only its threshold is taken, and only where nothing else names one.
fn overlay_patcher(keys: &mut Table, files: &Files) {
    let (own, of_entropy) = files.patcher_args();
    let there = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    let pairs = [
        ("patching_mode", "patching_mode"),
        ("threshold", "patching_threshold"),
        ("threshold_add", "patching_threshold_add"),
        ("monotonicity", "monotonicity"),
        ("max_patch_length", "max_patch_length"),
    ];
    for (from, to) in pairs {
        if let Some(value) = there(own.and_then(|own| own.get(from))) {
            keys.insert(to.into(), value);
        }
    }
    if there(keys.get("patching_threshold")).is_none()
        && let Some(value) = there(of_entropy.and_then(|table| table.get("threshold")))
    {
        keys.insert("patching_threshold".into(), value);
    }
}

fn entropy(keys: &Table, semantics: Option<&Value>) -> Result<Parsed<EntropyConfig>> {
    let mut keys = keys.clone();
    if let Some(semantics) = semantics {
        keys.insert("blt_semantics".into(), semantics.clone());
    }
    // The reference's loader sets the mask itself, whatever the file says (spec §13).
    keys.remove("attn_bias_type");
    keys.retain(|key, _| !is_without_effect(key) || key == "weight_tying");
    let known = ReferenceEntropyKeys::known_keys();
    let (table, unknown) = table(keys, known, "entropy_model")?;
    let mut parsed = ReferenceEntropyKeys::from_table(table)?.into_config()?;
    parsed.warnings.extend(unknown_warning("entropy_model", &unknown));
    Ok(parsed)
}

/// The keys as a table of TOML, and the names of those that nobody knows.
fn table(keys: Table, known: &[&str], name: &str) -> Result<(toml::Table, Vec<String>)> {
    let ngrams = keys.get("encoder_enable_byte_ngrams").and_then(Value::as_bool) == Some(true);
    let mut table = toml::Table::new();
    let mut unknown = Vec::new();
    for (key, value) in keys {
        let is_dropped = DROPPED.contains(&&*key) || (!ngrams && NGRAM_KEYS.contains(&&*key));
        if is_dropped || value.is_null() {
            continue;
        }
        if !known.contains(&&*key) && !is_without_effect(&key) {
            unknown.push(key);
            continue;
        }
        let wrong = || Error::config(format!("{name}.{key}"), "a value that cannot be");
        table.insert(key.clone(), toml_value(value).ok_or_else(wrong)?);
    }
    Ok((table, unknown))
}

/// A value of JSON; a whole number that is written as a fraction counts as whole, and nulls in
/// lists and objects are left out.
fn toml_value(value: Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => flag.into(),
        Value::String(text) => text.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(real)) if real.fract() == 0.0 && real.abs() < 1e15 => (real as i64).into(),
            (None, Some(real)) => real.into(),
            (None, None) => return None,
        },
        Value::Array(items) => {
            toml::Value::Array(items.into_iter().filter_map(toml_value).collect())
        }
        Value::Object(map) => {
            let pair = |(key, value)| Some((key, toml_value(value)?));
            toml::Value::Table(map.into_iter().filter_map(pair).collect())
        }
    })
}

fn unknown_warning(table: &str, keys: &[String]) -> Option<String> {
    (!keys.is_empty())
        .then(|| format!("unknown keys of `{table}`, which are ignored: {}", keys.join(", ")))
}
