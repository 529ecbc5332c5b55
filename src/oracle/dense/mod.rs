//! Dense arithmetic: matrix products and elementwise functions.

pub mod add;
pub mod copy;
pub mod fill;
pub mod matmul;
pub mod matmul_rope;
pub mod matmul_swiglu;
pub mod matmul_swiglu_grad;
pub mod matvec;
pub mod matvec_rope;
pub mod swiglu;
pub mod unpack;

pub use add::add;
pub use copy::copy;
pub use fill::fill;
pub use matmul::{MatmulShape, matmul, matmul_split};
pub use matmul_rope::matmul_rope;
pub use matmul_swiglu::matmul_swiglu;
pub use matmul_swiglu_grad::matmul_swiglu_grad;
pub use matvec::{MatvecShape, matvec};
pub use matvec_rope::{Keeps, matvec_rope};
pub use swiglu::{swiglu, swiglu_grad};
pub use unpack::unpack;
