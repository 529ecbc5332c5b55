//! Matrix products and what is done to every element.

pub mod gemm;
pub mod matmul;
