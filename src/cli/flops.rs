//! `blt flops`: what a configuration computes and keeps, before anything is trained.

use super::terminal::Terminal;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::bench::BenchShape;
use blt_wgpu::blt::config::{ModelConfig, ReferenceEntropyKeys};
use blt_wgpu::blt::parameters::{Part, model_parameters};
use blt_wgpu::blt::{Memory, TextSize, forward_flops};
use blt_wgpu::graph::CompileOptions;
use blt_wgpu::report::{grouped, short_count};
use blt_wgpu::train::flops::TRAINING_FACTOR;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Count what a model computes for a byte, by part, and the memory that training it takes
///
/// Two operations for every multiply-add of matrix products and attention, as the paper counts
/// them, over a row as long as the configuration says and the keys that are seen; a training step
/// is three forward passes. The entropy model is counted apart.
#[derive(clap::Args)]
#[command(after_help = "Example: blt flops model.toml --bytes-per-patch 6")]
pub struct Arguments {
    /// Configuration of `blt train`
    config: PathBuf,
    /// Bytes of a patch; else `patch_size` of a static rule, and 4 of another
    #[arg(long, value_name = "N", value_parser = at_least_one_byte)]
    bytes_per_patch: Option<f64>,
    /// Print one line of JSON: {"params": .., "flops_per_byte": .., "entropy_model": .., ..}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    /// Without an entropy model beside a BLT.
    params: u64,
    params_by_part: BTreeMap<&'static str, u64>,
    row_bytes: usize,
    bytes_per_patch: Option<f64>,
    /// Of a forward pass, by part.
    flops_per_byte: BTreeMap<&'static str, f64>,
    forward_flops_per_byte: f64,
    training_flops_per_byte: f64,
    /// What cuts the text, where the configuration has it.
    entropy_model: Option<EntropyModel>,
    /// Of a training step at the configuration's batch with kernels that need nothing special:
    /// weights, gradients, moments, activations, inputs.
    memory_bytes: usize,
    memory_by_class: BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
struct EntropyModel {
    params: u64,
    forward_flops_per_byte: f64,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let path = &arguments.config;
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    let shape = BenchShape::from_toml("model", &text)
        .with_context(|| format!("{} describes no model", path.display()))?;
    let output = Output::of(&shape, arguments.bytes_per_patch)?;
    match arguments.json {
        true => terminal.print_json(&output),
        false => terminal.print(&output.describe()),
    }
}

impl Output {
    fn of(shape: &BenchShape, bytes_per_patch: Option<f64>) -> anyhow::Result<Self> {
        let config = &shape.model.config;
        let bytes = shape.row_bytes();
        let is_blt = matches!(config, ModelConfig::Blt(_));
        let bytes_per_patch = bytes_per_patch.unwrap_or(shape.patch_bytes() as f64);
        // The first patch is one id that is no byte.
        let patches = if is_blt { 1 + (bytes as f64 / bytes_per_patch) as usize } else { 0 };
        let parts = forward_flops(config, TextSize { bytes, patches });
        let per_byte = |flops: u64| flops as f64 / bytes as f64;
        let mut params_by_part = BTreeMap::new();
        for parameter in model_parameters(config) {
            *params_by_part.entry(parameter.part.name()).or_default() += parameter.element_count();
        }
        let forward = per_byte(parts.values().sum());
        let options = CompileOptions {
            precision: shape.run.precision,
            recompute: shape.run.recompute,
            ..CompileOptions::BASE
        };
        let memory = Memory::of_training(shape, &options, MAX_BINDING_ELEMENTS)?;
        Ok(Self {
            params: params_by_part.values().sum(),
            params_by_part,
            row_bytes: bytes,
            bytes_per_patch: is_blt.then_some(bytes_per_patch),
            flops_per_byte: parts.iter().map(|(part, it)| (part.name(), per_byte(*it))).collect(),
            forward_flops_per_byte: forward,
            training_flops_per_byte: TRAINING_FACTOR as f64 * forward,
            entropy_model: EntropyModel::of(shape, bytes)?.filter(|_| is_blt),
            memory_bytes: memory.total(),
            memory_by_class: memory.parts().into_iter().filter(|(_, it)| *it > 0).collect(),
        })
    }

    fn describe(&self) -> String {
        let mut lines = vec![match self.bytes_per_patch {
            None => format!("a row of {} bytes", self.row_bytes),
            Some(size) => format!("a row of {} bytes in patches of {size}", self.row_bytes),
        }];
        let head = ["parameters", "forward", "training", "share"];
        let [parameters, forward, training, share] = head;
        lines.push(format!(
            "{:<20}{parameters:>16}{forward:>14}{training:>14}{share:>8}",
            "operations a byte"
        ));
        let row = |name: &str, params: u64, flops: f64| {
            let [forward, training] =
                [1.0, TRAINING_FACTOR as f64].map(|it| short_count(it * flops));
            let share = 100.0 * flops / self.forward_flops_per_byte;
            let params = grouped(params);
            format!("  {name:<18}{params:>16}{forward:>14}{training:>14}{share:>6.1} %")
        };
        for (part, params) in &self.params_by_part {
            let flops = self.flops_per_byte.get(part).copied().unwrap_or_default();
            lines.push(row(part, *params, flops));
        }
        lines.push(row("all", self.params, self.forward_flops_per_byte));
        if let Some(entropy) = &self.entropy_model {
            let name = Part::Patcher.name();
            lines.push(format!(
                "beside it\n  {name:<18}{:>16}{:>14}",
                grouped(entropy.params),
                short_count(entropy.forward_flops_per_byte)
            ));
        }
        lines.push("memory of a training step".into());
        for (class, bytes) in &self.memory_by_class {
            lines.push(format!("  {class:<18}{:>16}", gib(*bytes)));
        }
        lines.push(format!("  {:<18}{:>16}", "all", gib(self.memory_bytes)));
        lines.join("\n") + "\n"
    }
}

impl EntropyModel {
    fn of(shape: &BenchShape, bytes: usize) -> anyhow::Result<Option<Self>> {
        if shape.run.entropy_model.is_empty() {
            return Ok(None);
        }
        let keys = ReferenceEntropyKeys::from_table(shape.run.entropy_model.clone())?;
        let config = ModelConfig::Entropy(keys.into_config()?.config);
        let flops: u64 = forward_flops(&config, TextSize { bytes, patches: 0 }).values().sum();
        let parameters = model_parameters(&config);
        Ok(Some(Self {
            params: parameters.iter().map(|parameter| parameter.element_count()).sum(),
            forward_flops_per_byte: flops as f64 / bytes as f64,
        }))
    }
}

/// Elements of a binding of 2 GiB, as hardware has it.
const MAX_BINDING_ELEMENTS: usize = (1 << 29) - 1;

fn gib(bytes: usize) -> String {
    format!("{:.3} GiB", bytes as f64 / (1_u64 << 30) as f64)
}

fn at_least_one_byte(text: &str) -> Result<f64, String> {
    let size = text.parse().ok().filter(|size| (1.0..=1e6).contains(size));
    size.ok_or_else(|| format!("expected a number from 1 on, got {text}"))
}
