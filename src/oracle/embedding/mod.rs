//! Lookups in tables and their gradients.

pub mod byte_embedding;
pub mod gather_rows;
pub mod hash_embedding;
pub mod hash_ids;
pub mod scatter_add;

pub use byte_embedding::byte_embedding;
pub use gather_rows::gather_rows;
pub use hash_embedding::{HashEmbeddingShape, hash_embedding};
pub use hash_ids::{PRIMES, hash_ids};
pub use scatter_add::scatter_add;
