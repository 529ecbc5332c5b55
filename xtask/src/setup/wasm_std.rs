//! A standard library for wasm32-unknown-unknown: a built one, or its source for `-Z build-std`.
//!
//! In this order: what is there already; `rustup target add`; the source that rustup has
//! (`rustup component add rust-src`); the source in Debian's package `rust-src`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::debian;
use crate::cargo;

const TARGET: &str = "wasm32-unknown-unknown";

/// Beside a source that was unpacked here: the version it is of. rustup does not know of such a
/// source and leaves it where it is when it updates the compiler.
const VERSION_FILE: &str = "unpacked-version";

/// Where the standard library of a wasm32 build comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasmStd {
    /// Built, in the sysroot.
    Built,
    /// As source in the sysroot; cargo compiles it along with the crate.
    Source,
}

impl fmt::Display for WasmStd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Built => "built, from rustup",
            Self::Source => "compiled from source with -Z build-std",
        })
    }
}

/// Finds the standard library, or brings it here.
///
/// # Errors
/// No way of getting it worked; the message says what was tried.
pub fn prepare() -> Result<WasmStd> {
    if let Some(found) = find()? {
        return Ok(found);
    }
    if !wants_source()
        && rustup(&["target", "add", TARGET])
        && let Some(found) = find()?
    {
        return Ok(found);
    }
    if rustup(&["component", "add", "rust-src"])
        && let Some(found) = find()?
    {
        return Ok(found);
    }
    if !debian::is_debian() {
        bail!(
            "`rustup target add {TARGET}` did not work, and without it there is no other way here"
        );
    }
    install_debian_source().context("neither rustup nor Debian's rust-src could bring it")?;
    find()?.context("unpacked, but not found in the sysroot")
}

/// A cargo command for wasm32 with these arguments.
///
/// # Errors
/// There is no standard library for it and none could be brought here.
pub fn command(arguments: &[String]) -> Result<Command> {
    let found = prepare()?;
    let mut command = cargo::command(arguments);
    command.args(["--target", TARGET]);
    if found == WasmStd::Source {
        command.args(["-Z", "build-std=std,panic_abort"]);
        // This lets the stable compiler take -Z, and every crate sees it: hence a directory of
        // its own, so that the other stages need not be compiled again.
        command.env("RUSTC_BOOTSTRAP", "1");
        command.arg("--target-dir").arg(source_target());
    }
    Ok(command)
}

/// Where such a command puts what it builds, in a folder for each profile.
///
/// # Errors
/// As [`command`].
pub fn target_directory() -> Result<PathBuf> {
    let target = match prepare()? {
        WasmStd::Built => cargo::root().join("target"),
        WasmStd::Source => source_target(),
    };
    Ok(target.join(TARGET))
}

fn source_target() -> PathBuf {
    cargo::root().join("target").join("wasm-std")
}

/// What is in the sysroot now.
fn find() -> Result<Option<WasmStd>> {
    if !wants_source() && has_built(Path::new(&rustc(&["--print", "target-libdir"], true)?)) {
        return Ok(Some(WasmStd::Built));
    }
    let source = source_directory()?;
    let is_current = match std::fs::read_to_string(source.join(VERSION_FILE)) {
        Ok(version) => version == release()?,
        Err(_) => true, // not ours: rustup's, which it keeps current
    };
    Ok((is_current && source.join("Cargo.lock").is_file()).then_some(WasmStd::Source))
}

/// The compiler's version, `1.95.0`.
fn release() -> Result<String> {
    let verbose = rustc(&["-vV"], false)?;
    let version = verbose.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(version.context("rustc -vV names no release")?.to_owned())
}

fn wants_source() -> bool {
    std::env::var_os("BLT_WASM_STD").is_some_and(|value| value == "source")
}

fn has_built(directory: &Path) -> bool {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// Where `-Z build-std` looks for the source.
fn source_directory() -> Result<PathBuf> {
    let sysroot = PathBuf::from(rustc(&["--print", "sysroot"], false)?);
    Ok(sysroot.join("lib/rustlib/src/rust/library"))
}

fn install_debian_source() -> Result<()> {
    let version = release()?;
    let scratch = cargo::root().join("target").join("rust-src");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot empty {}", scratch.display()))?;
    }
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot make {}", scratch.display()))?;
    let library = debian::fetch_rust_source(&version, &scratch)?;
    let destination = source_directory()?;
    if destination.exists() {
        std::fs::remove_dir_all(&destination)
            .with_context(|| format!("cannot remove {}", destination.display()))?;
    }
    std::fs::write(library.join(VERSION_FILE), &version)
        .with_context(|| format!("cannot write to {}", library.display()))?;
    copy_tree(&library, &destination)?;
    std::fs::remove_dir_all(&scratch)
        .with_context(|| format!("cannot remove {}", scratch.display()))
}

/// Copies a directory with all that is in it, links as what they point at. `Cargo.lock` comes
/// last: its presence is what says that the source is whole.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = from.read_dir().with_context(|| format!("cannot read {}", from.display()))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort_by_key(|path| path.file_name().is_some_and(|name| name == "Cargo.lock"));
    for path in paths {
        let target = to.join(path.file_name().expect("entries of a directory have names"));
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).with_context(|| {
                format!("cannot copy {} to {}", path.display(), target.display())
            })?;
        }
    }
    Ok(())
}

/// Runs rustup and says whether it did what it was asked; without rustup it did not.
fn rustup(arguments: &[&str]) -> bool {
    eprintln!("$ rustup {}", arguments.join(" "));
    match Command::new("rustup").args(arguments).stdout(std::io::stderr()).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("rustup: {error}");
            false
        }
    }
}

fn rustc(arguments: &[&str], for_wasm: bool) -> Result<String> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(arguments);
    if for_wasm {
        command.args(["--target", TARGET]);
    }
    let output = command.output().context("cannot start rustc")?;
    if !output.status.success() {
        bail!("rustc: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::copy_tree;

    #[test]
    fn a_tree_is_copied_with_its_subdirectories() {
        let place = std::env::temp_dir().join(format!("blt-copy-{}", std::process::id()));
        std::fs::create_dir_all(place.join("from/std/src")).unwrap();
        std::fs::write(place.join("from/Cargo.lock"), "lock").unwrap();
        std::fs::write(place.join("from/std/src/lib.rs"), "lib").unwrap();
        copy_tree(&place.join("from"), &place.join("to")).unwrap();
        let read = |name: &str| std::fs::read_to_string(place.join("to").join(name)).unwrap();
        assert_eq!((read("Cargo.lock"), read("std/src/lib.rs")), ("lock".into(), "lib".into()));
        std::fs::remove_dir_all(&place).unwrap();
    }
}
