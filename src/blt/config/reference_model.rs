//! The `[model]` table: the reference implementation's key names turned into a [`BltConfig`].
//!
//! Absent keys have the reference's defaults (spec §18), with three exceptions, where the
//! reference's own default cannot run or is a known trap: `rope_theta` is 500000, the local window
//! is 512, and patches are pooled by "max".

use super::defaults::{DEFAULT_PATCHING_THRESHOLD, LOCAL_THETA, VOCABULARY_SIZE};
use super::initialisation::InitOptions;
use super::json_read::{NO_QUERIES, Parsed, mode_of};
use super::model::{
    BltConfig, CrossAttentionConfig, HashEmbeddingConfig, Pooling, Semantics, TransformerConfig,
    ffn_width,
};
use super::patching::{PatchingConfig, PatchingMode};
use super::reference_keys::{GroupSizes, ReferenceModelKeys};
use crate::error::{Error, Result};

impl ReferenceModelKeys {
    /// The options of the initialisation.
    pub fn init_options(&self) -> InitOptions {
        InitOptions {
            base_std: self.init_base_std,
            std_factor: self.init_std_factor.unwrap_or_default(),
        }
    }

    /// The configuration these keys describe, without a patcher.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a feature that does not exist here, or for sizes that contradict each
    /// other.
    pub fn into_config(self) -> Result<Parsed<BltConfig>> {
        self.refuse()?;
        let mut warnings = Vec::new();
        let semantics = self.semantics(&mut warnings)?;
        let window = Some(self.local_attention_window_len.unwrap_or(512));
        let local_positions = self.max_encoder_seq_length.unwrap_or(12288);
        let encoder = TransformerConfig {
            window,
            ..self.stack(
                self.dim_local_encoder,
                self.n_layers_local_encoder,
                self.n_heads_local_encoder,
                self.n_kv_heads,
                local_positions,
            )?
        };
        let decoder = TransformerConfig {
            window,
            ..self.stack(
                self.dim_local_decoder,
                self.n_layers_local_decoder,
                self.n_heads_local_decoder,
                self.n_kv_heads,
                local_positions,
            )?
        };
        let global = self.stack(
            self.dim_global,
            self.n_layers_global,
            self.n_heads_global,
            self.n_kv_heads_global,
            self.max_seqlen.unwrap_or(2048),
        )?;
        self.check_dim_token(&encoder, &global)?;
        let config = BltConfig {
            semantics,
            encoder_cross_attention: self.cross_attention(
                self.cross_attn_encoder,
                &encoder,
                self.cross_attn_all_layers_encoder,
                self.cross_attn_window_encoder,
            ),
            decoder_cross_attention: self.cross_attention(
                self.cross_attn_decoder,
                &decoder,
                self.cross_attn_all_layers_decoder,
                self.cross_attn_window_decoder,
            ),
            encoder,
            global,
            decoder,
            cross_attention_k: self.cross_attn_k.unwrap_or(1),
            pooling: Pooling::from_text(self.downsampling_by_pooling.as_deref().unwrap_or("max")),
            hash: self.hash()?,
            patching: self.patching()?,
            patcher: None,
        };
        config.validate()?;
        Ok(Parsed { config, warnings, blocks: None })
    }

