//! `blt-web-bind WASM DIRECTORY NAME`: what the program `wasm-bindgen` does, as a library, so that
//! nobody has to install it in the right version.
//!
//! Writes `NAME.js`, an ES module for browsers and Workers, and `NAME_bg.wasm` beside it.

use anyhow::{Context as _, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wasm, directory, name] = &arguments[..] else {
        bail!("usage: blt-web-bind WASM DIRECTORY NAME");
    };
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name(name)
        .typescript(false)
        .remove_producers_section(true)
        .remove_name_section(true);
    bindgen.web(true).context("no glue for the web")?;
    bindgen.generate(directory).with_context(|| format!("cannot bind {wasm}"))
}
