//! Patches: where they begin, prefix sums over them, pooling of their bytes.

pub(super) mod disjoint_rows;
pub mod patch_boundary;
pub mod patch_pool;
pub mod patch_pool_grad;
pub mod prefix_sum;
