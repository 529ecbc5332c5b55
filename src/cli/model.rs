//! Opening models: directories, or names of models on the hub.

use super::hub;
use super::terminal::Terminal;
use anyhow::Context;
use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::configured_patching;
use blt_wgpu::checkpoint::{LoadOptions, ModelDirectory};
use blt_wgpu::device::Device;
use std::path::Path;

/// Opens a directory, or a model of the hub, and says what should be said about it.
///
/// # Errors
/// If it is no model directory, or a damaged one; if the hub has no such model or does not give it.
pub fn open(path: &Path, terminal: &Terminal) -> anyhow::Result<ModelDirectory> {
    let cannot = || format!("cannot open the model {}", path.display());
    let found = match hub::Name::of(path).filter(|_| !path.exists()) {
        Some(name) => hub::fetch(&name, terminal).with_context(cannot)?,
        None => path.to_path_buf(),
    };
    let directory = ModelDirectory::open(found).with_context(cannot)?;
    for warning in directory.warnings() {
        terminal.warn(&format!("{}: {warning}", path.display()));
    }
    Ok(directory)
}

/// What a model is loaded for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Training,
    /// To be read, its weights as these say.
    Reading(LoadOptions),
}

/// Opens a directory and uploads its weights.
///
/// # Errors
/// As [`open`], and if the device has not the memory.
pub fn load(
    path: &Path,
    device: &Device,
    purpose: Purpose,
    terminal: &Terminal,
) -> anyhow::Result<LoadedDirectory<Device>> {
    let directory = open(path, terminal)?;
    warn_of_bytes(&directory, terminal);
    upload(path, &directory, device, purpose)
}

/// Says so where a model would cut texts by entropies and has no entropy model: then every byte is
/// a patch, as in `transformers` (spec §22.4).
pub fn warn_of_bytes(directory: &ModelDirectory, terminal: &Terminal) {
    let ModelConfig::Blt(config) = directory.config() else { return };
    if configured_patching(&config.patching).mode.needs_entropies() && config.patcher.is_none() {
        terminal
            .warn("the model cuts by entropies and has no entropy model: every byte is a patch");
    }
}

/// Uploads the weights of a directory that is open.
///
/// # Errors
/// A weight that is not finite or too large for its type, or a device that has not the memory.
pub fn upload(
    path: &Path,
    directory: &ModelDirectory,
    device: &Device,
    purpose: Purpose,
) -> anyhow::Result<LoadedDirectory<Device>> {
    let loaded = match purpose {
        Purpose::Training => pollster::block_on(LoadedDirectory::load(device, directory, true)),
        Purpose::Reading(options) => {
            pollster::block_on(LoadedDirectory::load_as(device, directory, options))
        }
    };
    loaded.with_context(|| format!("cannot load the model {}", path.display()))
}
