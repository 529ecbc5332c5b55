//! Kernels that measure what a device can do at best: memory, multiply-adds, the matrix unit.
//!
//! They are kernels like all others, so that what is timed has been checked.

mod chains;
pub mod fma_f16;
pub mod fma_f32;
pub mod matrix_f16;
mod stream;
pub mod stream_copy;
pub mod stream_read;
pub mod stream_write;

pub use stream::MOST_STREAM_GROUPS;
