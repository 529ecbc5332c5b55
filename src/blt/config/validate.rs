//! What makes a configuration one that can be built. Every error names the part and the numbers.

use super::defaults::{
    MAX_HASH_FUNCTION_COUNT, MAX_HASH_GROUP_SIZE, MAX_HEAD_DIM, MAX_LAYER_COUNT, MAX_POSITIONS,
    MAX_ROTARY_NUMBERS, MAX_ROWS_PER_TABLE, MAX_WIDTH, MIN_HASH_GROUP_SIZE,
};
use super::model::{
    BltConfig, CrossAttentionConfig, EntropyConfig, HashEmbeddingConfig, ModelConfig,
    TransformerConfig,
};
use super::patching::{PatchingConfig, PatchingMode};
use crate::error::{Error, Result};

impl ModelConfig {
    /// Checks the configuration, whichever model it is.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Blt(config) => config.validate(),
            Self::Entropy(config) => config.validate(),
        }
    }
}

impl EntropyConfig {
    /// Checks every size.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the first number that cannot be.
    pub fn validate(&self) -> Result<()> {
        check_transformer("entropy model", &self.transformer)
    }
}

impl BltConfig {
    /// Checks every size, and the sizes against each other.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the first number that cannot be.
    pub fn validate(&self) -> Result<()> {
        check_transformer("local encoder", &self.encoder)?;
        check_transformer("latent transformer", &self.global)?;
        check_transformer("local decoder", &self.decoder)?;
        check_stacks_together(self)?;
        check_size("cross-attention", "k", self.cross_attention_k, MAX_WIDTH)?;
        if let Some(cross) = &self.encoder_cross_attention {
            check_cross("encoder cross-attention", cross, self.encoder.hidden_size)?;
            if self.pooling.len() != 1 {
                return Err(Error::config(
                    "encoder cross-attention",
                    format!(
                        "its queries start from one pooled vector a patch, so exactly one of mean, \
                         min and max must be named, got {}",
                        self.pooling.len()
                    ),
                )
                .with_hint("the released models pool by \"max\""));
            }
        }
        if !self.pooling.is_sorted_by(|left, right| left < right) {
            return Err(Error::config(
                "pooling",
                "poolings must be distinct and in the order mean, min, max",
            ));
        }
        check_size("patch vector", "width", self.patch_vector_size(), MAX_WIDTH)?;
        self.check_decoder()?;
        check_hash(&self.hash)?;
        check_patching(&self.patching)?;
        if let Some(patcher) = &self.patcher {
            patcher.validate()?;
            if patcher.semantics != self.semantics {
                return Err(Error::config(
                    "entropy model",
                    format!(
                        "it follows {} semantics inside a model that follows {}",
                        patcher.semantics.name(),
                        self.semantics.name()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_decoder(&self) -> Result<()> {
        let Some(cross) = &self.decoder_cross_attention else { return Ok(()) };
        check_cross("decoder cross-attention", cross, self.decoder.hidden_size)?;
        let width = self.cross_attention_k.saturating_mul(self.decoder.hidden_size);
        check_size("decoder patch projection", "width", width, MAX_WIDTH)?;
        if !self.decoder_has_projection() && self.cross_attention_k != 1 {
            return Err(Error::config(
                "local decoder",
                format!(
                    "a latent transformer as wide as the decoder ({}) has no patch projection \
                     under reference semantics, so k must be 1, got {}",
                    self.decoder.hidden_size, self.cross_attention_k
                ),
            )
            .with_hint("set k to 1, or blt_semantics to \"transformers\", which always projects"));
        }
        Ok(())
    }
}

fn check_stacks_together(config: &BltConfig) -> Result<()> {
    let (encoder, decoder) = (&config.encoder, &config.decoder);
    if encoder.hidden_size != decoder.hidden_size {
        return Err(Error::config(
            "local decoder",
            format!(
                "it starts from the encoder's byte states, so both have one width: expected {}, \
                 got {}",
                encoder.hidden_size, decoder.hidden_size
            ),
        ));
    }
    if encoder.window != decoder.window {
        return Err(Error::config(
            "local decoder",
            format!(
                "encoder and decoder share one attention window: expected {:?}, got {:?}",
                encoder.window, decoder.window
            ),
        ));
    }
    if config.global.window.is_some() {
        return Err(Error::config("latent transformer", "it has no attention window"));
    }
    Ok(())
}

fn check_transformer(part: &str, config: &TransformerConfig) -> Result<()> {
    check_size(part, "hidden size", config.hidden_size, MAX_WIDTH)?;
    check_size(part, "FFN width", config.intermediate_size, MAX_WIDTH)?;
    check_size(part, "layer count", config.layer_count, MAX_LAYER_COUNT)?;
    check_size(part, "position limit", config.max_positions, MAX_POSITIONS)?;
    check_size(part, "head width", config.head_dim, MAX_HEAD_DIM)?;
    let rotary = config.max_positions * config.head_dim;
    check_size(part, "positions times head width", rotary, MAX_ROTARY_NUMBERS)?;
    check_heads(part, config.head_count, config.kv_head_count)?;
    if !config.head_dim.is_multiple_of(2) {
        return Err(Error::config(
            part,
            format!("rotary pairs need an even head width, got {}", config.head_dim),
        ));
    }
    check_size(part, "query width", config.query_size(), MAX_WIDTH)?;
    if let Some(window) = config.window {
        check_size(part, "attention window", window, MAX_POSITIONS)?;
    }
    if !(config.rms_norm_eps > 0.0 && config.rms_norm_eps < 1.0) {
        return Err(Error::config(
            part,
            format!("rms_norm_eps must lie between 0 and 1, got {}", config.rms_norm_eps),
        ));
    }
    if !(config.rope_theta >= 1.0 && config.rope_theta.is_finite()) {
        return Err(Error::config(
            part,
            format!("rope_theta must be a finite number of at least 1, got {}", config.rope_theta),
        ));
    }
    Ok(())
}

fn check_cross(part: &str, config: &CrossAttentionConfig, hidden_size: usize) -> Result<()> {
    check_heads(part, config.head_count, config.kv_head_count)?;
    check_size(part, "head width", config.head_dim, MAX_HEAD_DIM)?;
    let expected = hidden_size / config.head_count;
    if config.head_dim != expected {
        return Err(Error::config(
            part,
            format!(
                "{} heads over a width of {hidden_size}: expected a head width of {expected}, \
                 got {}",
                config.head_count, config.head_dim
            ),
        ));
    }
    if let Some(window) = config.window {
        check_size(part, "window", window, MAX_POSITIONS)?;
    }
    Ok(())
}

fn check_heads(part: &str, head_count: usize, kv_head_count: usize) -> Result<()> {
    check_size(part, "head count", head_count, MAX_WIDTH)?;
    check_size(part, "key and value head count", kv_head_count, MAX_WIDTH)?;
    if !head_count.is_multiple_of(kv_head_count) {
        return Err(Error::config(
            part,
            format!("{kv_head_count} key and value heads do not divide {head_count} heads"),
        ));
    }
    Ok(())
}

fn check_hash(hash: &HashEmbeddingConfig) -> Result<()> {
    let part = "hash embedding";
    if *hash == HashEmbeddingConfig::none() {
        return Ok(());
    }
    check_size(part, "group size count", hash.group_sizes.len(), MAX_HASH_GROUP_SIZE)?;
    for (index, size) in hash.group_sizes.iter().enumerate() {
        if !(MIN_HASH_GROUP_SIZE..=MAX_HASH_GROUP_SIZE).contains(size) {
            return Err(Error::config(
                part,
                format!(
                    "n-grams are {MIN_HASH_GROUP_SIZE} to {MAX_HASH_GROUP_SIZE} bytes long, got \
                     {size}"
                ),
            ));
        }
        if hash.group_sizes[..index].contains(size) {
            return Err(Error::config(part, format!("group size {size} is named twice")));
        }
    }
    check_size(part, "function count", hash.function_count, MAX_HASH_FUNCTION_COUNT)?;
    check_size(part, "rows of a table", hash.rows_per_table, MAX_ROWS_PER_TABLE)
}

fn check_patching(patching: &PatchingConfig) -> Result<()> {
    let part = "patching";
    check_size(part, "patch size", patching.patch_size, MAX_POSITIONS)?;
    if let Some(length) = patching.max_patch_length {
        check_size(part, "longest patch", length, MAX_POSITIONS)?;
    }
    if !patching.threshold.is_finite() {
        return Err(Error::config(
            part,
            format!("the threshold must be a finite number of nats, got {}", patching.threshold),
        ));
    }
    match (patching.mode, patching.threshold_add) {
        (PatchingMode::Combined, Some(add)) if add.is_finite() => Ok(()),
        (PatchingMode::Combined, Some(add)) => Err(Error::config(
            part,
            format!("the second threshold must be a finite number of nats, got {add}"),
        )),
        (PatchingMode::Combined, None) => {
            Err(Error::config(part, "mode \"combined\" needs a second threshold (threshold_add)"))
        }
        (_, None) => Ok(()),
        (mode, Some(_)) => Err(Error::config(
            part,
            format!(
                "a second threshold (threshold_add) belongs to mode \"combined\", not to \"{}\"",
                mode.name()
            ),
        )),
    }
}

fn check_size(part: &str, what: &str, value: usize, limit: usize) -> Result<()> {
    match value {
        0 => Err(Error::config(part, format!("{what} must be at least 1, got 0"))),
        value if value > limit => {
            Err(Error::config(part, format!("{what} may be at most {limit}, got {value}")))
        }
        _ => Ok(()),
    }
}
