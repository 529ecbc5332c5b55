//! What the tests need from a machine beyond Rust, and how it gets there.
//!
//! `needs.rs` is the list; `debian.rs` installs with apt; `wasm_std.rs` finds or makes a standard
//! library for wasm32.

mod debian;
mod needs;
pub mod wasm_std;

pub use needs::{missing_for_mpi, prepare};
