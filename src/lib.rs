//! The Byte Latent Transformer on every GPU: training and inference with handwritten WGSL, run by
//! wgpu on Vulkan, Metal, DX12 and browser WebGPU, and by a CPU engine where there is no GPU.

pub mod bench;
pub mod blt;
pub mod checkpoint;
pub mod cpu;
pub mod demo;
pub mod device;
pub mod engine;
pub mod error;
pub mod eval;
pub mod generate;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod graph;
pub mod kernels;
pub mod nn;
pub mod oracle;
pub mod packed;
pub mod platform;
pub mod random;
#[cfg(all(doctest, feature = "gpu"))]
mod readme;
pub mod report;
pub mod shader;
pub mod text;
pub mod train;

pub use error::{Error, Result};
