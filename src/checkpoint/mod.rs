//! Model directories and checkpoints on disk.
//!
//! A model is a Hugging Face BLT directory: `config.json`, `generation_config.json` and
//! `model.safetensors` (or shards with `model.safetensors.index.json`). [`ModelDirectory`] reads
//! one through a memory map and checks every tensor against the configuration; [`ModelWriter`]
//! streams one out. [`Checkpoints`] keeps `step-..` directories of a training run, which hold a
//! model and, beside it, what belongs to training.
//!
//! Everything is written beside its place, synced and renamed into it, so a crash or a full disk
//! leaves what was there. Parsing works on bytes and needs no files: a browser hands them in.

mod atomic;
mod checkpoints;
mod file_bytes;
mod load;
mod model_directory;
mod model_writer;
mod tensor_file;
mod tensor_set;
mod tensor_writer;
#[cfg(test)]
mod tests;

pub use atomic::{AtomicFile, atomic_write, sync_directory};
pub use checkpoints::{Checkpoint, CheckpointDraft, Checkpoints};
pub use file_bytes::FileBytes;
pub use load::{load_entropy_model, save_directory};
pub use model_directory::ModelDirectory;
pub use model_writer::ModelWriter;
pub use tensor_file::{TensorEntry, TensorFile};
pub use tensor_set::TensorSet;
pub use tensor_writer::TensorWriter;
