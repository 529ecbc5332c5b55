//! The page and its package: `build.rs` makes `web/pkg` and `web/dist`, `serve.rs` shows them,
//! `test.rs` tries them in a browser.

mod build;
mod serve;
mod test;

pub use build::build;
pub use serve::serve;
pub use test::test;
