//! Writing the JSON files of the original layout.
//!
//! The reference's keys say less than a configuration here: one rule gives the width of every FFN,
//! encoder and decoder share heads of keys and bases of angles. So what was written is read again,
//! and a model that does not come back as it was is refused.

use serde_json::{Map, Value, json};

use super::defaults::VOCABULARY_SIZE;
use super::model::{
    BltConfig, CrossAttentionConfig, EntropyConfig, ModelConfig, Semantics, TransformerConfig,
    ffn_width,
};
use super::patching::PatchingMode;
use super::reference_keys::{GroupSizes, ReferenceModelKeys};
use super::release_read::ReleaseTexts;
use crate::error::{Error, Result};

/// The window in which the reference reads an entropy model, whatever its file says (spec §13).
pub const RELEASE_WINDOW: usize = 512;

/// The largest `multiple_of` that is tried.
const MAX_MULTIPLE: usize = 4096;

/// The texts to write.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleaseFiles {
    /// `config.json` of a BLT.
    pub config: Option<String>,
    /// `params.json` of a lone entropy model, or `entropy_model/params.json` beside a BLT.
    pub entropy_params: Option<String>,
    /// Sentences for the person who runs the program.
    pub warnings: Vec<String>,
}

impl ModelConfig {
    /// The model in the words of the reference.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the reference has no words for it.
    pub fn to_release(&self) -> Result<ReleaseFiles> {
        let mut files = ReleaseFiles { config: None, entropy_params: None, warnings: Vec::new() };
        let entropy = match self {
            Self::Blt(config) => {
                files.config = Some(pretty(&blt_value(config)?));
                config.patcher.as_ref()
            }
            Self::Entropy(config) => Some(config),
        };
        if let Some(config) = entropy {
            files.entropy_params = Some(pretty(&entropy_value(config, self)?));
            if config.transformer.window != Some(RELEASE_WINDOW) {
                files.warnings.push(format!(
                    "the reference reads every entropy model with a window of {RELEASE_WINDOW}"
                ));
            }
        }
        let (config, entropy) = (files.config.as_deref(), files.entropy_params.as_deref());
        let read = match self {
            Self::Blt(_) => ReleaseTexts { config, params: None, entropy_params: entropy }.blt(),
            Self::Entropy(_) => {
                ReleaseTexts { params: entropy, ..ReleaseTexts::default() }.entropy()
            }
        };
        let read = read?.config;
        if read != *self {
            let problem = format!("the original layout has no words for {}", unlike(self, &read));
            return Err(Error::config("config.json", problem)
                .with_hint("write the model with `--to hf`, which has words for everything"));
        }
        Ok(files)
    }
}

/// The part of a model that does not come back.
fn unlike(model: &ModelConfig, read: &ModelConfig) -> &'static str {
    let (ModelConfig::Blt(model), ModelConfig::Blt(read)) = (model, read) else {
        return "this entropy model";
    };
    let parts = [
        ("its local encoder", model.encoder == read.encoder),
        ("its latent transformer", model.global == read.global),
        ("its local decoder", model.decoder == read.decoder),
        ("the encoder's cross-attention", {
            model.encoder_cross_attention == read.encoder_cross_attention
        }),
        ("the decoder's cross-attention", {
            model.decoder_cross_attention == read.decoder_cross_attention
        }),
        ("its hash tables", model.hash == read.hash),
        ("its patching", model.patching == read.patching),
        ("its entropy model", model.patcher == read.patcher),
    ];
    let found = parts.into_iter().find(|(_, is_equal)| !is_equal);
    found.map_or("this model", |(name, _)| name)
}

