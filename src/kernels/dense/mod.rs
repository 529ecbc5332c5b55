//! Matrix products and what is done to every element.

pub mod add;
pub mod copy;
pub mod elementwise;
mod epilogue;
pub mod fill;
pub mod gemm;
pub mod matmul;
pub(in crate::kernels) mod ordered;
mod product;
pub mod swiglu;
pub mod swiglu_grad;
