//! What generation step by step does beside the model itself.

pub mod cache_rows;
pub mod likeliest;
pub mod rope_cache;
