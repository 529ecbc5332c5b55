//! The Byte Latent Transformer and its entropy model: configuration, parameters, patching, index
//! tables, and the functions that build their graphs.

mod batch;
mod caches;
pub mod config;
mod entropy_model;
mod flops;
mod gradients;
mod halves;
pub mod hash;
mod host_embedding;
pub mod init;
mod inputs;
mod lazy_rows;
mod loaded;
mod loaded_directory;
mod memory;
mod model;
mod model_patching;
pub mod parameters;
pub mod patching;
mod plan_slot;
mod positions;
mod programs;
mod shared;
mod stream_graphs;
pub mod tables;
mod weight_types;

pub use batch::{Batch, hash_config, table_options};
pub use caches::{CacheShape, Pass, Ring, cache_layout};
pub use entropy_model::entropy_logits;
pub use flops::{TextSize, forward_flops};
pub use gradients::loss_and_gradients;
pub use halves::{halve, halves_recording};
pub use host_embedding::{EmbeddedText, HostEmbedding, TableRows};
pub use inputs::{HASH_ROWS, HASH_SLOTS, blt_inputs, entropy_inputs};
pub use lazy_rows::{LAST_STEP, LazyTable, RECORD_COUNT, TableUpdates};
pub use loaded::{
    GRADIENTS, HALVES, LoadedModel, MOMENT1, MOMENT2, WEIGHTS, hash_powers, store_layout,
};
pub use loaded_directory::LoadedDirectory;
pub use memory::{Memory, PlanBytes};
pub use model::blt_logits;
pub use model_patching::{configured_patching, model_patching};
pub use plan_slot::PlanSlot;
pub use positions::Positions;
pub use programs::{
    ENTROPY_PREFIX, TRAIN_NATS, TRAIN_STATE, TRAIN_STATE_LENGTH, entropies_graph, evaluation_graph,
    forward_graph, lazy_training_graph, logits, training_graph,
};
pub use stream_graphs::{seed_entropies_graph, seed_graph, step_graph};
pub use weight_types::WeightTypes;

pub use crate::graph::Precision;