    fn refuse(&self) -> Result<()> {
        let refusals = [
            ("dropout", self.dropout.is_some_and(|it| it != 0.0), "only 0 is supported"),
            (
                "share_encoder_decoder_emb",
                self.share_encoder_decoder_emb == Some(true),
                "sharing embeddings is not supported; only false is",
            ),
            (
                "encoder_enable_byte_ngrams",
                self.encoder_enable_byte_ngrams == Some(true),
                "frequency n-gram tables are not supported",
            ),
            (
                "encoder_ngram_to_size_str",
                self.encoder_ngram_to_size_str.is_some(),
                "frequency n-gram tables are not supported",
            ),
            (
                "ngram_vocab_sizes",
                self.ngram_vocab_sizes.is_some(),
                "frequency n-gram tables are not supported",
            ),
            (
                "use_rope",
                self.use_rope == Some(false),
                "false is broken in the reference and not supported",
            ),
            (
                "cross_attn_init_by_pooling",
                self.cross_attn_encoder == Some(true)
                    && self.cross_attn_init_by_pooling == Some(false),
                NO_QUERIES,
            ),
            (
                "vocab_size",
                self.vocab_size.is_some_and(|it| it != VOCABULARY_SIZE),
                "the vocabulary has 260 ids",
            ),
            ("pm_size", self.pm_size.is_some_and(|it| it != 0), "the vocabulary has 260 ids"),
            ("eos_id", self.eos_id.is_some_and(|it| it != 2), "the end of a document is id 2"),
        ];
        match refusals.into_iter().find(|(_, refused, _)| *refused) {
            Some((key, _, problem)) => Err(Error::config(format!("model.{key}"), problem)),
            None => Ok(()),
        }
    }

    fn semantics(&self, warnings: &mut Vec<String>) -> Result<Semantics> {
        let name = self.blt_semantics.as_deref().unwrap_or(Semantics::default().name());
        let semantics = Semantics::from_name(name).ok_or_else(|| {
            let problem = format!("expected reference or transformers, got {name:?}");
            Error::config("model.blt_semantics", problem)
        })?;
        match (self.attn_bias_type.as_deref(), semantics) {
            (None, _)
            | (Some("block_causal"), Semantics::Reference)
            | (Some("causal"), Semantics::Transformers) => Ok(semantics),
            (Some("block_causal"), Semantics::Transformers) => {
                warnings.push(
                    "attn_bias_type \"block_causal\" has no effect unless blt_semantics is \
                     \"reference\": document ends do not block attention"
                        .into(),
                );
                Ok(semantics)
            }
            (Some("causal"), Semantics::Reference) => Err(Error::config(
                "model.attn_bias_type",
                "reference semantics block attention at document ends; expected \"block_causal\", \
                 got \"causal\"",
            )),
            (Some(other), _) => Err(Error::config(
                "model.attn_bias_type",
                format!("expected \"block_causal\" or \"causal\", got {other:?}"),
            )),
        }
    }

    fn stack(
        &self,
        width: Option<usize>,
        layers: Option<usize>,
        heads: Option<usize>,
        kv_heads: Option<usize>,
        max_positions: usize,
    ) -> Result<TransformerConfig> {
        let (hidden_size, head_count) = (width.unwrap_or(512), heads.unwrap_or(8));
        Ok(TransformerConfig {
            hidden_size,
            layer_count: layers.unwrap_or(8),
            head_count,
            kv_head_count: kv_heads.unwrap_or(head_count),
            head_dim: head_width("model", self.head_dim, hidden_size, head_count)?,
            intermediate_size: ffn_size(
                "model",
                hidden_size,
                self.multiple_of,
                self.ffn_dim_multiplier,
            )?,
            rms_norm_eps: self.norm_eps.unwrap_or(1e-5),
            rope_theta: self.rope_theta.unwrap_or(LOCAL_THETA),
            max_positions,
            window: None,
        })
    }

    /// The reference makes a projection for another embedding width and never applies it.
    fn check_dim_token(
        &self,
        encoder: &TransformerConfig,
        global: &TransformerConfig,
    ) -> Result<()> {
        let implied = if self.use_local_encoder_transformer.unwrap_or(true) {
            encoder.hidden_size
        } else {
            global.hidden_size / self.patch_size.map_or(4, |size| size.max(1.0) as usize)
        };
        let width = self.dim_token.unwrap_or(implied);
        if width == encoder.hidden_size {
            return Ok(());
        }
        Err(Error::config(
            "model.dim_token",
            format!(
                "the byte embedding is as wide as the local encoder: expected {}, got {width}",
                encoder.hidden_size
            ),
        )
        .with_hint("leave dim_token out, and use_local_encoder_transformer true"))
    }

