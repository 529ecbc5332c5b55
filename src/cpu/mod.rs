//! The CPU engine: runs a Recording with the host variants of the kernels.
//!
//! The same code is the engine of `f32` (each kernel's own CPU variant, on all cores) and, in
//! tests, of `f64` (each kernel's oracle): gradients of a whole model can be checked against finite
//! differences in double precision.

mod engine;

pub use engine::{HostEngine, HostNumber, HostPlan, HostStore, NUMERICS};
