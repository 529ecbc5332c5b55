//! Reading a `config.json` written here or by `transformers` (spec §22.3).
//!
//! Absent keys take the defaults of `transformers` 5.23, which are those of the released 1B model,
//! including an FFN of `int(8 h / 3)` where the file has a null. Keys nobody here knows are named
//! in a warning and otherwise ignored, because other programs write theirs into the same file and
//! newer versions of `transformers` add some.

use serde_json::Value;

use super::defaults::{DEFAULT_PATCHING_THRESHOLD, IMPLIED_GROUP_SIZES};
use super::json_section::{Reading, Section};
use super::json_stack::{
    DECODER, ENCODER, GLOBAL, check_vocabulary, entropy_config, refuse_dropout, transformer,
};
use super::json_unread::unread_keys_warnings;
use super::model::{
    BltConfig, CrossAttentionConfig, HashEmbeddingConfig, ModelConfig, Pooling, Semantics,
    TransformerConfig,
};
use super::patching::{PatchingConfig, PatchingMode};
use super::weights::{WeightType, quantization};
use crate::error::{Error, Result};

/// A configuration and what should be said about how it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<T> {
    /// The configuration, validated.
    pub config: T,
    /// Sentences for the person who runs the program.
    pub warnings: Vec<String>,
    /// The blocks that the weights beside it are stored in, where they are.
    pub blocks: Option<WeightType>,
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
        let reading = Reading::default();
        let top = Section::top(&value, &reading)?;
        let mut warnings = Vec::new();
        let blocks = quantization(&top)?;
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
                    "this is neither the config.json of a Hugging Face BLT directory nor that of \
                     the original release, which has `args`",
                ));
            }
        };
        config.validate()?;
        warnings.extend(unread_keys_warnings(&value, &reading.asked()));
        Ok(Parsed { config, warnings, blocks })
    }
}

/// `extended`: the file says `blt_wgpu`, so keys mean what they mean here.
fn blt_config(top: &Section, extended: bool, warnings: &mut Vec<String>) -> Result<BltConfig> {
    refuse_top(top)?;
    let semantics = semantics(top)?;
    let window =
        match (top.has("local_attention_window_len"), top.size("local_attention_window_len")?) {
            (false, _) => Some(512),
            (true, window) => window,
        };
    let (encoder_keys, decoder_keys) = (top.child("encoder_config")?, top.child("decoder_config")?);
    let encoder = TransformerConfig { window, ..transformer(&encoder_keys, &ENCODER)? };
    let decoder = TransformerConfig { window, ..transformer(&decoder_keys, &DECODER)? };
    let global_keys = top.child("global_config")?;
    let global = transformer(&global_keys, &GLOBAL)?;
    let k = top.size("cross_attn_k")?.unwrap_or(2);
    for keys in [&encoder_keys, &decoder_keys] {
        keys.agree("cross_attn_k", k)?;
        check_window(keys, window)?;
    }
    decoder_keys.agree("hidden_size_global", global.hidden_size)?;
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
    // transformers writes a patcher_config even for a model without a patcher.
    let patcher_keys = top.child("patcher_config")?;
    if top.flag("patch_in_forward")?.unwrap_or(true) {
        config.patcher = Some(entropy_config(&patcher_keys, semantics)?);
    }
    config.validate()?;
    global_keys.agree("encoder_cross_output_size", config.patch_vector_size())?;
    if !extended {
        mean_what_transformers_means(&mut config, top, warnings)?;
    }
    Ok(config)
}

