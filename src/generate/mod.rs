//! Generation of text, byte by byte.

mod generator;
pub mod sampling;
#[cfg(test)]
mod sampling_test;

pub use generator::Generator;
