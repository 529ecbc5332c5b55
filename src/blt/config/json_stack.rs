//! One transformer of a `config.json`: the keys that encoder, latent transformer, decoder and
//! entropy model share.

use super::defaults::{LOCAL_THETA, PATCHER_THETA, VOCABULARY_SIZE};
use super::json_section::Section;
use super::model::{EntropyConfig, Semantics, TransformerConfig};
use crate::error::Result;

/// What `transformers` assumes of a stack whose keys are absent.
pub(super) struct StackDefaults {
    hidden_size: usize,
    layer_count: usize,
    head_count: usize,
    intermediate_size: Option<usize>,
    max_positions: usize,
    rope_theta: f64,
}

pub(super) const ENCODER: StackDefaults = StackDefaults {
    hidden_size: 1024,
    layer_count: 1,
    head_count: 16,
    intermediate_size: None,
    max_positions: 24576,
    rope_theta: LOCAL_THETA,
};
pub(super) const DECODER: StackDefaults =
    StackDefaults { layer_count: 9, intermediate_size: Some(2816), ..ENCODER };
pub(super) const GLOBAL: StackDefaults = StackDefaults {
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

/// The stack under these keys, without its window.
pub(super) fn transformer(keys: &Section, defaults: &StackDefaults) -> Result<TransformerConfig> {
    refuse_dropout(keys)?;
    if keys.flag("tie_word_embeddings")? == Some(true) {
        return Err(keys.error("tie_word_embeddings", "not supported; only false is"));
    }
    if let Some(other) = keys.text("hidden_act")?.filter(|act| *act != "silu") {
        return Err(keys.error("hidden_act", format!("expected \"silu\", got {other:?}")));
    }
    check_vocabulary(keys)?;
    keys.agree("pm_size", 0)?;
    let rms_norm_eps = keys.number("rms_norm_eps")?.unwrap_or(1e-5);
    // The reference's name for it, which converted models carry along and transformers ignores.
    if let Some(other) = keys.number("norm_eps")?.filter(|eps| *eps != rms_norm_eps) {
        let problem = format!("expected {rms_norm_eps}, as rms_norm_eps, got {other}");
        return Err(keys.error("norm_eps", problem));
    }
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
        rms_norm_eps,
        rope_theta: rope_theta(keys, defaults.rope_theta)?,
        max_positions: keys.size("max_position_embeddings")?.unwrap_or(defaults.max_positions),
        window: None,
    })
}

/// Dropout is not there; 0 and absent say so.
pub(super) fn refuse_dropout(keys: &Section) -> Result<()> {
    match keys.number("dropout")? {
        Some(dropout) if dropout != 0.0 => Err(keys.error("dropout", "not supported; only 0 is")),
        _ => Ok(()),
    }
}

/// The vocabulary, where it is written, is the one there is.
pub(super) fn check_vocabulary(keys: &Section) -> Result<()> {
    keys.agree("vocab_size", VOCABULARY_SIZE)
}

/// The base of the rotary angles. `transformers` has written it under three names, which must not
/// contradict each other.
fn rope_theta(keys: &Section, default: f64) -> Result<f64> {
    let mut theta = keys.number("rope_theta")?;
    for key in ["rope_parameters", "rope_scaling"] {
        let rope = keys.child(key)?;
        for kind in ["rope_type", "type"] {
            if let Some(other) = rope.text(kind)?.filter(|name| *name != "default") {
                return Err(rope.error(kind, format!("expected \"default\", got {other:?}")));
            }
        }
        match (theta, rope.number("rope_theta")?) {
            (Some(expected), Some(got)) if expected != got => {
                return Err(rope.error("rope_theta", format!("expected {expected}, got {got}")));
            }
            (known, own) => theta = own.or(known),
        }
    }
    Ok(theta.unwrap_or(default))
}

/// An entropy model: that of a whole file, or the patcher of a BLT.
pub(super) fn entropy_config(keys: &Section, semantics: Semantics) -> Result<EntropyConfig> {
    let window = match (keys.has("sliding_window"), keys.size("sliding_window")?) {
        (false, _) => Some(512),
        (true, window) => window,
    };
    let transformer = TransformerConfig { window, ..transformer(keys, &PATCHER)? };
    Ok(EntropyConfig { transformer, semantics })
}
