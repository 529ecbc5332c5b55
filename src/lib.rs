//! The Byte Latent Transformer on every GPU.
pub mod cpu;
pub mod engine;
pub mod error;
pub mod graph;
pub mod kernels;
pub mod oracle;
pub mod shader;
// gpu follows
