//! `cargo xtask web-test`: the package in Chromium, compared with the program.
//!
//! A tiny model is trained natively by the job that the page runs; its losses, its patches and its
//! greedy text are what those in the browser must be. `web/test/run.mjs` drives the browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::build::build;
use crate::browser::{self, Server, Site};
use crate::cargo::{self, TestCounts};

/// The training that is compared: thirty steps.
const OPTIONS: &str = r#"{"preset":"tiny","steps":20,"entropySteps":10,"batchBytes":512,
    "sampleEvery":0,"evaluateEvery":20,"seed":7}"#;

/// Of the demo's text.
const TEXT_BYTES: usize = 6000;

/// Runs the tests whose names contain `only`, and counts them. The flag says whether all held.
///
/// # Errors
/// Something that the tests need could not be had.
pub fn test(only: &str) -> Result<(TestCounts, bool)> {
    let site = build()?;
    let scripts = cargo::root().join("web").join("test");
    npm_ci(&scripts)?;
    cargo::run(cargo::command(&owned(&["build", "--package", "blt-wgpu", "--bin", "blt"])))?;
    let place = cargo::root().join("target").join("web-test");
    let native = train(&place)?;
    let server = Server::start(whole_site(site, &native)?)?;
    let program = cargo::root().join("target").join("debug").join("blt");
    let mut command = Command::new("node");
    command
        .arg(scripts.join("run.mjs"))
        .arg(only)
        .env("BLT_TEST_SITE", server.url(""))
        .env("BLT_TEST_CHROMIUM", browser::find()?)
        .env("BLT_TEST_PROGRAM", program.with_extension(std::env::consts::EXE_EXTENSION))
        .env("BLT_TEST_MODEL", &native.model)
        .env("BLT_TEST_LOSSES", &native.losses)
        .env("BLT_TEST_OPTIONS", OPTIONS);
    cargo::count(command)
}

/// What was trained natively.
struct Native {
    text: PathBuf,
    model: PathBuf,
    losses: PathBuf,
}

fn train(place: &Path) -> Result<Native> {
    let paths = ["text.txt", "model", "losses.json"].map(|name| place.join(name));
    let [text, model, losses] = paths;
    std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    let all = cargo::root().join("data").join("tinyshakespeare.txt");
    let all = std::fs::read(&all).with_context(|| format!("cannot read {}", all.display()))?;
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    write(&text, &all[..TEXT_BYTES.min(all.len())])?;
    let own = ["run", "--quiet", "--package", "blt-web", "--example", "native_training", "--"];
    let paths = [&text, &model].map(|path| path.to_string_lossy().into_owned());
    let mut command = cargo::command(&[owned(&own), paths.to_vec(), owned(&[OPTIONS])].concat());
    let line = cargo::show(&command);
    eprintln!("$ {line}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}", output.status);
    }
    write(&losses, &output.stdout)?;
    Ok(Native { text, model, losses })
}

/// The site, and what only tests ask for.
fn whole_site(site: PathBuf, native: &Native) -> Result<Site> {
    let read = |path: PathBuf| {
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let config = read(native.model.join("config.json"))?;
    let weights = read(native.model.join("model.safetensors"))?;
    let half = weights[..weights.len() / 2].to_vec();
    let blank = "<!doctype html><link rel=\"icon\" href=\"data:,\" /><title>tests</title>";
    Ok(Site::of_directory(site)?
        .with_file("/blank.html", blank)
        .with_file("/text.txt", read(native.text.clone())?)
        .with_file("/test-model/config.json", config.clone())
        .with_file("/test-model/model.safetensors", weights)
        .with_file("/cut-model/config.json", config)
        .with_file("/cut-model/model.safetensors", half)
        .with_file("/no-model/config.json", blank)
        .with_file("/no-model/model.safetensors", blank))
}

/// What the scripts need, as `package-lock.json` has it.
fn npm_ci(scripts: &Path) -> Result<()> {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.args(["ci", "--no-audit", "--no-fund"]).current_dir(scripts);
    eprintln!("$ npm ci in {}", scripts.display());
    let status = command.stdout(std::io::stderr()).status().context("cannot start npm")?;
    if !status.success() {
        bail!("npm ci: {status}");
    }
    Ok(())
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}
