//! The key names of the reference implementation's `model` group (spec §18).

use serde::{Deserialize, Serialize};

use super::initialisation::InitStdFactor;
use super::key_names::unknown_key;
use crate::error::{Error, Result};

/// Keys of `[model]` and `[entropy_model]` that the reference reads and then does nothing with, and
/// those about its hardware; a name may end in `*`.
pub const KEYS_WITHOUT_EFFECT: &[&str] = &[
    "alpha_depth",
    "architecture",
    "attn_to_keep",
    "conv_kernel_size",
    "cross_attn_use_flex_attention",
    "custom_bwd",
    "data_loader_patching",
    "encoder_enable_byte_group_hash",
    "encoder_lm_loss",
    "encoder_preds_*",
    "full_logging_n_layers",
    "global_local_decoder_residual_layer",
    "init_use_*",
    "layer_ckpt",
    "log_patch_lengths",
    "loss_parallel",
    "max_length",
    "non_linearity",
    "norm_affine",
    "norm_type",
    "output_size",
    "patching_thresholds_str",
    "pm",
    "pre_norm",
    "recompute_*",
    "rope_use_fp32_in_outer_product",
    "sequence_parallel",
    "tie_local_encoder_decoder",
    "tie_local_encoder_decoder_logits",
    "tokenize_with_bpe_delimiter",
    "weight_tying",
];

/// Whether the reference has the key and does nothing with it.
pub(super) fn is_without_effect(key: &str) -> bool {
    KEYS_WITHOUT_EFFECT.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == *pattern,
    })
}

/// One warning for all keys that are there and have no effect.
pub(super) fn without_effect_warning(keys: &[String]) -> Option<String> {
    (!keys.is_empty()).then(|| {
        format!("keys without effect here, as in the reference implementation: {}", keys.join(", "))
    })
}

/// A structure of optional keys, and the list of their names.
macro_rules! keys {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $key:ident: $kind:ty,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        pub struct $name {
            $(
                $(#[$inner])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $key: Option<$kind>,
            )*
        }

        impl $name {
            const NAMES: &[&str] = &[$(stringify!($key)),*];
        }
    };
}
pub(super) use keys;

