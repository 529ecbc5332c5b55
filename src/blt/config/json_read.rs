//! Reading a `config.json` written here or by `transformers` (spec §22.3).
//!
//! Absent keys take the defaults of `transformers` 5.23, which are those of the released 1B model,
//! including an FFN of `int(8 h / 3)` where the file has a null. Keys nobody here knows are
//! ignored, because other programs write theirs into the same file.

use serde_json::Value;

use super::defaults::{
    DEFAULT_PATCHING_THRESHOLD, IMPLIED_GROUP_SIZES, LOCAL_THETA, PATCHER_THETA, VOCABULARY_SIZE,
};
use super::json_section::Section;
use super::model::{
    BltConfig, CrossAttentionConfig, EntropyConfig, HashEmbeddingConfig, ModelConfig, Pooling,
    Semantics, TransformerConfig,
};
use super::patching::{PatchingConfig, PatchingMode};
use super::reference_keys::ignored_keys_warning;
use crate::error::{Error, Result};

/// A configuration and what should be said about how it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<T> {
    /// The configuration, validated.
    pub config: T,
    /// Sentences for the person who runs the program.
    pub warnings: Vec<String>,
}

impl ModelConfig {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the key: malformed JSON, a value of the wrong type, a feature that
    /// does not exist here, or sizes that contradict each other.
    pub fn from_json(text: &str) -> Result<Parsed<Self>> {
        let value: Value = serde_json::from_str(text)
            .map_err(|problem| Error::config("config.json", format!("not JSON: {problem}")))?;
        let top = Section::top(&value)?;
        let mut warnings = Vec::new();
        let config = match top.text("model_type")? {
            Some("blt_patcher") => Self::Entropy(entropy_config(&top, semantics(&top)?)?),
            Some("blt") => Self::Blt(blt_config(&top, false, &mut warnings)?),
            Some("blt_wgpu") => Self::Blt(blt_config(&top, true, &mut warnings)?),
            Some(other) => {
                let problem = format!("expected blt, blt_wgpu or blt_patcher, got {other:?}");
                return Err(top.error("model_type", problem));
            }
            None => {
                return Err(top.error("model_type", "missing").with_hint(
                    "this is no Hugging Face BLT directory; the original release has to be \
                     converted first",
                ));
            }
        };
        config.validate()?;
        Ok(Parsed { config, warnings })
    }
}

/// `extended`: the file says `blt_wgpu`, so keys mean what they mean here.
fn blt_config(top: &Section, extended: bool, warnings: &mut Vec<String>) -> Result<BltConfig> {
    refuse_top(top)?;
    if let Some(warning) = ignored_keys_warning(|key| key != "max_length" && top.has(key)) {
        warnings.push(warning);
    }
    let semantics = semantics(top)?;
    let window =
        match (top.has("local_attention_window_len"), top.size("local_attention_window_len")?) {
            (false, _) => Some(512),
            (true, window) => window,
        };
    let (encoder_keys, decoder_keys) = (top.child("encoder_config")?, top.child("decoder_config")?);
    let encoder = TransformerConfig { window, ..transformer(&encoder_keys, &ENCODER)? };
    let decoder = TransformerConfig { window, ..transformer(&decoder_keys, &DECODER)? };
    let global = transformer(&top.child("global_config")?, &GLOBAL)?;
    let k = top.size("cross_attn_k")?.unwrap_or(2);
    for keys in [&encoder_keys, &decoder_keys] {
        agree(keys, "cross_attn_k", k)?;
    }
    agree(&decoder_keys, "hidden_size_global", global.hidden_size)?;
    let mut config = BltConfig {
        semantics,
        encoder_cross_attention: cross_attention(top, "encoder", &encoder_keys, &encoder)?,
        decoder_cross_attention: cross_attention(top, "decoder", &decoder_keys, &decoder)?,
        encoder,
        global,
        decoder,
        cross_attention_k: k,
        pooling: pooling(top)?,
        hash: hash(top, extended)?,
        patching: patching(top, warnings)?,
        patcher: None,
    };
    if top.flag("patch_in_forward")?.unwrap_or(true) {
        config.patcher = Some(entropy_config(&top.child("patcher_config")?, semantics)?);
    }
    config.validate()?;
    if !extended {
        mean_what_transformers_means(&mut config, warnings);
    }
    Ok(config)
}

