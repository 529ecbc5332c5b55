//! `cargo xtask web`: the WebAssembly, the JavaScript around it, and the static site.
//!
//!     web/pkg     the npm package: package/*, blt.js, blt_bg.wasm
//!     web/dist    the site: site/*, pkg/, model/, examples/

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cargo;
use crate::setup::wasm_std;

/// What the WebAssembly may take on its way to a visitor.
const MOST_GZIPPED_BYTES: u64 = 3_000_000;

/// The name of what wasm-bindgen makes: `blt.js` and `blt_bg.wasm`.
const GLUE: &str = "blt";

/// Builds package and site, and gives the directory of the site.
///
/// # Errors
/// The compiler, or files that cannot be written.
pub fn build() -> Result<PathBuf> {
    let web = cargo::root().join("web");
    let package = web.join("pkg");
    let wasm = compile()?;
    empty(&package)?;
    bind(&wasm, &package)?;
    copy_files(&web.join("package"), &package)?;
    say_size(&package.join(format!("{GLUE}_bg.wasm")))?;
    let site = web.join("dist");
    empty(&site)?;
    for (from, to) in [("site", ""), ("pkg", "pkg"), ("model", "model"), ("examples", "examples")] {
        let from = web.join(from);
        if from.is_dir() {
            copy_files(&from, &site.join(to))?;
        }
    }
    eprintln!("package in {}, site in {}", package.display(), site.display());
    Ok(site)
}

/// Compiles the crate `blt-web` and gives the path of its module.
fn compile() -> Result<PathBuf> {
    let arguments = ["build", "--package", "blt-web", "--lib", "--profile", "web"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let mut command = wasm_std::command(&arguments)?;
    // Every browser that has WebGPU, and any of the last years, has these instructions.
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-C target-feature=+simd128");
    cargo::run(command)?;
    Ok(wasm_std::target_directory()?.join("web").join("blt_web.wasm"))
}

/// Makes the JavaScript of a module, and the module as that wants it.
fn bind(wasm: &Path, package: &Path) -> Result<()> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let own = ["run", "--quiet", "--package", "blt-web-bind", "--"].map(str::to_owned);
    let arguments = [text(wasm), text(package), GLUE.to_owned()];
    cargo::run(cargo::command(&[&own[..], &arguments].concat()))
}

/// Prints how large a module is, and refuses one that nobody would wait for.
fn say_size(wasm: &Path) -> Result<()> {
    let bytes = fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &bytes)?;
    let gzipped = encoder.finish()?.len() as u64;
    eprintln!("{}: {} bytes, {gzipped} gzipped", wasm.display(), bytes.len());
    if gzipped > MOST_GZIPPED_BYTES {
        bail!("{} bytes gzipped, and {MOST_GZIPPED_BYTES} are the most", gzipped);
    }
    Ok(())
}

/// An empty directory, whatever was there.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// Copies what is in a directory, folders too, but not examples in Rust.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = from.read_dir().with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        let target = to.join(path.file_name().expect("entries of a directory have names"));
        if path.is_dir() {
            copy_files(&path, &target)?;
        } else if path.extension().is_none_or(|extension| extension != "rs") {
            fs::copy(&path, &target).with_context(|| {
                format!("cannot copy {} to {}", path.display(), target.display())
            })?;
        }
    }
    Ok(())
}