keys! {
    /// What a `[model]` table may say; everything is optional.
    ReferenceModelKeys {
        /// Seed of the initialisation.
        seed: u64,
        /// `reference` or `transformers`; not a key of the reference, absent is `transformers`.
        blt_semantics: String,
        /// 260 or absent.
        vocab_size: usize,
        /// 0 or absent.
        pm_size: usize,
        /// Read by the reference for its log only.
        dim: usize,
        /// Read by the reference for its log only.
        n_layers: usize,
        /// Read by the reference for its log only.
        n_heads: usize,
        /// Key and value heads of encoder and decoder.
        n_kv_heads: usize,
        /// Key and value heads of the latent transformer.
        n_kv_heads_global: usize,
        /// Head width of every self-attention; absent: width / heads.
        head_dim: usize,
        /// Width of the byte embedding; must be the encoder's.
        dim_token: usize,
        /// Width of the latent transformer.
        dim_global: usize,
        /// Width of the local encoder.
        dim_local_encoder: usize,
        /// Width of the local decoder.
        dim_local_decoder: usize,
        /// Blocks of the latent transformer.
        n_layers_global: usize,
        /// Blocks of the local encoder.
        n_layers_local_encoder: usize,
        /// Blocks of the local decoder.
        n_layers_local_decoder: usize,
        /// Heads of the latent transformer.
        n_heads_global: usize,
        /// Heads of the local encoder.
        n_heads_local_encoder: usize,
        /// Heads of the local decoder.
        n_heads_local_decoder: usize,
        /// Whether the byte embedding is as wide as the encoder.
        use_local_encoder_transformer: bool,
        /// Bytes a patch; a fraction is rounded down.
        patch_size: f64,
        /// The rule by which patches begin.
        patching_mode: String,
        /// Nats.
        patching_threshold: f64,
        /// Nats; with mode `entropy` it makes the mode `combined`.
        patching_threshold_add: f64,
        /// With mode `entropy` it makes the mode `monotonic`.
        monotonicity: bool,
        /// Longer patches are cut.
        max_patch_length: usize,
        /// Position limit of encoder and decoder, in bytes.
        max_encoder_seq_length: usize,
        /// Position limit of the latent transformer, in patches.
        max_seqlen: usize,
        /// Whether patches attend to their bytes.
        cross_attn_encoder: bool,
        /// Whether bytes attend to their patch.
        cross_attn_decoder: bool,
        /// Vectors a patch.
        cross_attn_k: usize,
        /// Heads of both cross-attentions; absent: those of encoder and decoder.
        cross_attn_nheads: usize,
        /// Patches that a patch query's keys come from; absent: its own.
        cross_attn_window_encoder: usize,
        /// Patches that a byte query sees; absent: one.
        cross_attn_window_decoder: usize,
        /// At every encoder layer, or after the last.
        cross_attn_all_layers_encoder: bool,
        /// At every decoder layer, or before the first.
        cross_attn_all_layers_decoder: bool,
        /// Must be true where the encoder cross-attends.
        cross_attn_init_by_pooling: bool,
        /// Any of mean (avg), min, max; empty: the last byte states concatenated.
        downsampling_by_pooling: String,
        /// Sizes of hashed n-grams, as a list or as "3,4,5"; empty or absent: none.
        encoder_hash_byte_group_size: GroupSizes,
        /// Rows of one hash table.
        encoder_hash_byte_group_vocab: usize,
        /// Hash functions.
        encoder_hash_byte_group_nb_functions: usize,
        /// False or absent.
        encoder_enable_byte_ngrams: bool,
        /// Absent.
        encoder_ngram_to_size_str: String,
        /// Absent.
        ngram_vocab_sizes: toml::Value,
        /// Keys a byte sees in encoder and decoder, itself included.
        local_attention_window_len: usize,
        /// Has no effect here: the same masks hold in every engine.
        attn_impl: String,
        /// `block_causal` under reference semantics.
        attn_bias_type: String,
        /// Base of the rotary angles.
        rope_theta: f64,
        /// True or absent.
        use_rope: bool,
        /// Added to mean squares.
        norm_eps: f64,
        /// FFN widths are rounded up to a multiple of this.
        multiple_of: usize,
        /// Scales FFN widths.
        ffn_dim_multiplier: f64,
        /// 0 or absent.
        dropout: f64,
        /// Standard deviation of the latent transformer's matrices.
        init_base_std: f64,
        /// Divisor of standard deviations.
        init_std_factor: InitStdFactor,
        /// 2 or absent.
        eos_id: usize,
        /// False or absent.
        share_encoder_decoder_emb: bool,
    }
}

/// Sizes of hashed n-grams as TOML may have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GroupSizes {
    /// `[3, 4, 5]`
    List(Vec<usize>),
    /// `"3,4,5"`
    Text(String),
}

impl ReferenceModelKeys {
    /// Every key a `[model]` table may have, beside [`KEYS_WITHOUT_EFFECT`].
    pub fn known_keys() -> &'static [&'static str] {
        Self::NAMES
    }

    /// Reads the table; the second value is the warning about keys without effect.
    ///
    /// # Errors
    ///
    /// An unknown key, with the nearest known one as the hint, or a value of the wrong type.
    pub fn from_table(mut table: toml::Table) -> Result<(Self, Option<String>)> {
        let found: Vec<String> =
            table.keys().filter(|key| is_without_effect(key)).cloned().collect();
        table.retain(|key, _| !is_without_effect(key));
        if let Some(key) = table.keys().find(|key| !Self::NAMES.contains(&key.as_str())) {
            return Err(unknown_key("model", key, Self::NAMES));
        }
        let keys = table.try_into().map_err(|problem: toml::de::Error| {
            Error::config("model", problem.to_string().trim().replace('\n', " "))
        })?;
        Ok((keys, without_effect_warning(&found)))
    }
}