/// A file that says `blt` promises what `transformers` computes; its own key `patching_mode` has
/// the meaning it has there, and extra keys that break the promise are pointed out.
fn mean_what_transformers_means(config: &mut BltConfig, warnings: &mut Vec<String>) {
    let patching = &mut config.patching;
    let known = matches!(patching.mode, PatchingMode::Entropy | PatchingMode::Byte);
    if config.semantics == Semantics::Transformers && !known {
        warnings.push(format!(
            "model_type is \"blt\", and there patching mode \"{}\" makes every byte a patch; set \
             model_type to \"blt_wgpu\" for the mode of that name",
            patching.mode.name()
        ));
        patching.mode = PatchingMode::Byte;
        patching.threshold_add = None;
    }
    if let Some(difference) = config.transformers_difference() {
        warnings.push(format!(
            "model_type is \"blt\", but transformers would compute something else: {difference}"
        ));
    }
}

fn refuse_top(top: &Section) -> Result<()> {
    for key in ["tie_word_embeddings", "share_encoder_decoder_emb", "encoder_enable_byte_ngrams"] {
        if top.flag(key)? == Some(true) {
            return Err(top.error(key, "not supported; only false is"));
        }
    }
    for key in ["encoder_ngram_to_size_str", "ngram_vocab_sizes"] {
        if top.get(key).is_some() {
            return Err(top.error(key, "frequency n-gram tables are not supported"));
        }
    }
    if top.get("quantization_config").is_some() {
        return Err(top.error("quantization_config", "quantised weights are not supported"));
    }
    if top.size("pm_size")?.is_some_and(|size| size > 0) {
        return Err(top.error("pm_size", "a vocabulary of more than 260 is not supported"));
    }
    if top.flag("cross_attn_init_by_pooling")? == Some(false) {
        return Err(top.error("cross_attn_init_by_pooling", NO_QUERIES));
    }
    check_vocabulary(top)
}

pub(super) const NO_QUERIES: &str =
    "false leaves the encoder's cross-attention without queries, so it must be true";

fn check_vocabulary(section: &Section) -> Result<()> {
    agree(section, "vocab_size", VOCABULARY_SIZE)
}

/// A key that repeats a number must repeat it rightly.
fn agree(section: &Section, key: &str, expected: usize) -> Result<()> {
    match section.size(key)? {
        Some(got) if got != expected => {
            Err(section.error(key, format!("expected {expected}, got {got}")))
        }
        _ => Ok(()),
    }
}

fn semantics(top: &Section) -> Result<Semantics> {
    let Some(name) = top.text("blt_semantics")? else { return Ok(Semantics::default()) };
    Semantics::from_name(name).ok_or_else(|| {
        top.error("blt_semantics", format!("expected reference or transformers, got {name:?}"))
    })
}

/// What `transformers` assumes of a stack whose keys are absent.
struct StackDefaults {
    hidden_size: usize,
    layer_count: usize,
    head_count: usize,
    intermediate_size: Option<usize>,
    max_positions: usize,
    rope_theta: f64,
}

const ENCODER: StackDefaults = StackDefaults {
    hidden_size: 1024,
    layer_count: 1,
    head_count: 16,
    intermediate_size: None,
    max_positions: 24576,
    rope_theta: LOCAL_THETA,
};
const DECODER: StackDefaults =
    StackDefaults { layer_count: 9, intermediate_size: Some(2816), ..ENCODER };
