//! The page and its package: `build.rs` makes `web/pkg` and `web/dist`, `serve.rs` shows them.

mod build;
mod serve;

pub use build::build;
pub use serve::serve;
