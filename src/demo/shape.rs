//! The shapes the demo chooses from, small to large.

use crate::blt::config::{
    BltConfig, CrossAttentionConfig, EntropyConfig, HashEmbeddingConfig, PatchingConfig, Pooling,
    Semantics, TransformerConfig, ffn_width,
};
use serde::{Deserialize, Serialize};

/// What decides both models of a demo, and how they are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub name: String,
    /// Width of the entropy model and of the local encoder and decoder.
    pub local_size: usize,
    pub entropy_layer_count: usize,
    pub decoder_layer_count: usize,
    pub latent_size: usize,
    pub latent_layer_count: usize,
    /// Keys that a byte sees, itself included.
    pub window: usize,
    pub hash_group_sizes: Vec<usize>,
    pub hash_rows_per_table: usize,
    /// Bytes of a row of the entropy model.
    pub entropy_row_bytes: usize,
    /// Patches of a row of the BLT.
    pub row_patch_count: usize,
    /// Bytes that one optimiser step reads, about.
    pub batch_bytes: usize,
    /// Times that the text is read at most: beyond, the hash tables learn it by heart.
    pub max_epoch_count: u64,
    pub entropy_learning_rate: f32,
    pub blt_learning_rate: f32,
}

/// Width of an attention head, in every part.
const HEAD_DIM: usize = 32;
/// Local-width vectors of a patch.
const K: usize = 2;
/// Positions of a row that the rotary tables hold.
const MAX_POSITIONS: usize = 4096;

impl Shape {
    /// All shapes, small to large. Larger ones learn a megabyte of text by heart: 192 and 384 wide
    /// over 6 layers ended at 2.26 bits per byte at best, the medium one at 2.22.
    pub fn all() -> Vec<Self> {
        let shape = |name: &str, local, latent, latent_layers| Self {
            name: name.to_owned(),
            local_size: local,
            entropy_layer_count: 2,
            decoder_layer_count: 2,
            latent_size: latent,
            latent_layer_count: latent_layers,
            window: 128,
            hash_group_sizes: vec![3, 4],
            hash_rows_per_table: 4096,
            entropy_row_bytes: 256,
            row_patch_count: 192,
            batch_bytes: 2048,
            max_epoch_count: 4,
            entropy_learning_rate: 4e-3,
            blt_learning_rate: 3e-3,
        };
        vec![shape("small", 64, 128, 2), shape("medium", 128, 256, 4)]
    }

    /// The entropy model of this shape.
    pub fn entropy_config(&self) -> EntropyConfig {
        EntropyConfig {
            transformer: TransformerConfig {
                rope_theta: 10_000.0,
                ..self.local(self.entropy_layer_count)
            },
            semantics: Semantics::Transformers,
        }
    }

    /// The BLT of this shape, without threshold and patcher.
    pub fn blt_config(&self) -> BltConfig {
        let cross = |all_layers| {
            Some(CrossAttentionConfig {
                head_count: self.local_size / HEAD_DIM,
                kv_head_count: self.local_size / HEAD_DIM,
                head_dim: HEAD_DIM,
                all_layers,
                window: None,
            })
        };
        BltConfig {
            semantics: Semantics::Transformers,
            encoder: self.local(1),
            encoder_cross_attention: cross(false),
            global: TransformerConfig {
                window: None,
                ..transformer(self.latent_size, self.latent_layer_count)
            },
            decoder: self.local(self.decoder_layer_count),
            decoder_cross_attention: cross(true),
            cross_attention_k: K,
            pooling: vec![Pooling::Max],
            hash: HashEmbeddingConfig {
                group_sizes: self.hash_group_sizes.clone(),
                function_count: 1,
                rows_per_table: self.hash_rows_per_table,
            },
            patching: PatchingConfig::default(),
            patcher: None,
        }
    }

    fn local(&self, layer_count: usize) -> TransformerConfig {
        TransformerConfig { window: Some(self.window), ..transformer(self.local_size, layer_count) }
    }
}

fn transformer(hidden_size: usize, layer_count: usize) -> TransformerConfig {
    TransformerConfig {
        hidden_size,
        layer_count,
        head_count: hidden_size / HEAD_DIM,
        kv_head_count: hidden_size / HEAD_DIM,
        head_dim: HEAD_DIM,
        intermediate_size: ffn_width(hidden_size, 32, 1.0),
        rms_norm_eps: 1e-5,
        rope_theta: 500_000.0,
        max_positions: MAX_POSITIONS,
        window: None,
    }
}
