//! Chores of this repository, run as `cargo xtask COMMAND`.
//!
//! `main.rs` reads the command line; `stages.rs` is the table of what is tested; `run.rs` runs it
//! and counts; `bench.rs` runs the benchmark; `setup/` looks after what a machine must have;
//! `browser/` opens pages in a headless Chromium and listens to what they say; `web/` builds the
//! page and its package.

mod bench;
mod browser;
mod cargo;
mod run;
mod setup;
mod skips;
mod stages;
mod web;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [STAGE..]        run the stages in the order given, all of them without a name
  test --list           name the stages and the commands each of them runs
  bench [ARGUMENT..]    build `blt` with the commit in it, run `blt bench` with the arguments
  web [--serve]         build the package web/pkg and the site web/dist; serve the site
  web-test [PART]       build both, and try them in headless Chromium; PART: of the tests' names
  setup                 install what is missing (Debian, as root), or say what is missing
  browser [DIR]         compile every DIR/*.wgsl in headless Chromium (default: target/wgsl)
  page DIR [PAGE] [--quiet-s N]
                        serve DIR, open PAGE (default index.html) in headless Chromium, print
                        what it reports, fail if it fails or says nothing for N seconds (300)

environment:
  BLT_ALLOW_NO_GPU=1    tests that found no GPU are counted but do not fail the run
  BLT_CHROMIUM=PATH     the browser to use
  BLT_CHROMIUM_ARGS=..  further arguments for it
  BLT_WASM_STD=source   build the wasm32 standard library even where a built one is there
  WGPU_BACKEND, WGPU_ADAPTER_NAME
                        choose the adapter (on Linux the software driver unless set)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command. `Ok(false)` means that it ran, found failures and has printed them.
fn dispatch(words: &[&str]) -> Result<bool> {
    match words {
        ["test", "--list"] => {
            print!("{}", stages::listing());
            Ok(true)
        }
        ["test", names @ ..] => run::run(&stages::select(names)?),
        ["bench", arguments @ ..] => bench::run(arguments).map(|()| true),
        ["web"] => web::build().map(|_| true),
        ["web", "--serve"] => web::build().and_then(web::serve).map(|()| true),
        ["web-test"] => web::test("").map(|(_, content)| content),
        ["web-test", part] => web::test(part).map(|(_, content)| content),
        ["setup"] => setup::prepare().map(|()| true),
        ["browser"] => browser::compile_directory(&cargo::wgsl_directory()).map(|_| true),
        ["browser", directory] => browser::compile_directory(Path::new(directory)).map(|_| true),
        ["page", rest @ ..] => open_page(rest),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(true)
        }
        [] => bail!("no command\n\n{USAGE}"),
        [unknown, ..] => bail!("{unknown}: no such command, or unexpected arguments\n\n{USAGE}"),
    }
}

fn open_page(words: &[&str]) -> Result<bool> {
    let mut places = Vec::new();
    let mut quiet_s = 300;
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--quiet-s" => {
                let text = words.next().context("--quiet-s: a number of seconds must follow")?;
                quiet_s = text.parse().with_context(|| format!("--quiet-s: {text:?}"))?;
            }
            flag if flag.starts_with('-') => bail!("{flag}: no such option\n\n{USAGE}"),
            place => places.push(place),
        }
    }
    let (directory, page) = match places[..] {
        [directory] => (directory, "index.html"),
        [directory, page] => (directory, page),
        _ => bail!("page: a directory and at most one page are wanted\n\n{USAGE}"),
    };
    let site = browser::Site::of_directory(PathBuf::from(directory))?;
    let quiet = Duration::from_secs(quiet_s);
    let report = browser::visit(site, page, quiet, |line| eprintln!("  {line}"))?;
    println!("{report}");
    Ok(true)
}