const GLOBAL: StackDefaults = StackDefaults {
    hidden_size: 2048,
    layer_count: 25,
    intermediate_size: Some(5632),
    max_positions: 4096,
    ..ENCODER
};
const PATCHER: StackDefaults = StackDefaults {
    hidden_size: 768,
    layer_count: 14,
    head_count: 12,
    intermediate_size: Some(2048),
    max_positions: 8192,
    rope_theta: PATCHER_THETA,
};

fn transformer(keys: &Section, defaults: &StackDefaults) -> Result<TransformerConfig> {
    if keys.number("dropout")?.is_some_and(|dropout| dropout != 0.0) {
        return Err(keys.error("dropout", "not supported; only 0 is"));
    }
    if let Some(other) = keys.text("hidden_act")?.filter(|act| *act != "silu") {
        return Err(keys.error("hidden_act", format!("expected \"silu\", got {other:?}")));
    }
    check_vocabulary(keys)?;
    let hidden_size = keys.size("hidden_size")?.unwrap_or(defaults.hidden_size);
    let head_count = keys.size("num_attention_heads")?.unwrap_or(defaults.head_count);
    let head_dim = match keys.size("head_dim")? {
        Some(head_dim) => head_dim,
        None if head_count == 0 || !hidden_size.is_multiple_of(head_count) => {
            let problem = format!("{head_count} heads do not divide a width of {hidden_size}");
            return Err(keys.error("num_attention_heads", problem));
        }
        None => hidden_size / head_count,
    };
    let intermediate_size = match keys.size("intermediate_size")? {
        Some(size) => size,
        None if keys.has("intermediate_size") => hidden_size.saturating_mul(8) / 3,
        None => defaults.intermediate_size.unwrap_or(hidden_size.saturating_mul(8) / 3),
    };
    Ok(TransformerConfig {
        hidden_size,
        layer_count: keys.size("num_hidden_layers")?.unwrap_or(defaults.layer_count),
        head_count,
        kv_head_count: keys.size("num_key_value_heads")?.unwrap_or(head_count),
        head_dim,
        intermediate_size,
        rms_norm_eps: keys.number("rms_norm_eps")?.unwrap_or(1e-5),
        rope_theta: rope_theta(keys, defaults.rope_theta)?,
        max_positions: keys.size("max_position_embeddings")?.unwrap_or(defaults.max_positions),
        window: None,
    })
}

/// The base of the rotary angles: from `rope_scaling` or `rope_parameters` where it stands there,
/// else from `rope_theta`.
fn rope_theta(keys: &Section, default: f64) -> Result<f64> {
    let key = if keys.get("rope_scaling").is_some() { "rope_scaling" } else { "rope_parameters" };
    let rope = keys.child(key)?;
    for kind in ["rope_type", "type"] {
        if let Some(other) = rope.text(kind)?.filter(|name| *name != "default") {
            return Err(rope.error(kind, format!("expected \"default\", got {other:?}")));
        }
    }
    let own = rope.number("rope_theta")?;
    Ok(own.or(keys.number("rope_theta")?).unwrap_or(default))
}

fn entropy_config(keys: &Section, semantics: Semantics) -> Result<EntropyConfig> {
    if keys.flag("tie_word_embeddings")? == Some(true) {
        return Err(keys.error("tie_word_embeddings", "not supported; only false is"));
    }
    let window = match (keys.has("sliding_window"), keys.size("sliding_window")?) {
        (false, _) => Some(512),
        (true, window) => window,
    };
    let transformer = TransformerConfig { window, ..transformer(keys, &PATCHER)? };
    Ok(EntropyConfig { transformer, semantics })
}

