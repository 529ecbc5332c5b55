//! `blt entropies`: entropies of texts, computed once.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::failure::Usage;
use super::interrupt;
use super::model;
use super::numbers::counted;
use super::progress::Watch;
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::blt::LoadedModel;
use blt_wgpu::checkpoint::load_entropy_model;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::platform::{NativePlatform, Platform};
use blt_wgpu::text::OnError;
use blt_wgpu::train::data::text_files;
use blt_wgpu::train::entropies::{EntropyJob, EntropyOptions, EntropyStep};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Compute the entropies of texts and keep them in Arrow files
///
/// A text becomes shards OUT/NAME.shard_00.arrow in the layout of the reference implementation,
/// with NAME.shard_00.arrow.complete beside each that is whole; `blt train` reads them like any
/// source. Run again after Ctrl-C, a crash or an error it goes on where it stopped; shards of a
/// text that has changed since are made anew.
#[derive(clap::Args)]
#[command(after_help = "Example: blt entropies DIR texts/*.jsonl.zst --out entropies")]
pub struct Arguments {
    /// Model directory, or the name of a model on the hub: an entropy model, or a model with one
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Texts: .txt or .jsonl, as they are or with .zst or .gz; directories and patterns of them
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,
    /// Directory of the shards
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Megabytes of text in a shard
    #[arg(long, value_name = "MB", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    shard_mb: u64,
    /// Which of the processes that share the work this is, from 0 on
    #[arg(long, value_name = "R", default_value_t = 0, requires = "ranks")]
    rank: u64,
    /// How many processes share the work; shards are dealt out in turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    ranks: u64,
    /// Stop at a line without a document, and at a document that is empty, binary or no UTF-8
    #[arg(long)]
    strict: bool,
    /// Bytes of text that are scored at once
    #[arg(long, value_name = "N", default_value_t = 65536)]
    batch_bytes: usize,
    #[command(flatten)]
    tuned: TunedArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"documents": .., "bytes": .., "shards": .., ..}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    /// Documents written, and their bytes of text.
    documents: u64,
    bytes: u64,
    /// Bytes of those that were scored before.
    bytes_taken_over: u64,
    /// Shards that became complete, and those that were there.
    shards: u64,
    shards_there: u64,
    seconds: f64,
    bytes_per_second: f64,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let (rank, ranks) = (arguments.rank, arguments.ranks);
    if rank >= ranks {
        let problem = format!("--rank: expected less than --ranks, {ranks}, got {rank}");
        return Err(Usage::new(problem, "ranks are counted from 0 on").into());
    }
    let files = files_of(&arguments.sources)?;
    let device = arguments.tuned.apply(arguments.device.open(terminal)?, terminal)?;
    let model = entropy_model(&arguments.model, &device, terminal)?;
    let options = EntropyOptions {
        out: arguments.out.clone(),
        shard_bytes: arguments.shard_mb.saturating_mul(1_000_000),
        rank: arguments.rank,
        rank_count: arguments.ranks,
        on_error: if arguments.strict { OnError::Strict } else { OnError::Skip },
        batch_bytes: arguments.batch_bytes,
    };
    let platform = NativePlatform::new(interrupt::flag().clone());
    let mut job = pollster::block_on(EntropyJob::new(&device, &model, files, options))?;
    let watch = Watch::steps(terminal, "entropies", job.progress().total_file_bytes);
    terminal.note(&format!("scoring on {}", device.name()));
    let (began, mut told) = (platform.monotonic_seconds(), 0);
    loop {
        if interrupt::is_requested() {
            job.leave()?;
            watch.end();
            terminal.note("stopped; the same command goes on from here");
            return Err(Error::Cancelled.into());
        }
        let step = pollster::block_on(job.step())?;
        let progress = job.progress();
        let seconds = platform.monotonic_seconds() - began;
        let scored = progress.text_bytes - progress.known_bytes;
        watch.step(progress.file_bytes, progress.total_file_bytes, None);
        watch.say(&format!(
            "{}, {:.1} kB/s",
            counted(progress.document_count, "document"),
            scored as f64 / seconds.max(1e-9) / 1e3
        ));
        match step {
            EntropyStep::Scored => {}
            EntropyStep::Notes(notes) => {
                for note in notes {
                    watch.note(&format!("warning: {note}"));
                }
            }
            EntropyStep::Completed(path) => watch.note(&format!("wrote {}", path.display())),
            EntropyStep::Finished => break,
        }
        warn_of_distrusted(&device, &mut told, terminal);
    }
    watch.end();
    let progress = job.progress();
    let seconds = platform.monotonic_seconds() - began;
    let scored = progress.text_bytes - progress.known_bytes;
    let output = Output {
        documents: progress.document_count,
        bytes: progress.text_bytes,
        bytes_taken_over: progress.known_bytes,
        shards: progress.shard_count,
        shards_there: progress.known_shard_count,
        seconds,
        bytes_per_second: scored as f64 / seconds.max(1e-9),
    };
    if arguments.json {
        return terminal.print_json(&output);
    }
    if output.shards == 0 && output.shards_there > 0 {
        let all = counted(output.shards_there, "shard");
        return terminal.print(&format!("all {all} were there\n"));
    }
    terminal.print(&format!(
        "documents        {}\nbytes            {}\ntaken over       {}\n\
         shards           {}, {} there before\nbytes a second   {:.0}\n",
        output.documents,
        output.bytes,
        output.bytes_taken_over,
        output.shards,
        output.shards_there,
        output.bytes_per_second
    ))
}

/// The files that sources stand for.
pub fn files_of(sources: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for source in sources {
        files.extend(text_files(source)?);
    }
    Ok(files)
}

/// The entropy model of a directory, on a device.
pub fn entropy_model(
    path: &Path,
    device: &Device,
    terminal: &Terminal,
) -> anyhow::Result<LoadedModel<Device>> {
    let directory = model::open(path, terminal)?;
    let found = pollster::block_on(load_entropy_model(device, &directory))
        .with_context(|| format!("cannot load the model {}", path.display()))?;
    found.ok_or_else(|| {
        let error = Error::model(path.display().to_string(), "there is no entropy model in it");
        error.with_hint("train one with `train_entropy_model = true`").into()
    })
}
