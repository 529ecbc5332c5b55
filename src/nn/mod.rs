//! Layers: functions that add ops to a graph. They know names of parameters and nothing of devices.

mod block;
mod config;
mod cross_attention;

pub use block::{KvCache, SelfAttentionInputs, block, cache_name, rope_table, rope_table_name};
pub use config::{CrossAttentionConfig, TransformerConfig};
pub use cross_attention::{CrossAttention, attend_across, cross_attention, cross_keys_values};
