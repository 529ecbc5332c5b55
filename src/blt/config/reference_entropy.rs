//! The `[entropy_model]` table: the reference implementation's key names turned into an
//! [`EntropyConfig`]. Absent keys describe the released entropy model (spec §13).

use serde::{Deserialize, Serialize};

use super::defaults::{PATCHER_THETA, VOCABULARY_SIZE};
use super::initialisation::{InitOptions, InitStdFactor};
use super::json_read::Parsed;
use super::key_names::unknown_key;
use super::model::{EntropyConfig, Semantics, TransformerConfig};
use super::reference_keys::keys;
use super::reference_model::{ffn_size, head_width};
use crate::error::{Error, Result};

keys! {
    /// What an `[entropy_model]` table may say; everything is optional.
    ReferenceEntropyKeys {
        /// Seed of the initialisation.
        seed: u64,
        /// `reference` or `transformers`; absent is `transformers`.
        blt_semantics: String,
        /// 260 or absent.
        vocab_size: usize,
        /// Width.
        dim: usize,
        /// Blocks.
        n_layers: usize,
        /// Heads.
        n_heads: usize,
        /// Key and value heads.
        n_kv_heads: usize,
        /// Head width; absent: width / heads.
        head_dim: usize,
        /// Position limit in bytes.
        max_seqlen: usize,
        /// Keys a byte sees, itself included.
        sliding_window: usize,
        /// FFN widths are rounded up to a multiple of this.
        multiple_of: usize,
        /// Scales FFN widths.
        ffn_dim_multiplier: f64,
        /// Added to mean squares.
        norm_eps: f64,
        /// Base of the rotary angles.
        rope_theta: f64,
        /// 0 or absent.
        dropout: f64,
        /// Standard deviation of the matrices.
        init_base_std: f64,
        /// Divisor of standard deviations.
        init_std_factor: InitStdFactor,
        /// False or absent: tying is broken in the reference.
        weight_tying: bool,
        /// Has no effect here.
        attn_impl: String,
        /// `local_block_causal` under reference semantics.
        attn_bias_type: String,
        /// 2 or absent.
        eos_id: usize,
    }
}

impl ReferenceEntropyKeys {
    /// Every key an `[entropy_model]` table may have.
    pub fn known_keys() -> &'static [&'static str] {
        Self::NAMES
    }

    /// Reads the table.
    ///
    /// # Errors
    ///
    /// An unknown key, with the nearest known one as the hint, or a value of the wrong type.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        if let Some(key) = table.keys().find(|key| !Self::NAMES.contains(&key.as_str())) {
            return Err(unknown_key("entropy_model", key, Self::NAMES));
        }
        table.try_into().map_err(|problem: toml::de::Error| {
            Error::config("entropy_model", problem.to_string().trim().replace('\n', " "))
        })
    }

    /// The options of the initialisation.
    pub fn init_options(&self) -> InitOptions {
        InitOptions {
            base_std: self.init_base_std,
            std_factor: self.init_std_factor.unwrap_or_default(),
        }
    }

    /// The configuration these keys describe.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a feature that does not exist here or sizes that cannot be.
    pub fn into_config(self) -> Result<Parsed<EntropyConfig>> {
        self.refuse()?;
        let mut warnings = Vec::new();
        let semantics = self.semantics(&mut warnings)?;
        let (hidden_size, head_count) = (self.dim.unwrap_or(768), self.n_heads.unwrap_or(12));
        let table = "entropy_model";
        let transformer = TransformerConfig {
            hidden_size,
            layer_count: self.n_layers.unwrap_or(14),
            head_count,
            kv_head_count: self.n_kv_heads.unwrap_or(head_count),
            head_dim: head_width(table, self.head_dim, hidden_size, head_count)?,
            intermediate_size: ffn_size(
                table,
                hidden_size,
                self.multiple_of,
                self.ffn_dim_multiplier,
            )?,
            rms_norm_eps: self.norm_eps.unwrap_or(1e-5),
            rope_theta: self.rope_theta.unwrap_or(PATCHER_THETA),
            max_positions: self.max_seqlen.unwrap_or(8192),
            window: Some(self.sliding_window.unwrap_or(512)),
        };
        let config = EntropyConfig { transformer, semantics };
        config.validate()?;
        Ok(Parsed { config, warnings, blocks: None })
    }

    fn refuse(&self) -> Result<()> {
        let refusals = [
            ("dropout", self.dropout.is_some_and(|it| it != 0.0), "only 0 is supported"),
            (
                "weight_tying",
                self.weight_tying == Some(true),
                "true is broken in the reference and not supported",
            ),
            (
                "vocab_size",
                self.vocab_size.is_some_and(|it| it != VOCABULARY_SIZE),
                "the vocabulary has 260 ids",
            ),
            ("eos_id", self.eos_id.is_some_and(|it| it != 2), "the end of a document is id 2"),
        ];
        match refusals.into_iter().find(|(_, refused, _)| *refused) {
            Some((key, _, problem)) => Err(Error::config(format!("entropy_model.{key}"), problem)),
            None => Ok(()),
        }
    }

    fn semantics(&self, warnings: &mut Vec<String>) -> Result<Semantics> {
        let name = self.blt_semantics.as_deref().unwrap_or(Semantics::default().name());
        let semantics = Semantics::from_name(name).ok_or_else(|| {
            let problem = format!("expected reference or transformers, got {name:?}");
            Error::config("entropy_model.blt_semantics", problem)
        })?;
        match self.attn_bias_type.as_deref() {
            None => {}
            Some("local_block_causal") if semantics == Semantics::Reference => {}
            Some("local_block_causal") => warnings.push(
                "attn_bias_type \"local_block_causal\" is only local unless blt_semantics is \
                 \"reference\": document ends do not block attention"
                    .into(),
            ),
            Some(other) => {
                return Err(Error::config(
                    "entropy_model.attn_bias_type",
                    format!("expected \"local_block_causal\", got {other:?}"),
                ));
            }
        }
        Ok(semantics)
    }
}
