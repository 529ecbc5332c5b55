//! What logits are judged by.

pub mod cross_entropy;
pub mod entropy;

pub use cross_entropy::{cross_entropy, cross_entropy_grad};
pub use entropy::entropy;
