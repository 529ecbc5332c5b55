//! What logits are judged by.

pub mod cross_entropy;
pub mod cross_entropy_grad;
pub mod entropy;
mod softmax;