fn cross_attention(
    top: &Section,
    part: &str,
    keys: &Section,
    own: &TransformerConfig,
) -> Result<Option<CrossAttentionConfig>> {
    if top.flag(&format!("cross_attn_{part}"))? == Some(false) {
        return Ok(None);
    }
    let (head_count, kv_head_count) = match keys.size("cross_attn_nheads")? {
        Some(heads) => (heads, keys.size("cross_attn_n_kv_heads")?.unwrap_or(heads)),
        None => (own.head_count, own.kv_head_count),
    };
    Ok(Some(CrossAttentionConfig {
        head_count,
        kv_head_count,
        head_dim: own.hidden_size / head_count.max(1),
        all_layers: keys.flag("cross_attn_all_layers")?.unwrap_or(part == "decoder"),
        window: top.size(&format!("cross_attn_window_{part}"))?,
    }))
}

fn pooling(top: &Section) -> Result<Vec<Pooling>> {
    match top.text("downsampling_by_pooling")? {
        Some(text) => Ok(Pooling::from_text(text)),
        None if top.has("downsampling_by_pooling") => Ok(Vec::new()),
        None => Ok(vec![Pooling::Max]),
    }
}

fn hash(top: &Section, extended: bool) -> Result<HashEmbeddingConfig> {
    let sizes = top.sizes("encoder_hash_byte_group_size")?;
    if extended && sizes.as_ref().is_some_and(Vec::is_empty) {
        return Ok(HashEmbeddingConfig::none());
    }
    Ok(HashEmbeddingConfig {
        group_sizes: sizes.filter(|it| !it.is_empty()).unwrap_or(IMPLIED_GROUP_SIZES.into()),
        function_count: top.size("encoder_hash_byte_group_nb_functions")?.unwrap_or(1),
        rows_per_table: top.size("encoder_hash_byte_group_vocab")?.unwrap_or(500_002),
    })
}

fn patching(top: &Section, warnings: &mut Vec<String>) -> Result<PatchingConfig> {
    if top.has("patching_threshold") && top.get("patching_threshold").is_none() {
        let problem = "null asks for top-k patching, which is not causal and not supported";
        return Err(top.error("patching_threshold", problem));
    }
    let add = top.number("patching_threshold_add")?;
    let mut mode = match top.text("patching_mode")? {
        None if top.has("patching_mode") => PatchingMode::Byte,
        None => PatchingMode::Entropy,
        Some(name) => mode_of(name, top.flag("monotonicity")?.unwrap_or(false), add.is_some())
            .map_err(|problem| top.error("patching_mode", problem))?,
    };
    let patch_size = match top.number("patch_size")? {
        Some(size) if (1.0..1e9).contains(&size) => size.floor() as usize,
        Some(size) => {
            return Err(top.error("patch_size", format!("expected at least 1, got {size}")));
        }
        None if !top.has("patch_size") => 4,
        None => {
            if mode == PatchingMode::Entropy {
                warnings.push("patch_size is null, so every byte is a patch".into());
                mode = PatchingMode::Byte;
            }
            4
        }
    };
    Ok(PatchingConfig {
        mode,
        threshold: top.number("patching_threshold")?.unwrap_or(DEFAULT_PATCHING_THRESHOLD),
        threshold_add: add,
        patch_size,
        max_patch_length: top.size("max_patch_length")?,
    })
}

/// The mode that a name and the reference's two switches ask for together.
pub(super) fn mode_of(name: &str, monotonic: bool, add: bool) -> Result<PatchingMode, String> {
    match (PatchingMode::from_name(name), monotonic, add) {
        (Some(PatchingMode::Entropy), true, true) => {
            Err("monotonicity and a second threshold exclude each other".into())
        }
        (Some(PatchingMode::Entropy), true, false) => Ok(PatchingMode::Monotonic),
        (Some(PatchingMode::Entropy), false, true) => Ok(PatchingMode::Combined),
        (Some(mode), _, _) => Ok(mode),
        (None, _, _) if name.is_empty() => {
            Err("the mode \"\" (no patching, ids prepended) is not supported".into())
        }
        (None, _, _) => {
            let known: Vec<_> = PatchingMode::ALL.iter().map(|mode| mode.name()).collect();
            Err(format!("expected one of {}, got {name:?}", known.join(", ")))
        }
    }
}
