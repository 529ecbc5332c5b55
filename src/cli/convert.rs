//! `blt convert`: a model in another layout or type of weights.

use super::device::DeviceArgument;
use super::failure::Usage;
use super::progress::Watch;
use super::terminal::Terminal;
use super::{eval, interrupt, model};
use anyhow::Context;
use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::blt::config::WeightType;
use blt_wgpu::checkpoint::{
    CardFacts, Conversion, DirectoryLayout, ModelDirectory, WriteOptions, model_card, refuse_full,
};
use blt_wgpu::device::Device;
use blt_wgpu::text::{DocumentOptions, Documents};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Write a model in another layout or type of weights
///
/// SRC may be a Hugging Face BLT directory or one of the original release. DST appears when it is
/// whole. With --eval, bits per byte of both on a held-out text go to stdout and into the model
/// card, README.md.
#[derive(clap::Args)]
#[command(after_help = "Example: blt convert facebook-blt-1b blt-1b --dtype int8 --eval held.txt")]
pub struct Arguments {
    /// Model directory, or the name of a model on the hub
    src: PathBuf,
    /// Directory to write; it must not hold anything yet
    dst: PathBuf,
    /// Layout: hf (transformers), original (as the paper's authors released theirs)
    #[arg(long, default_value = "hf", value_name = "LAYOUT")]
    to: Layout,
    /// Type of the weights: f32, f16, bf16, int8, q4; without it every tensor keeps its own
    #[arg(long, value_name = "TYPE")]
    dtype: Option<WeightType>,
    /// Begin another file of weights before one passes this size: 5GB, 500MB, 2GiB
    #[arg(long, value_name = "SIZE")]
    shard_size: Option<ByteSize>,
    /// Held-out text to measure both models on: .txt, .jsonl, or either with .zst or .gz
    #[arg(long, value_name = "FILE")]
    eval: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"weights": .., "parameters": .., "bytes": .., "bpb": .., ..}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    /// Their type; without `--dtype` the blocks of SRC, or the type of most of its elements.
    weights: &'static str,
    parameters: u64,
    /// All files of the result.
    bytes: u64,
    /// Bits per byte of the result and of the source, where they were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    bpb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_bpb: Option<f64>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    refuse_full(&arguments.dst)?;
    let judge = match &arguments.eval {
        Some(path) => Some(Judge::new(path, arguments, terminal)?),
        None => None,
    };
    let source = model::open(&arguments.src, terminal)?;
    let weights = match arguments.dtype {
        Some(weights) => weights,
        None => type_of(&source)?,
    };
    let keeps_types = arguments.dtype.is_none();
    if keeps_types && weights.is_blocks() && arguments.to.0 == DirectoryLayout::Release {
        let problem = format!("--to original: that layout does not hold {}", weights.name());
        return Err(Usage::new(problem, "name another type: --dtype bf16").into());
    }
    let shard_bytes = arguments.shard_size.as_ref().map(|size| size.0);
    let layout = arguments.to.0;
    let options = WriteOptions { layout, weights, shard_bytes, kept: None, keeps_types };
    if layout == DirectoryLayout::Release {
        for warning in source.config().to_release()?.warnings {
            terminal.warn(&warning);
        }
    }
    let mut conversion = Conversion::begin(&source, &arguments.dst, &options)?;
    let (_, count) = conversion.progress();
    let watch = Watch::steps(terminal, "writing", count);
    while conversion.step()? {
        interrupt::check()?;
        watch.step(conversion.progress().0, count, None);
        watch.say("weights");
    }
    watch.end();
    let result = conversion.result()?;
    let measured = match &judge {
        Some(judge) => Some((judge.bits_per_byte(&source)?, judge.bits_per_byte(&result)?)),
        None => None,
    };
    let eval_name = arguments.eval.as_deref().map(name_of).unwrap_or_default();
    let facts = CardFacts {
        source: &name_of(&arguments.src),
        layout,
        weights,
        keeps_types,
        measured: measured.map(|(source, result)| (&*eval_name, source, result)),
    };
    let card = model_card(source.config(), &facts);
    drop(result);
    conversion.commit(&card)?;
    let output = Output {
        weights: weights.name(),
        parameters: count,
        bytes: bytes_in(&arguments.dst)?,
        bpb: measured.map(|(_, result)| result),
        source_bpb: measured.map(|(source, _)| source),
    };
    say(&output, arguments, terminal)
}

