//! WGSL text: includes, variants and the header each target wants.

mod assemble;
mod fingerprint;

pub use assemble::{Target, assemble};
pub use fingerprint::fingerprint;