    fn cross_attention(
        &self,
        wanted: Option<bool>,
        own: &TransformerConfig,
        all_layers: Option<bool>,
        window: Option<usize>,
    ) -> Option<CrossAttentionConfig> {
        let head_count = self.cross_attn_nheads.unwrap_or(own.head_count);
        wanted.unwrap_or(false).then(|| CrossAttentionConfig {
            head_count,
            kv_head_count: head_count,
            head_dim: own.hidden_size / head_count.max(1),
            all_layers: all_layers.unwrap_or(false),
            window,
        })
    }

    fn hash(&self) -> Result<HashEmbeddingConfig> {
        let group_sizes = match &self.encoder_hash_byte_group_size {
            None => Vec::new(),
            Some(GroupSizes::List(sizes)) => sizes.clone(),
            Some(GroupSizes::Text(text)) => text
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| {
                    Error::config(
                        "model.encoder_hash_byte_group_size",
                        format!("expected sizes such as \"3,4,5\", got {text:?}"),
                    )
                })?,
        };
        if group_sizes.is_empty() {
            return Ok(HashEmbeddingConfig::none());
        }
        Ok(HashEmbeddingConfig {
            group_sizes,
            function_count: self.encoder_hash_byte_group_nb_functions.unwrap_or(3),
            rows_per_table: self.encoder_hash_byte_group_vocab.unwrap_or(30_000),
        })
    }

    fn patching(&self) -> Result<PatchingConfig> {
        let name = self.patching_mode.as_deref().unwrap_or("entropy");
        let add = self.patching_threshold_add;
        let mode = mode_of(name, self.monotonicity.unwrap_or(false), add.is_some())
            .map_err(|problem| Error::config("model.patching_mode", problem))?;
        let patch_size = self.patch_size.unwrap_or(4.5);
        if mode == PatchingMode::Static && patch_size.fract() != 0.0 {
            return Err(Error::config(
                "model.patch_size",
                format!("static patches have a whole number of bytes, got {patch_size}"),
            ));
        }
        Ok(PatchingConfig {
            mode,
            threshold: self.patching_threshold.unwrap_or(DEFAULT_PATCHING_THRESHOLD),
            threshold_add: add,
            patch_size: patch_size.max(0.0) as usize,
            max_patch_length: self.max_patch_length,
        })
    }
}

/// Head width, given or width / heads.
pub(super) fn head_width(
    table: &str,
    given: Option<usize>,
    hidden_size: usize,
    head_count: usize,
) -> Result<usize> {
    match given {
        Some(head_dim) => Ok(head_dim),
        None if head_count > 0 && hidden_size.is_multiple_of(head_count) => {
            Ok(hidden_size / head_count)
        }
        None => Err(Error::config(
            table,
            format!("{head_count} heads do not divide a width of {hidden_size}"),
        )),
    }
}

/// FFN width by spec §5.5, from numbers that may be anything.
pub(super) fn ffn_size(
    table: &str,
    hidden_size: usize,
    multiple_of: Option<usize>,
    multiplier: Option<f64>,
) -> Result<usize> {
    let (multiple_of, multiplier) = (multiple_of.unwrap_or(256), multiplier.unwrap_or(1.0));
    let in_range = multiplier > 0.0 && multiplier < 1e3;
    if !in_range || multiple_of == 0 || multiple_of > 1 << 20 || hidden_size > 1 << 30 {
        return Err(Error::config(
            table,
            format!(
                "no FFN width follows from width {hidden_size}, ffn_dim_multiplier {multiplier} \
                 and multiple_of {multiple_of}"
            ),
        ));
    }
    Ok(ffn_width(hidden_size, multiple_of, multiplier))
}
