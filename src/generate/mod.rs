//! Generation of text, byte by byte.

mod generator;
pub mod sampling;

pub use generator::Generator;
