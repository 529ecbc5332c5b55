//! Generation of text, byte by byte.

pub mod sampling;
