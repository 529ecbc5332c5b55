//! Pages in a headless Chromium, without npm: `server.rs` serves them on localhost and takes their
//! reports, `chromium.rs` starts the browser, `visit.rs` waits for a page's last word, and
//! `compile.rs` has a page compile WGSL.

mod chromium;
mod compile;
mod server;
mod visit;

pub use chromium::{find, version};
pub use compile::compile_directory;
pub use server::{Server, Site};
pub use visit::visit;
