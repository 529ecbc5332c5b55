//! What a Byte Latent Transformer is made of, in numbers.
//!
//! [`BltConfig`] and [`EntropyConfig`] hold everything that decides the shape and the meaning of a
//! model. They come from and go to the `config.json` of a Hugging Face BLT directory
//! ([`ModelConfig::from_json`], [`ModelConfig::to_json`]) and can be made from the reference
//! implementation's own key names, as written in a TOML table `[model]` or `[entropy_model]`
//! ([`ReferenceModelKeys`], [`ReferenceEntropyKeys`]).
//!
//! Whatever route a configuration took, it has passed [`BltConfig::validate`]: no size is zero, no
//! head count fails to divide, and nothing the model cannot do is left in it.

mod defaults;
mod difference;
mod initialisation;
mod json_read;
mod json_section;
mod json_stack;
mod json_unread;
mod json_write;
mod key_names;
mod model;
mod patching;
mod reference_entropy;
mod reference_keys;
mod reference_model;
mod release_read;
#[cfg(test)]
mod release_test;
mod release_write;
#[cfg(test)]
pub(crate) mod tests;
mod validate;
mod weights;

pub use defaults::{
    DEFAULT_PATCHING_THRESHOLD, IMPLIED_GROUP_SIZES, LOCAL_THETA, MAX_HASH_FUNCTION_COUNT,
    MAX_HASH_GROUP_SIZE, MAX_HEAD_DIM, MAX_LAYER_COUNT, MAX_POSITIONS, MAX_ROTARY_NUMBERS,
    MAX_ROWS_PER_TABLE, MAX_WIDTH, MIN_HASH_GROUP_SIZE, PATCHER_THETA, VOCABULARY_SIZE,
};
pub use initialisation::{InitOptions, InitStdFactor};
pub use json_read::Parsed;
pub use json_write::generation_json;
pub use key_names::{nearest_key, unknown_key};
pub use model::{
    BltConfig, CrossAttentionConfig, EntropyConfig, HashEmbeddingConfig, ModelConfig, Pooling,
    Semantics, TransformerConfig, ffn_width,
};
pub use patching::{PatchingConfig, PatchingMode};
pub use reference_entropy::ReferenceEntropyKeys;
pub use reference_keys::{GroupSizes, KEYS_WITHOUT_EFFECT, ReferenceModelKeys};
pub use release_read::ReleaseTexts;
pub use release_write::{RELEASE_WINDOW, ReleaseFiles};
pub use weights::{WEIGHT_BLOCK_SIZE, WeightType};
