//! What generation step by step does beside the model itself.

pub mod cache_rows;
pub mod likeliest;
pub mod rope_cache;

pub use cache_rows::{CacheRowsShape, cache_rows};
pub use likeliest::likeliest;
pub use rope_cache::rope_cache;