fn say(output: &Output, arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    if arguments.json {
        return terminal.print_json(output);
    }
    terminal.note(&format!(
        "{} parameters in {}: {}, {} bytes",
        output.parameters,
        arguments.dst.display(),
        output.weights,
        output.bytes
    ));
    match (output.source_bpb, output.bpb) {
        (Some(source), Some(result)) => {
            terminal.print(&format!("bits per byte    {result:.4}\nof the source    {source:.4}\n"))
        }
        _ => Ok(()),
    }
}

/// The blocks that matrices are in; without any the type of most elements.
fn type_of(source: &ModelDirectory) -> blt_wgpu::Result<WeightType> {
    let mut counts: Vec<(WeightType, u64)> = Vec::new();
    for parameter in source.parameters() {
        let weights = source.weight_type(&parameter.name)?;
        if weights.is_blocks() {
            return Ok(weights);
        }
        match counts.iter_mut().find(|(known, _)| *known == weights) {
            Some((_, count)) => *count += parameter.element_count(),
            None => counts.push((weights, parameter.element_count())),
        }
    }
    let most = counts.iter().max_by_key(|(_, count)| *count);
    Ok(most.expect("every model has a parameter").0)
}

/// Measures models on one text.
struct Judge<'a> {
    path: &'a Path,
    device: Device,
    terminal: &'a Terminal,
}

impl<'a> Judge<'a> {
    fn new(path: &'a Path, arguments: &Arguments, terminal: &'a Terminal) -> anyhow::Result<Self> {
        // Known before anything is written.
        Documents::open(&[path], DocumentOptions::default())?;
        Ok(Self { path, device: arguments.device.open(terminal)?, terminal })
    }

    fn bits_per_byte(&self, directory: &ModelDirectory) -> anyhow::Result<f64> {
        let documents = Documents::open(&[self.path], DocumentOptions::default())?;
        let loaded = pollster::block_on(LoadedDirectory::load(&self.device, directory, false))
            .context("cannot load the model to measure it")?;
        let evaluation = eval::measure(&self.device, &loaded, self.path, documents, self.terminal)?;
        Ok(evaluation.score.bits_per_byte())
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Bytes of all files in a directory and in those inside.
fn bytes_in(directory: &Path) -> blt_wgpu::Result<u64> {
    let failed = |problem| blt_wgpu::Error::io("look into", directory, problem);
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let found = entry.metadata().map_err(failed)?;
        bytes += if found.is_dir() { bytes_in(&entry.path())? } else { found.len() };
    }
    Ok(bytes)
}

/// The layout as an argument.
#[derive(Clone, Copy, Debug)]
struct Layout(DirectoryLayout);

impl FromStr for Layout {
    type Err = Usage;

    fn from_str(name: &str) -> Result<Self, Usage> {
        match name {
            "hf" => Ok(Self(DirectoryLayout::HuggingFace)),
            "original" => Ok(Self(DirectoryLayout::Release)),
            _ => Err(Usage::new(format!("expected hf or original, got {name:?}"), "--to hf")),
        }
    }
}

/// A number of bytes as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ByteSize(u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a size like 5GB, 500MB or 2GiB, got {text:?}");
        let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit: u64 = match &text[digits..] {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("5GB".parse(), Ok(ByteSize(5_000_000_000)));
        assert_eq!("2GiB".parse(), Ok(ByteSize(2 << 30)));
        assert_eq!("4096".parse(), Ok(ByteSize(4096)));
        for bad in ["", "GB", "0", "-1", "5gb", "1.5GB", "99999999999999999999", "99999999999GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }
}
