//! Writing a `config.json` that `transformers` 5.23 reads, with this project's extra keys.

use serde_json::{Map, Value, json};

use super::defaults::VOCABULARY_SIZE;
use super::difference::heads_agree;
use super::model::{
    BltConfig, CrossAttentionConfig, EntropyConfig, ModelConfig, Semantics, TransformerConfig,
};
use super::weights::{WeightType, difference};

impl ModelConfig {
    /// The text of `config.json`, beside weights in f32. What [`ModelConfig::from_json`] makes of
    /// it is equal to `self`.
    pub fn to_json(&self) -> String {
        self.to_json_beside(WeightType::F32)
    }

    /// The same beside weights of this type.
    pub fn to_json_beside(&self, weights: WeightType) -> String {
        let mut value = match self {
            Self::Blt(config) => blt_value(config, self.transformers_difference(weights)),
            Self::Entropy(config) => lone_entropy_value(config),
        };
        value["dtype"] = weights.torch_name().into();
        if let Some(quantization) = weights.quantization() {
            value["quantization_config"] = quantization;
        }
        pretty(&value)
    }

    /// Why `transformers` does not compute the same as this model with weights of a type.
    pub fn transformers_difference(&self, weights: WeightType) -> Option<String> {
        let Self::Blt(config) = self else { return None };
        config.transformers_difference().or_else(|| difference(weights))
    }

    /// The `model_type` this model has on disk beside weights of a type.
    pub fn model_type(&self, weights: WeightType) -> &'static str {
        match self {
            Self::Blt(_) if self.transformers_difference(weights).is_some() => "blt_wgpu",
            Self::Blt(_) => "blt",
            Self::Entropy(_) => "blt_patcher",
        }
    }
}

