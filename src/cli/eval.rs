//! `blt eval`: bits per byte of a model on a text.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::interrupt;
use super::model::{self, Purpose};
use super::numbers::counted;
use super::progress::Watch;
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use super::weights::WeightsArgument;
use blt_wgpu::Error;
use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::eval::{Evaluation, Evaluator};
use blt_wgpu::text::{DocumentOptions, Documents};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Measure a model in bits per byte on a text
///
/// Every byte of a document and its end is predicted. Documents longer than the model's positions
/// are scored in windows whose first half is context only.
#[derive(clap::Args)]
#[command(after_help = "Example: blt eval --model DIR --data held-out.txt")]
pub struct Arguments {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Text: .txt (one document), .jsonl (one a line), or either with .zst or .gz
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    weights: WeightsArgument,
    #[command(flatten)]
    tuned: TunedArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"bpb": .., "bytes": .., "patches": .., ..}; `bytes` counts each
    /// document's end too, as it is predicted like a byte
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    /// Bits per target.
    bpb: f64,
    /// Targets: the bytes of all documents and their ends.
    bytes: u64,
    patches: u64,
    bytes_per_patch: f64,
    /// Nats of all targets.
    nats: f64,
    documents: u64,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let documents = Documents::open(&[&arguments.data], DocumentOptions::default())?;
    let device = arguments.tuned.apply(arguments.device.open(terminal)?, terminal)?;
    let purpose = Purpose::Reading(arguments.weights.options());
    let loaded = model::load(&arguments.model, &device, purpose, terminal)?;
    let evaluation = measure(&device, &loaded, &arguments.data, documents, terminal)?;
    let output = Output {
        bpb: evaluation.score.bits_per_byte(),
        bytes: evaluation.score.target_count,
        patches: evaluation.patch_count,
        bytes_per_patch: evaluation.bytes_per_patch(),
        nats: evaluation.score.nats,
        documents: evaluation.document_count,
    };
    if arguments.json {
        return terminal.print_json(&output);
    }
    terminal.print(&format!(
        "bits per byte    {:.4}\nbytes and ends   {}\npatches          {}\nbytes per patch  {:.3}\n\
         nats             {:.3}\n",
        output.bpb, output.bytes, output.patches, output.bytes_per_patch, output.nats
    ))
}

/// Scores the documents of a file.
///
/// # Errors
/// A file without text, one that cannot be read, or a device that has not the memory.
pub fn measure(
    device: &Device,
    loaded: &LoadedDirectory<Device>,
    path: &Path,
    documents: Documents,
    terminal: &Terminal,
) -> anyhow::Result<Evaluation> {
    let mut evaluator = Evaluator::new(device, loaded)?;
    let watch = Watch::spinner(terminal, &format!("scoring on {}", device.name()));
    for document in documents {
        interrupt::check()?;
        pollster::block_on(evaluator.step(&document?.text))?;
        let evaluation = evaluator.evaluation();
        watch.say(&format!(
            "{}, {}, {:.4} bits per byte",
            counted(evaluation.document_count, "document"),
            counted(evaluation.score.target_count, "byte"),
            evaluation.score.bits_per_byte()
        ));
    }
    watch.end();
    warn_of_distrusted(device, &mut 0, terminal);
    let evaluation = evaluator.evaluation();
    if evaluation.document_count == 0 {
        let error = Error::input(path.display().to_string(), "there is no text in it");
        return Err(error.with_hint("give a file with at least one byte of text").into());
    }
    Ok(evaluation)
}
