//! What the CPU variant of [`matmul`](super::matmul) does with a product before it leaves the
//! cache.

use super::swiglu_grad::differentiate_row;

/// How a product [m, n] is finished.
#[derive(Clone, Copy)]
pub(super) enum Epilogue<'a> {
    /// `out = a b (+ out) (+ scale * residual)`.
    Add { accumulate: bool, residual: Option<(&'a [f32], f32)> },
    /// The product is the gradient of `silu(gate) up`: out [m, 2 n] becomes that of gate_up.
    SwigluGrad { gate_up: &'a [f32] },
}

impl Epilogue<'_> {
    /// Columns of out where the product has `n`.
    pub fn cols(&self, n: usize) -> usize {
        match self {
            Self::Add { .. } => n,
            Self::SwigluGrad { .. } => 2 * n,
        }
    }

    /// Puts into elements of out, from element `at` on, what the product is added to; returns
    /// whether there is anything.
    pub fn prepare(&self, at: usize, out: &mut [f32]) -> bool {
        match self {
            Self::Add { accumulate, residual: None } => *accumulate,
            Self::Add { accumulate, residual: Some((values, scale)) } => {
                for (out, value) in out.iter_mut().zip(&values[at..]) {
                    *out = if *accumulate { *out } else { 0.0 } + scale * value;
                }
                true
            }
            Self::SwigluGrad { .. } => false,
        }
    }

    /// Finishes rows of out, from element `at` on, whose first `n` columns hold the product.
    pub fn finish(&self, at: usize, out: &mut [f32], n: usize) {
        match self {
            Self::Add { .. } => {}
            Self::SwigluGrad { gate_up } => {
                for (out, gate_up) in out.chunks_mut(2 * n).zip(gate_up[at..].chunks(2 * n)) {
                    differentiate_row(out, gate_up);
                }
            }
        }
    }
}