/// The text of `generation_config.json`: the special ids, and no cache, because the cache of
/// `transformers` 5.23 is broken for BLT (spec §22.6).
pub fn generation_json() -> String {
    pretty(&json!({
        "_from_model_config": true,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "use_cache": false,
    }))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// `difference`: why `transformers` must not open it.
fn blt_value(config: &BltConfig, difference: Option<String>) -> Value {
    let model_type = if difference.is_some() { "blt_wgpu" } else { "blt" };
    // `BltForCausalLM.from_pretrained` only warns of a foreign model_type and goes on. It checks
    // that this number, which nobody reads, is one, and shows what stands there instead.
    let batch_size: Value = match difference {
        Some(difference) => format!("blt_wgpu: {difference}").into(),
        None => 1.into(),
    };
    let mut top = object(json!({
        "architectures": ["BltForCausalLM"],
        "model_type": model_type,
        "vocab_size": VOCABULARY_SIZE,
        "max_position_embeddings": config.global.max_positions,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "tie_word_embeddings": false,
        "use_cache": false,
        "initializer_range": 0.02,
        "patch_in_forward": config.patcher.is_some(),
        "patch_size": config.patching.patch_size,
        "patching_mode": config.patching.mode.name(),
        "patching_threshold": config.patching.threshold,
        "patching_batch_size": batch_size,
        "max_patch_length": config.patching.max_patch_length,
        "local_attention_window_len": config.encoder.window,
        "cross_attn_k": config.cross_attention_k,
        "encoder_hash_byte_group_size": config.hash.group_sizes,
        "encoder_hash_byte_group_vocab": config.hash.rows_per_table,
        "encoder_hash_byte_group_nb_functions": config.hash.function_count,
        "encoder_config": local_value(config, "blt_local_encoder", &config.encoder,
            config.encoder_cross_attention.as_ref()),
        "global_config": global_value(config),
        "decoder_config": local_value(config, "blt_local_decoder", &config.decoder,
            config.decoder_cross_attention.as_ref()),
    }));
    if let Some(patcher) = &config.patcher {
        top.insert("patcher_config".into(), Value::Object(patcher_section(patcher)));
    }
    add_extra_keys(&mut top, config);
    Value::Object(top)
}

/// Keys that `transformers` does not have are written only where they say something.
fn add_extra_keys(top: &mut Map<String, Value>, config: &BltConfig) {
    let mut put = |key: &str, value: Value| top.insert(key.into(), value);
    if config.semantics != Semantics::default() {
        put("blt_semantics", config.semantics.name().into());
    }
    if let Some(add) = config.patching.threshold_add {
        put("patching_threshold_add", add.into());
    }
    if config.encoder_cross_attention.is_none() {
        put("cross_attn_encoder", false.into());
    }
    if config.decoder_cross_attention.is_none() {
        put("cross_attn_decoder", false.into());
    }
    let names: Vec<&str> = config.pooling.iter().map(|pooling| pooling.name()).collect();
    if names != ["max"] {
        let joined = (!names.is_empty()).then(|| names.join("_"));
        put("downsampling_by_pooling", joined.into());
    }
    let window = |cross: &Option<CrossAttentionConfig>| cross.as_ref().and_then(|it| it.window);
    if let Some(window) = window(&config.encoder_cross_attention) {
        put("cross_attn_window_encoder", window.into());
    }
    if let Some(window) = window(&config.decoder_cross_attention) {
        put("cross_attn_window_decoder", window.into());
    }
}

fn local_value(
    config: &BltConfig,
    model_type: &str,
    own: &TransformerConfig,
    cross: Option<&CrossAttentionConfig>,
) -> Value {
    let mut section = stack_section(model_type, own);
    let mut put = |key: &str, value: Value| section.insert(key.into(), value);
    put("vocab_size", VOCABULARY_SIZE.into());
    put("hidden_size_global", config.global.hidden_size.into());
    put("cross_attn_k", config.cross_attention_k.into());
    put("cross_attn_all_layers", cross.is_some_and(|cross| cross.all_layers).into());
    put("sliding_window", own.window.into());
    if let Some(cross) = cross.filter(|cross| !heads_agree(own, cross)) {
        put("cross_attn_nheads", cross.head_count.into());
        put("cross_attn_n_kv_heads", cross.kv_head_count.into());
    }
    Value::Object(section)
}

fn global_value(config: &BltConfig) -> Value {
    let mut section = stack_section("blt_global_transformer", &config.global);
    let projected = config.global_has_projection().then(|| config.patch_vector_size());
    section.insert("encoder_cross_output_size".into(), projected.into());
    Value::Object(section)
}

fn patcher_section(config: &EntropyConfig) -> Map<String, Value> {
    let mut section = stack_section("blt_patcher", &config.transformer);
    section.insert("vocab_size".into(), VOCABULARY_SIZE.into());
    section.insert("sliding_window".into(), config.transformer.window.into());
    section
}

fn lone_entropy_value(config: &EntropyConfig) -> Value {
    let mut top = patcher_section(config);
    let mut put = |key: &str, value: Value| top.insert(key.into(), value);
    put("architectures", json!(["BltPatcher"]));
    put("bos_token_id", 1.into());
    put("eos_token_id", 2.into());
    put("pad_token_id", 3.into());
    if config.semantics != Semantics::default() {
        put("blt_semantics", config.semantics.name().into());
    }
    Value::Object(top)
}

fn stack_section(model_type: &str, stack: &TransformerConfig) -> Map<String, Value> {
    object(json!({
        "model_type": model_type,
        "hidden_size": stack.hidden_size,
        "num_hidden_layers": stack.layer_count,
        "num_attention_heads": stack.head_count,
        "num_key_value_heads": stack.kv_head_count,
        "head_dim": stack.head_dim,
        "intermediate_size": stack.intermediate_size,
        "rms_norm_eps": stack.rms_norm_eps,
        "rope_parameters": { "rope_theta": stack.rope_theta, "rope_type": "default" },
        "max_position_embeddings": stack.max_positions,
        "hidden_act": "silu",
        "dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": false,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("only called with an object literal"),
    }
}
