//! Files of `torch.save`: a zip whose entries are stored as they are, one of them a pickle that
//! says which part of which entry is which tensor.
//!
//! A pickle is a program. What is run here knows dictionaries, lists, tuples, numbers, texts and
//! tensors; everything else that a pickle may ask for is refused by name, and nothing it names is
//! ever looked up or called.

mod pickle;
mod state_dict;
#[cfg(test)]
mod tests;
mod writer;
mod zip;
mod zip_writer;

pub(super) use state_dict::{StoredTensor, state_dict};
pub use writer::TorchWriter;
