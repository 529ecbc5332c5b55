//! WGSL text: includes, variants and the header each target wants.

mod assemble;

pub use assemble::{Extensions, FRAGMENTS, Parts, Target, assemble};
