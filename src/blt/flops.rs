//! Floating-point operations of a forward pass by part, from the configuration alone: two for every
//! multiply-add of matrix products and of attention, nothing for the rest (paper §4.5, spec §21).
//!
//! The paper's formulas are for a long text. Here a text has a length: keys that a window does not
//! reach, and those that are not there yet, are not counted, and FFN widths and shared heads are
//! those of the model. `train/flops.rs` counts what a plan does; in its tests the two agree.

use std::collections::BTreeMap;

use super::config::ModelConfig;
use super::parameters::{ParameterSpec, Part, model_parameters};

/// A text that a model reads at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextSize {
    pub bytes: usize,
    /// Patches that the bytes are in; an entropy model has none.
    pub patches: usize,
}

/// Operations of a forward pass over one text, by part of the model. The entropy model that a
/// directory carries is a part of its own: the paper leaves it out of its figures.
///
/// With a window in cross-attention every byte counts as lying in patches of average length.
pub fn forward_flops(config: &ModelConfig, text: TextSize) -> BTreeMap<Part, u64> {
    let parameters = model_parameters(config);
    let mut flops = BTreeMap::new();
    for parameter in parameters.iter().filter(|it| does_work(config, &parameters, it)) {
        let weights = parameter.element_count();
        let mut work = 2 * weights * row_count(config, parameter, text);
        if parameter.name.ends_with("q_proj.weight") {
            work += 4 * parameter.rows as u64 * pair_count(config, parameter, text);
        }
        *flops.entry(parameter.part).or_default() += work;
    }
    flops
}

/// Whether it is a matrix that something is multiplied with, and whose result is used.
fn does_work(config: &ModelConfig, all: &[ParameterSpec], parameter: &ParameterSpec) -> bool {
    let is_table = parameter.part == Part::Hash || parameter.name.contains("embed_tokens");
    if is_table || parameter.one_dimensional {
        return false;
    }
    let ModelConfig::Blt(config) = config else { return true };
    // Every layer begins with vectors pooled anew: the last one alone decides.
    let of_encoder = |it: &ParameterSpec| it.part == Part::Encoder && is_crossing(it);
    if !of_encoder(parameter) || !config.encoder_pools_at_every_layer() {
        return true;
    }
    let last = all.iter().filter(|it| of_encoder(it)).filter_map(layer_index).max();
    layer_index(parameter) == last
}

/// How many vectors of a text a matrix is multiplied with.
fn row_count(config: &ModelConfig, parameter: &ParameterSpec, text: TextSize) -> u64 {
    let (bytes, patches) = (text.bytes as u64, text.patches as u64);
    let ModelConfig::Blt(config) = config else { return bytes };
    if parameter.part == Part::Global || parameter.name.contains("patch_embedding_projection") {
        return patches;
    }
    // Queries of the encoder's cross-attention are patches, those of the decoder's bytes.
    let asks = ["q_proj", "o_proj"].iter().any(|it| parameter.name.contains(it));
    match is_crossing(parameter) && asks == (parameter.part == Part::Encoder) {
        true => config.cross_attention_k as u64 * patches,
        false => bytes,
    }
}

/// Queries of a text and the keys that they see, together.
fn pair_count(config: &ModelConfig, parameter: &ParameterSpec, text: TextSize) -> u64 {
    let TextSize { bytes, patches } = text;
    let config = match config {
        ModelConfig::Entropy(config) => return causal_pairs(bytes, config.transformer.window),
        ModelConfig::Blt(config) => config,
    };
    let crossing = match parameter.part {
        Part::Encoder => &config.encoder_cross_attention,
        _ => &config.decoder_cross_attention,
    };
    match (parameter.part, crossing) {
        (Part::Global, _) => causal_pairs(patches, config.global.window),
        (Part::Patcher, _) => {
            let window = config.patcher.as_ref().and_then(|it| it.transformer.window);
            causal_pairs(bytes, window)
        }
        (_, Some(crossing)) if is_crossing(parameter) => {
            let seen = crossing.window.map_or(patches as u64, |it| causal_pairs(patches, Some(it)));
            let byte_count = (bytes as u64 * seen).checked_div(patches as u64).unwrap_or(0);
            config.cross_attention_k as u64 * byte_count
        }
        (Part::Encoder, _) => causal_pairs(bytes, config.encoder.window),
        _ => causal_pairs(bytes, config.decoder.window),
    }
}

/// `length` queries, each of which sees itself and those before it, as far as a window reaches.
fn causal_pairs(length: usize, window: Option<usize>) -> u64 {
    let window = window.unwrap_or(length).min(length) as u64;
    window * (window + 1) / 2 + (length as u64 - window) * window
}

fn is_crossing(parameter: &ParameterSpec) -> bool {
    parameter.name.contains("cross_attn_layers")
}

/// The number in `layers.3.`.
fn layer_index(parameter: &ParameterSpec) -> Option<usize> {
    let (_, behind) = parameter.name.split_once("layers.")?;
    behind.split_once('.')?.0.parse().ok()
}
