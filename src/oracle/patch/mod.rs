//! Patches: where they begin, prefix sums over them, pooling of their bytes.

pub mod patch_boundary;
pub mod patch_pool;
pub mod prefix_sum;

pub use patch_boundary::{EntropyRule, limit_patch_length, patch_boundary, patch_boundary_space};
pub use patch_pool::{PoolKind, patch_pool, patch_pool_grad};
pub use prefix_sum::prefix_sum;
