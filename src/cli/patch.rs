//! `blt patch`: where a text falls into patches.

use super::device::DeviceArgument;
use super::failure::Usage;
use super::model;
use super::numbers::{Ids, counted};
use super::terminal::Terminal;
use anyhow::Context;
use blt_wgpu::blt::config::{ModelConfig, PatchingConfig, PatchingMode as Mode};
use blt_wgpu::blt::configured_patching;
use blt_wgpu::blt::patching::{Patching, PatchingMode, bytes_and_patches, bytes_per_patch};
use blt_wgpu::checkpoint::load_entropy_model;
use blt_wgpu::eval::Patcher;
use blt_wgpu::report::paint;
use blt_wgpu::text::{check_ids, encode};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Cut a text into patches and show them in colour
///
/// Text and file get a begin and an end id; ids are taken as they are. What a flag leaves open, the
/// model says; without a model, thresholds are those of the released models.
#[derive(clap::Args)]
#[command(after_help = "Example: blt patch --text \"Hello, world!\" --mode space")]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub struct Arguments {
    /// The text itself
    #[arg(long, group = "input", allow_hyphen_values = true)]
    text: Option<String>,
    /// A file, read as bytes
    #[arg(long, group = "input")]
    file: Option<PathBuf>,
    /// Ids: a byte plus 4, or 0 to 3 for BOE, BOS, EOS, BPE
    #[arg(long, group = "input", value_name = "1,2,..", allow_hyphen_values = true)]
    ids: Option<Ids>,
    /// The rule by which patches begin; the model's if left out
    #[arg(long, value_parser = ["static", "space", "entropy", "monotonic", "combined", "byte",
        "bpe"])]
    mode: Option<String>,
    /// Bytes in a patch, for `static`
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    size: Option<u32>,
    /// Threshold in nats, compared in f32
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    threshold: Option<f64>,
    /// Threshold in nats of the rise of the entropy, for `combined`
    #[arg(long, value_name = "Y", allow_hyphen_values = true)]
    threshold_add: Option<f64>,
    /// Longest patch; longer ones are cut from the left
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    max_len: Option<u32>,
    /// Model whose entropy model scores the text: a directory, or the name of one on the hub
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Entropies in nats, one for each id: a file with a JSON array
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    entropies: Option<PathBuf>,
    /// Leave out the virtual token: lengths sum to the ids instead of one more
    #[arg(long)]
    no_virtual: bool,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"ids": .., "patch_lengths": .., "entropies": ..}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    ids: &'a [u32],
    patch_lengths: &'a [u32],
    entropies: &'a [f32],
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let ids = arguments.ids()?;
    check_ids(&ids)?;
    let directory = match &arguments.model {
        Some(path) => Some((path, model::open(path, terminal)?)),
        None => None,
    };
    let config = directory.as_ref().map(|(_, directory)| directory.config());
    let patching = arguments.patching(config)?;
    for flag in arguments.without_effect(patching.mode) {
        terminal.warn(&format!("{flag} does nothing in mode {}", patching.mode.name()));
    }
    patching.check()?;
    let entropies = match (&arguments.entropies, &directory) {
        (Some(path), _) => read_entropies(path)?,
        (None, Some((path, directory))) if patching.mode.needs_entropies() => {
            let device = arguments.device.open(terminal)?;
            let entropy_model = pollster::block_on(load_entropy_model(&device, directory))
                .with_context(|| format!("cannot load the model {}", path.display()))?;
            let mut patcher = Patcher::new(&device, patching, entropy_model.as_ref())
                .with_context(|| format!("cannot score with the model {}", path.display()))?;
            pollster::block_on(patcher.entropies(&ids))?
        }
        (None, None) if patching.mode.needs_entropies() => {
            let problem = format!("--mode {} reads entropies", patching.mode.name());
            return Err(Usage::new(problem, "add --model DIR or --entropies FILE.json").into());
        }
        _ => Vec::new(),
    };
    let patch_lengths = patching.patch_lengths(&ids, &entropies)?;
    if arguments.json {
        let output = Output { ids: &ids, patch_lengths: &patch_lengths, entropies: &entropies };
        return terminal.print_json(&output);
    }
    terminal.print(&format!("{}\n", paint::patches(&ids, &patch_lengths, terminal.color)))?;
    let (byte_count, patch_count) = bytes_and_patches(ids.len(), &patch_lengths);
    let mean = bytes_per_patch(byte_count, patch_count);
    let (ids, patches) = (counted(ids.len(), "id"), counted(patch_count, "patch"));
    terminal.note(&format!("{ids} in {patches}, {mean:.2} bytes a patch"));
    Ok(())
}

