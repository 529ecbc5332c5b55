//! Model directories and checkpoints on disk.
//!
//! A model is a Hugging Face BLT directory: `config.json`, `generation_config.json` and
//! `model.safetensors` (or shards with `model.safetensors.index.json`), or a directory in the
//! layout of the original release. [`ModelDirectory`] reads one through memory maps and checks
//! every tensor against the configuration; [`ModelWriter`] streams one out, [`Conversion`] does
//! both. [`Checkpoints`] keeps `step-..` directories of a training run, which hold a model and,
//! beside it, what belongs to training.
//!
//! Everything is written beside its place, synced and renamed into it, so a crash or a full disk
//! leaves what was there. Parsing works on bytes and needs no files: a browser hands them in.

mod atomic;
mod atomic_directory;
mod blocks;
mod checkpoints;
mod conversion;
mod directory_lock;
mod elements;
mod file_bytes;
mod in_memory;
mod load;
mod mapped_table;
mod model_card;
mod model_directory;
mod model_writer;
mod packed;
mod patching_threshold;
mod place_lock;
mod release;
mod source;
mod tensor_file;
mod tensor_set;
mod tensor_writer;
#[cfg(test)]
mod tests;
mod torch;
mod underway;
mod write_plan;

pub use atomic::{AtomicFile, atomic_write, sync_directory};
pub use atomic_directory::{AtomicDirectory, refuse_full};
pub use blocks::{BlockFormat, BlockMatrix};
pub use checkpoints::{Checkpoint, CheckpointDraft, Checkpoints};
pub use conversion::Conversion;
pub use directory_lock::DirectoryLock;
pub use elements::ElementType;
pub use file_bytes::FileBytes;
pub use in_memory::directory_files;
pub use load::{
    LoadOptions, LoadedTypes, PIECE_ELEMENTS, load_entropy_model, save_directory, write_weights,
};
pub use model_card::{CardFacts, model_card};
pub use model_directory::ModelDirectory;
pub use model_writer::ModelWriter;
pub use patching_threshold::write_patching_threshold;
pub use tensor_file::{TensorEntry, TensorFile};
pub use tensor_set::TensorSet;
pub use tensor_writer::{NewEntry, TensorWriter};
pub use torch::TorchWriter;
pub use underway::Underway;
pub use write_plan::{DirectoryLayout, WriteOptions};
