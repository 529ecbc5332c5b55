//! What the kernels that measure a device compute.

mod fma_f16;
mod fma_f32;
mod matrix_f16;
mod stream_copy;
mod stream_read;
mod stream_write;

pub use fma_f16::fma_f16;
pub use fma_f32::fma_f32;
pub use matrix_f16::matrix_f16;
pub use stream_copy::stream_copy;
pub use stream_read::stream_read;
pub use stream_write::stream_write;
