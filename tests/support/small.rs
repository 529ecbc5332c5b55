//! A small BLT, and a batch of text for it.

use blt_wgpu::blt::Batch;
use blt_wgpu::blt::config::{
    BltConfig, CrossAttentionConfig, HashEmbeddingConfig, ModelConfig, PatchingConfig, Pooling,
    Semantics, TransformerConfig,
};
use blt_wgpu::blt::patching::{Patching, PatchingMode};
use blt_wgpu::blt::tables::Row;

/// The size of model that a laptop trains in a minute: 64 wide at the bytes, 128 at the patches.
pub fn small_blt() -> ModelConfig {
    let stack = |hidden_size: usize, layer_count, window| TransformerConfig {
        hidden_size,
        layer_count,
        head_count: hidden_size / 32,
        kv_head_count: hidden_size / 32,
        head_dim: 32,
        intermediate_size: hidden_size * 3,
        rms_norm_eps: 1e-5,
        rope_theta: 500_000.0,
        max_positions: 4096,
        window,
    };
    let cross = |all_layers| CrossAttentionConfig {
        head_count: 2,
        kv_head_count: 2,
        head_dim: 32,
        all_layers,
        window: None,
    };
    ModelConfig::Blt(BltConfig {
        semantics: Semantics::Transformers,
        encoder: stack(64, 1, Some(128)),
        encoder_cross_attention: Some(cross(false)),
        global: stack(128, 2, None),
        decoder: stack(64, 2, Some(128)),
        decoder_cross_attention: Some(cross(true)),
        cross_attention_k: 2,
        pooling: vec![Pooling::Max],
        hash: HashEmbeddingConfig {
            group_sizes: vec![3, 4, 5, 6],
            function_count: 1,
            rows_per_table: 1024,
        },
        patching: PatchingConfig::default(),
        patcher: None,
    })
}

/// Two rows of text in patches of words.
pub fn small_batch() -> Batch {
    let row = |text: &str| {
        let tokens = blt_wgpu::text::encode(text.as_bytes(), true, true);
        let ids = &tokens[..tokens.len() - 1];
        let lengths = Patching::new(PatchingMode::Space).patch_lengths(ids, &[]).unwrap();
        Row::from_tokens(tokens, lengths)
    };
    let line = "It is a truth universally acknowledged, that a byte in want of a patch ";
    let rows = [row(&line.repeat(2)), row("must be in possession of a good entropy. ")];
    Batch::new(&small_blt(), &rows).unwrap()
}
