//! `blt train`: a run from a configuration, seen from a terminal.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::interrupt;
use super::progress::{Figures, Watch};
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::blt::config::{ReferenceEntropyKeys, ReferenceModelKeys};
use blt_wgpu::engine::Engine;
use blt_wgpu::platform::NativePlatform;
use blt_wgpu::train::config::{ModelKeys, RunConfig};
use blt_wgpu::train::metrics::Metrics;
use blt_wgpu::train::run::{Event, Run, Start};
use std::path::PathBuf;

/// Train a model from a configuration
///
/// Groups and keys are those of the reference implementation: model, entropy_model, data, optim,
/// checkpoint, logging, eval. Unknown keys are refused with the nearest known one. Ctrl-C saves a
/// checkpoint and stops; --resume goes on from it with the same numbers.
#[derive(clap::Args)]
#[command(after_help = "Example: blt train run.toml --set steps=5000 --out run")]
pub struct Arguments {
    /// Configuration
    config: PathBuf,
    /// Change one value of the configuration: optim.lr=1e-3
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Directory of everything the run writes; `dump_dir` of the configuration
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the newest checkpoint
    #[arg(long)]
    resume: bool,
    /// Go on although device, driver or program differ from those the run began with
    ///
    /// The numbers of the run then differ in their last bits from what they would have been.
    #[arg(long, requires = "resume")]
    elsewhere: bool,
    #[command(flatten)]
    tuned: TunedArgument,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let (mut config, warnings) = read(&arguments.config, &arguments.set)?;
    for warning in warnings {
        terminal.warn(&warning);
    }
    if let Some(out) = &arguments.out {
        config.dump_dir = out.clone();
    }
    config.check().with_context(|| format!("{} is no run", arguments.config.display()))?;
    let device = arguments.device.open_or(&config.device, terminal)?;
    let device = arguments.tuned.apply(device, terminal)?;
    terminal.note(&format!("device: {}", device.name()));
    let step_count = config.last_step();
    let start = match (arguments.resume, arguments.elsewhere) {
        (false, _) => Start::Fresh,
        (true, false) => Start::Resume,
        (true, true) => Start::ResumeElsewhere,
    };
    let platform = NativePlatform::new(interrupt::flag().clone());
    let mut run = pollster::block_on(Run::new(&device, platform, config, start))?;
    for warning in run.warnings() {
        terminal.warn(warning);
    }
    let watch = Watch::steps(terminal, "step", step_count);
    watch.begin_at(run.step_count());
    let mut held_out_bpb = None;
    let mut told = 0;
    loop {
        let event = pollster::block_on(run.step())?;
        warn_of_distrusted(&device, &mut told, terminal);
        for note in run.take_notes() {
            watch.note(&format!("warning: {note}"));
        }
        match event {
            Event::Step { step, metrics, .. } => {
                let figures = metrics.map(|metrics| figures(&metrics, held_out_bpb));
                watch.step(step, step_count, figures.as_ref());
            }
            Event::Evaluated { step, score, .. } => {
                let bpb = score.bits_per_byte();
                held_out_bpb = Some(bpb);
                watch.note(&format!("step {step}: {bpb:.4} bits per byte on held-out text"));
            }
            Event::Saved { step, path } => {
                watch.note(&format!("step {step}: saved in {}", path.display()));
            }
            Event::Stopped { step, path } => {
                watch.end();
                let text =
                    format!("stopped after step {step}; --resume goes on from {}", path.display());
                terminal.note(&text);
                return Err(Error::Cancelled.into());
            }
            Event::Finished { path, .. } => {
                watch.end();
                return terminal.print(&format!("{}\n", path.display()));
            }
        }
    }
}

/// Reads a configuration with its overrides, and what should be said about it.
pub fn read(path: &PathBuf, set: &[String]) -> anyhow::Result<(RunConfig, Vec<String>)> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    RunConfig::from_toml(&text, set, model_keys())
        .with_context(|| format!("{} cannot be used", path.display()))
}

/// The keys that the tables of models may have.
pub fn model_keys() -> ModelKeys<'static> {
    ModelKeys {
        model: ReferenceModelKeys::known_keys(),
        entropy_model: ReferenceEntropyKeys::known_keys(),
    }
}

fn figures(metrics: &Metrics, held_out_bpb: Option<f64>) -> Figures {
    Figures {
        loss_nats: metrics.interval_loss.into(),
        learning_rate: metrics.learning_rate,
        gradient_norm: metrics.grad_norm.into(),
        bytes_per_second: metrics.bytes_per_second,
        held_out_bpb: metrics.eval_bits_per_byte.or(held_out_bpb),
        data_share: metrics.data_seconds.map(|data| data / metrics.update_seconds.max(1e-9)),
    }
}
