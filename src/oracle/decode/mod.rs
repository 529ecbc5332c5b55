//! What generation step by step does beside the model itself.

pub mod cache_rows;

pub use cache_rows::{CacheRowsShape, cache_rows};
