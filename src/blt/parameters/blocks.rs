//! The parameters of one block and of one cross-attention module.

use super::{InitStdFactor, List, Part, inverse_root};
use crate::blt::config::{CrossAttentionConfig, TransformerConfig};

/// How the matrices of a stack start out.
#[derive(Clone, Copy)]
pub(super) struct StackInit {
    /// Replaces the whole of `width^-1/2 / factor`.
    pub base_std: Option<f64>,
    /// The divisor.
    pub factor: InitStdFactor,
}

impl StackInit {
    /// Standard deviation of a matrix whose rule is `fan^-1/2 / factor(width)`.
    fn std(&self, fan: usize, width: usize, layer_index: usize, layer_count: usize) -> f64 {
        let divisor = self.factor.value(width, layer_index, layer_count);
        self.base_std.unwrap_or(inverse_root(fan) / divisor)
    }
}

/// A stack of blocks.
pub(super) struct Stack<'a> {
    pub prefix: &'a str,
    pub part: Part,
    pub config: &'a TransformerConfig,
    pub init: StackInit,
}

impl Stack<'_> {
    /// Norm, self-attention, norm, FFN.
    pub fn push_layer(&self, layer_index: usize, list: &mut List) {
        let Self { prefix, part, config, init } = self;
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let std = init.std(width, width, layer_index, config.layer_count);
        let layer = format!("{prefix}layers.{layer_index}.");
        list.vector(format!("{layer}input_layernorm"), width, *part);
        let qkv = [
            ("q_proj", config.query_size()),
            ("k_proj", config.kv_size()),
            ("v_proj", config.kv_size()),
        ];
        list.group(&format!("{layer}self_attn."), "qkv_proj", &qkv, width, std, *part);
        list.matrix(format!("{layer}self_attn.o_proj"), [width, config.query_size()], std, *part);
        list.vector(format!("{layer}post_attention_layernorm"), width, *part);
        let gate_up = [("gate_proj", inner), ("up_proj", inner)];
        list.group(&format!("{layer}mlp."), "gate_up_proj", &gate_up, width, std, *part);
        let down_std = init.std(inner, width, layer_index, config.layer_count);
        list.matrix(format!("{layer}mlp.down_proj"), [width, inner], down_std, *part);
    }
}

/// The cross-attention modules of the encoder or decoder.
pub(super) struct CrossAttention<'a> {
    pub prefix: &'a str,
    pub part: Part,
    pub width: usize,
    pub config: &'a CrossAttentionConfig,
    pub init: StackInit,
}

impl CrossAttention<'_> {
    /// Norms of queries and keys, q, k, v, o.
    pub fn push_layer(&self, layer_index: usize, layer_count: usize, list: &mut List) {
        let Self { prefix, part, width, config, init } = self;
        let std = init.std(*width, *width, layer_index, layer_count);
        let layer = format!("{prefix}cross_attn_layers.{layer_index}.");
        list.vector(format!("{layer}q_norm"), *width, *part);
        list.vector(format!("{layer}k_norm"), *width, *part);
        list.matrix(format!("{layer}q_proj"), [config.query_size(), *width], std, *part);
        let kv = [("k_proj", config.kv_size()), ("v_proj", config.kv_size())];
        list.group(&layer, "kv_proj", &kv, *width, std, *part);
        list.matrix(format!("{layer}o_proj"), [*width, config.query_size()], std, *part);
    }
}
