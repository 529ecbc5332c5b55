//! Lookups in tables and their gradients.

pub mod byte_embedding;
pub mod gather_rows;
pub mod hash_embedding;
pub mod hash_ids;
pub mod scatter_add;
