//! What generation step by step does beside the model itself.

pub mod cache_rows;
pub mod choose;
pub mod next_step;
pub mod rope_cache;

pub use cache_rows::{CacheRowsShape, cache_rows};
pub use choose::choose;
pub use rope_cache::rope_cache;
