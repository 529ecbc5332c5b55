//! Matrix products and what is done to every element.

pub mod add;
pub mod copy;
mod deep;
pub mod elementwise;
pub mod fill;
pub mod gemm;
mod lanes_fours;
pub mod matmul;
pub mod matmul_rope;
pub mod matmul_swiglu;
pub mod matmul_swiglu_grad;
pub(crate) mod matrix;
pub mod matvec;
mod matvec_cpu;
pub mod matvec_rope;
pub(in crate::kernels) mod ordered;
mod product;
pub mod swiglu;
pub mod swiglu_grad;
pub mod unpack;
