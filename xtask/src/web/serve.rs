//! `cargo xtask web --serve`: the site on localhost, until somebody stops it.

use std::path::PathBuf;

use anyhow::Result;

use crate::browser::{Server, Site};

/// Serves a directory, and does not come back.
///
/// # Errors
/// No port can be had.
pub fn serve(directory: PathBuf) -> Result<()> {
    let server = Server::start(Site::of_directory(directory)?)?;
    println!("{}", server.url("index.html"));
    loop {
        std::thread::park();
    }
}
