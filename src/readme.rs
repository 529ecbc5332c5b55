//! The examples of the written documentation, which rustdoc compiles.

#[doc = include_str!("../README.md")]
pub struct Readme;

#[doc = include_str!("../docs/generation.md")]
pub struct Generation;