impl Arguments {
    fn ids(&self) -> anyhow::Result<Vec<u32>> {
        Ok(match (&self.text, &self.file, &self.ids) {
            (Some(text), _, _) => encode(text.as_bytes(), true, true),
            (_, Some(path), _) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| blt_wgpu::Error::io("read", path, error))?;
                encode(&bytes, true, true)
            }
            (_, _, Some(ids)) => ids.0.clone(),
            (None, None, None) => unreachable!("clap requires one of the three"),
        })
    }

    /// The flags that were given and that this mode does not read.
    fn without_effect(&self, mode: PatchingMode) -> Vec<&'static str> {
        let scores = mode.needs_entropies();
        let flags = [
            ("--size", self.size.is_some(), matches!(mode, PatchingMode::Static { .. })),
            ("--threshold", self.threshold.is_some(), scores),
            (
                "--threshold-add",
                self.threshold_add.is_some(),
                matches!(mode, PatchingMode::Combined { .. }),
            ),
            ("--max-len", self.max_len.is_some(), mode != PatchingMode::Byte),
            ("--entropies", self.entropies.is_some(), scores),
        ];
        flags.into_iter().filter(|(_, given, read)| *given && !read).map(|it| it.0).collect()
    }

    /// The settings of the flags, where they are silent of the model, and without one the defaults.
    fn patching(&self, config: Option<&ModelConfig>) -> anyhow::Result<Patching> {
        let mut settings = match config {
            Some(ModelConfig::Blt(config)) => config.patching.clone(),
            _ => PatchingConfig::default(),
        };
        match (&self.mode, config) {
            (Some(name), _) => {
                settings.mode = Mode::from_name(name).expect("clap lets only these names pass");
            }
            (None, Some(_)) => {}
            (None, None) => {
                let hint = "add --mode space, or --model DIR for the model's own";
                return Err(Usage::new("neither --mode nor --model was given", hint).into());
            }
        }
        settings.threshold = self.threshold.unwrap_or(settings.threshold);
        settings.threshold_add = self.threshold_add.or(settings.threshold_add);
        settings.patch_size = self.size.map_or(settings.patch_size, |size| size as usize);
        settings.max_patch_length =
            self.max_len.map(|length| length as usize).or(settings.max_patch_length);
        if settings.mode == Mode::Combined && settings.threshold_add.is_none() {
            let hint = "add --threshold-add Y, in nats";
            return Err(Usage::new("--mode combined needs a second threshold", hint).into());
        }
        let patching = configured_patching(&settings);
        Ok(Patching { include_next_token: !self.no_virtual, ..patching })
    }
}

/// A JSON array of numbers, compared in f32 as they are.
fn read_entropies(path: &Path) -> anyhow::Result<Vec<f32>> {
    let bytes = std::fs::read(path).map_err(|error| blt_wgpu::Error::io("read", path, error))?;
    let numbers: Vec<f64> = serde_json::from_slice(&bytes).with_context(|| {
        format!("{}: expected a JSON array of one number for each id", path.display())
    })?;
    Ok(numbers.into_iter().map(|number| number as f32).collect())
}