/// A file that says `blt` promises what `transformers` computes; its own key `patching_mode` has
/// the meaning it has there, and extra keys that break the promise are pointed out.
fn mean_what_transformers_means(
    config: &mut BltConfig,
    top: &Section,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let patching = &mut config.patching;
    if config.semantics == Semantics::Transformers {
        let name = top.text("patching_mode")?.unwrap_or("entropy");
        let mode = match (patching.mode, name) {
            (PatchingMode::Entropy | PatchingMode::Byte, _) => None,
            (_, "entropy") => Some((PatchingMode::Entropy, "goes by one threshold alone")),
            _ => Some((PatchingMode::Byte, "makes every byte a patch")),
        };
        if let Some((mode, meaning)) = mode {
            warnings.push(format!(
                "model_type is \"blt\", and there patching_mode {name:?} {meaning}; set model_type \
                 to \"blt_wgpu\" for {} patching",
                patching.mode.name()
            ));
            patching.mode = mode;
            patching.threshold_add = None;
        }
    }
    if let Some(difference) = config.transformers_difference() {
        warnings.push(format!(
            "model_type is \"blt\", but transformers would compute something else: {difference}"
        ));
    }
    Ok(())
}

/// The window of a local stack repeats the one that holds for both.
fn check_window(keys: &Section, window: Option<usize>) -> Result<()> {
    match keys.size("sliding_window")? {
        Some(got) if Some(got) != window => {
            let expected = window.map_or("null".into(), |window| window.to_string());
            let problem = format!("expected {expected}, got {got}");
            Err(keys
                .error("sliding_window", problem)
                .with_hint("local_attention_window_len decides, for encoder and decoder"))
        }
        _ => Ok(()),
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
    refuse_dropout(top)?;
    if top.flag("use_rope")? == Some(false) {
        return Err(top.error("use_rope", "false is broken in the reference and not supported"));
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

fn semantics(top: &Section) -> Result<Semantics> {
    let Some(name) = top.text("blt_semantics")? else { return Ok(Semantics::default()) };
    Semantics::from_name(name).ok_or_else(|| {
        top.error("blt_semantics", format!("expected reference or transformers, got {name:?}"))
    })
}

fn cross_attention(
    top: &Section,
    part: &str,
    keys: &Section,
    own: &TransformerConfig,
) -> Result<Option<CrossAttentionConfig>> {
    let is_there = top.flag(&format!("cross_attn_{part}"))?.unwrap_or(true);
    let kv_heads = keys.size("cross_attn_n_kv_heads")?;
    let (head_count, kv_head_count) = match keys.size("cross_attn_nheads")? {
        Some(heads) => (heads, kv_heads.unwrap_or(heads)),
        None => (own.head_count, kv_heads.unwrap_or(own.kv_head_count)),
    };
    let cross = CrossAttentionConfig {
        head_count,
        kv_head_count,
        head_dim: own.hidden_size / head_count.max(1),
        all_layers: keys.flag("cross_attn_all_layers")?.unwrap_or(part == "decoder"),
        window: top.size(&format!("cross_attn_window_{part}"))?,
    };
    Ok(is_there.then_some(cross))
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
    let is_absent = extended && sizes.as_ref().is_some_and(Vec::is_empty);
    let config = HashEmbeddingConfig {
        group_sizes: sizes.filter(|it| !it.is_empty()).unwrap_or(IMPLIED_GROUP_SIZES.into()),
        function_count: top.size("encoder_hash_byte_group_nb_functions")?.unwrap_or(1),
        rows_per_table: top.size("encoder_hash_byte_group_vocab")?.unwrap_or(500_002),
    };
    Ok(if is_absent { HashEmbeddingConfig::none() } else { config })
}

fn patching(top: &Section, warnings: &mut Vec<String>) -> Result<PatchingConfig> {
    if top.has("patching_threshold") && top.get("patching_threshold").is_none() {
        let problem = "null asks for top-k patching, which is not causal and not supported";
        return Err(top.error("patching_threshold", problem));
    }
    let add = top.number("patching_threshold_add")?;
    let monotonic = top.flag("monotonicity")?.unwrap_or(false);
    let mut mode = match top.text("patching_mode")? {
        None if top.has("patching_mode") => PatchingMode::Byte,
        name => mode_of(name.unwrap_or("entropy"), monotonic, add.is_some())
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
