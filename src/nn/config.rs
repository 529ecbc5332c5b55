//! The sizes of layers: a stack of blocks, and a cross-attention.

/// A stack of Llama-style blocks, spec §5.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Blocks in the stack.
    pub layer_count: usize,
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; divides `head_count`.
    pub kv_head_count: usize,
    /// Width of one head, even.
    pub head_dim: usize,
    /// Width inside the FFN.
    pub intermediate_size: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// The longest row: bytes, or patches in the latent transformer.
    pub max_positions: usize,
    /// Keys a query sees, itself included; `None` is all of them.
    pub window: Option<usize>,
}

impl TransformerConfig {
    /// Width of all query heads together: rows of `q_proj`, columns of `o_proj`.
    pub fn query_size(&self) -> usize {
        self.head_count.saturating_mul(self.head_dim)
    }

    /// Width of all key heads together: rows of `k_proj` and of `v_proj`.
    pub fn kv_size(&self) -> usize {
        self.kv_head_count.saturating_mul(self.head_dim)
    }
}

/// The cross-attention of the local encoder or decoder, spec §6.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossAttentionConfig {
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; divides `head_count`.
    pub kv_head_count: usize,
    /// Width of one head: the local hidden size divided by `head_count`, rounded down.
    pub head_dim: usize,
    /// A cross-attention at every layer; otherwise after the last (encoder) or before the first
    /// (decoder).
    pub all_layers: bool,
    /// `Some(w)`: a patch and the `w - 1` before it, instead of exactly one patch.
    pub window: Option<usize>,
}

impl CrossAttentionConfig {
    /// Width of all query heads together.
    pub fn query_size(&self) -> usize {
        self.head_count.saturating_mul(self.head_dim)
    }

    /// Width of all key heads together.
    pub fn kv_size(&self) -> usize {
        self.kv_head_count.saturating_mul(self.head_dim)
    }

    /// Cross-attention modules in a stack of `layer_count` blocks.
    pub fn module_count(&self, layer_count: usize) -> usize {
        if self.all_layers { layer_count } else { 1 }
    }
}
