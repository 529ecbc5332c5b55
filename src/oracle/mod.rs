//! What is true: one plain loop per kernel, under the kernel's name.
//!
//! Every kernel of this crate, on whatever engine, is believed only as far as it agrees with its
//! oracle here, and every gradient here is believed only as far as it agrees with finite
//! differences in `f64`. Nothing is fast, nothing is parallel, and sums run in index order.
//!
//! Matrices are row-major slices `[rows, cols]`. Results are written into `&mut` slices, which may
//! be longer than the shape needs (plans are compiled for capacities); what lies beyond the shape
//! is left alone. A function that takes `accumulate` adds to what the output holds instead of
//! overwriting it. Functions are generic over [`Real`]: `f64` for finite differences, `f32` to
//! stand beside an engine. Shapes and ranges are preconditions between our own parts: a violated
//! one panics.

// Loops over indices are the point here: each reads like the formula it states.
#![allow(clippy::needless_range_loop)]

pub mod attention;
pub mod bench;
pub mod decode;
pub mod dense;
pub mod embedding;
#[cfg(test)]
pub(crate) mod finite_difference;
pub mod lazy;
pub mod loss;
pub mod norm;
pub mod optim;
pub mod patch;
pub mod real;
pub mod reduce;

pub use real::Real;