fn blt_value(config: &BltConfig) -> Result<Value> {
    let (encoder, global, decoder) = (&config.encoder, &config.global, &config.decoder);
    let reference = BltConfig { semantics: Semantics::Reference, ..config.clone() };
    if reference.decoder_has_projection() != config.decoder_has_projection() {
        let problem = "the decoder has a patch_embedding_projection between equal widths, which \
                       the reference leaves out";
        return Err(Error::config("config.json", problem));
    }
    let multiple_of = multiple_of(&[encoder, global, decoder])?;
    let cross = config.encoder_cross_attention.as_ref().or(config.decoder_cross_attention.as_ref());
    type Cross = Option<CrossAttentionConfig>;
    let window = |cross: &Cross| cross.as_ref().and_then(|cross| cross.window);
    let all_layers = |cross: &Cross| cross.as_ref().is_some_and(|cross| cross.all_layers);
    let pooling: Vec<_> = config.pooling.iter().map(|pooling| pooling.name()).collect();
    let (mode, monotonic) = match config.patching.mode {
        PatchingMode::Monotonic => (PatchingMode::Entropy, true),
        PatchingMode::Combined => (PatchingMode::Entropy, false),
        mode => (mode, false),
    };
    let keys = ReferenceModelKeys {
        vocab_size: Some(VOCABULARY_SIZE),
        dim: Some(global.hidden_size),
        n_layers: Some(global.layer_count),
        n_heads: Some(global.head_count),
        n_kv_heads: Some(encoder.kv_head_count),
        n_kv_heads_global: Some(global.kv_head_count),
        dim_global: Some(global.hidden_size),
        dim_local_encoder: Some(encoder.hidden_size),
        dim_local_decoder: Some(decoder.hidden_size),
        n_layers_global: Some(global.layer_count),
        n_layers_local_encoder: Some(encoder.layer_count),
        n_layers_local_decoder: Some(decoder.layer_count),
        n_heads_global: Some(global.head_count),
        n_heads_local_encoder: Some(encoder.head_count),
        n_heads_local_decoder: Some(decoder.head_count),
        patch_size: Some(config.patching.patch_size as f64),
        patching_mode: Some(mode.name().into()),
        patching_threshold: Some(config.patching.threshold),
        patching_threshold_add: config.patching.threshold_add,
        monotonicity: Some(monotonic),
        max_patch_length: config.patching.max_patch_length,
        max_encoder_seq_length: Some(encoder.max_positions),
        max_seqlen: Some(global.max_positions),
        cross_attn_encoder: Some(config.encoder_cross_attention.is_some()),
        cross_attn_decoder: Some(config.decoder_cross_attention.is_some()),
        cross_attn_k: Some(config.cross_attention_k),
        cross_attn_nheads: cross.map(|cross| cross.head_count),
        cross_attn_window_encoder: window(&config.encoder_cross_attention),
        cross_attn_window_decoder: window(&config.decoder_cross_attention),
        cross_attn_all_layers_encoder: Some(all_layers(&config.encoder_cross_attention)),
        cross_attn_all_layers_decoder: Some(all_layers(&config.decoder_cross_attention)),
        cross_attn_init_by_pooling: Some(config.encoder_cross_attention.is_some()),
        downsampling_by_pooling: Some(pooling.join("_")),
        use_local_encoder_transformer: Some(true),
        encoder_hash_byte_group_size: Some(GroupSizes::List(config.hash.group_sizes.clone())),
        encoder_hash_byte_group_vocab: Some(config.hash.rows_per_table),
        encoder_hash_byte_group_nb_functions: Some(config.hash.function_count),
        local_attention_window_len: encoder.window,
        attn_impl: Some("xformers".into()),
        attn_bias_type: Some("block_causal".into()),
        rope_theta: Some(global.rope_theta),
        norm_eps: Some(global.rms_norm_eps),
        multiple_of: Some(multiple_of),
        ffn_dim_multiplier: Some(1.0),
        eos_id: Some(2),
        pm_size: Some(0),
        dropout: Some(0.0),
        ..ReferenceModelKeys::default()
    };
    let args = serde_json::to_value(keys).expect("numbers and texts can be written");
    let mut top = Map::from_iter([("args".to_owned(), args)]);
    put_semantics(&mut top, config.semantics);
    Ok(Value::Object(top))
}

fn entropy_value(config: &EntropyConfig, model: &ModelConfig) -> Result<Value> {
    let stack = &config.transformer;
    let table = json!({
        "vocab_size": VOCABULARY_SIZE,
        "dim": stack.hidden_size,
        "n_layers": stack.layer_count,
        "n_heads": stack.head_count,
        "n_kv_heads": stack.kv_head_count,
        "head_dim": stack.head_dim,
        "max_seqlen": stack.max_positions,
        "sliding_window": stack.window,
        "multiple_of": multiple_of(&[stack])?,
        "ffn_dim_multiplier": 1.0,
        "norm_eps": stack.rms_norm_eps,
        "rope_theta": stack.rope_theta,
        "attn_impl": "xformers",
        "attn_bias_type": "local_block_causal",
    });
    let mut top = Map::from_iter([("entropy_model".to_owned(), table)]);
    match model {
        ModelConfig::Blt(blt) => {
            let patcher_args = json!({ "threshold": blt.patching.threshold });
            top.insert("data".into(), json!({ "patcher_args": patcher_args }));
        }
        ModelConfig::Entropy(_) => put_semantics(&mut top, config.semantics),
    }
    Ok(Value::Object(top))
}

/// The reference's code does what this key calls `reference`, and passes over the key.
fn put_semantics(top: &mut Map<String, Value>, semantics: Semantics) {
    if semantics != Semantics::default() {
        top.insert("blt_semantics".into(), semantics.name().into());
    }
}

/// The `multiple_of` from which the FFN widths of all these stacks follow (spec §5.5).
fn multiple_of(stacks: &[&TransformerConfig]) -> Result<usize> {
    let follows = |multiple_of: &usize| {
        let of = |stack: &&TransformerConfig| {
            ffn_width(stack.hidden_size, *multiple_of, 1.0) == stack.intermediate_size
        };
        stacks.iter().all(of)
    };
    // The released models have 256; of several the largest is the roundest.
    [256].into_iter().chain((1..=MAX_MULTIPLE).rev()).find(follows).ok_or_else(|| {
        let widths: Vec<_> = stacks
            .iter()
            .map(|it| format!("{} over {}", it.intermediate_size, it.hidden_size))
            .collect();
        let problem = format!("no multiple_of gives FFN widths of {}", widths.join(", "));
        Error::config("config.json", problem).with_hint("write the model with `--to hf`")
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
