//! `blt train`: a run from a configuration, seen from a terminal.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::failure::Usage;
use super::interrupt;
use super::progress::{Figures, Watch};
use super::ranks;
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::bench::peak_flops;
use blt_wgpu::blt::config::{ReferenceEntropyKeys, ReferenceModelKeys};
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::Precision;
use blt_wgpu::platform::NativePlatform;
use blt_wgpu::train::config::{ModelKeys, RunConfig};
use blt_wgpu::train::data::ScoringProgress;
use blt_wgpu::train::metrics::Metrics;
use blt_wgpu::train::ranks::Ranks;
use blt_wgpu::train::run::{Event, Run, Start};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Seconds between attempts to open a device that was lost: a driver that resets it takes some.
const REOPEN_WAITS: [u64; 5] = [1, 2, 5, 10, 20];

/// Train a model from a configuration
///
/// Groups and keys are those of the reference implementation: model, entropy_model, data, optim,
/// checkpoint, logging, eval. Unknown keys are refused with the nearest known one. Ctrl-C, or a
/// request to terminate, saves a checkpoint and ends with exit code 0; --resume goes on from it
/// with the same numbers. A second one ends the program at once.
///
/// Under mpirun, in a build with the feature `mpi`, the processes train one model together, each on
/// a GPU of its machine: grad_acc_steps micro-batches an update are dealt out to all of them.
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
    /// Open the device again when it is lost, this often, and go on from the newest checkpoint
    #[arg(long, value_name = "N", default_value_t = 0)]
    restart_on_loss: u64,
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
    let ranks = ranks::join()?;
    let own_terminal = ranks::terminal(&ranks, terminal);
    let done = with_ranks(arguments, config, &ranks, &own_terminal, terminal);
    match (done, ranks::name(&ranks)) {
        (Err(error), Some(name)) => Err(error.context(name)),
        (done, _) => done,
    }
}

/// The run of this rank. `alarm` shows what every rank may say.
fn with_ranks(
    arguments: &Arguments,
    config: RunConfig,
    ranks: &Arc<Ranks>,
    terminal: &Terminal,
    alarm: &Terminal,
) -> anyhow::Result<()> {
    if arguments.restart_on_loss > 0 {
        let instead = "start all of them again with --resume";
        ranks::only_alone(ranks, "--restart-on-loss", instead)?;
    }
    let local_rank = ranks.place().local_rank;
    let mut start = match (arguments.resume, arguments.elsewhere) {
        (false, _) => Start::Fresh,
        (true, false) => Start::Resume,
        (true, true) => Start::ResumeElsewhere,
    };
    for loss_count in 1.. {
        let device = open(arguments, &config, local_rank, loss_count > 1, alarm)?;
        let each = if ranks.is_alone() { String::new() } else { count_of(ranks) };
        terminal.note(&format!("device: {}{each}", device.name()));
        match train(&device, config.clone(), start, ranks, terminal) {
            Err(error) if is_loss(&error) && loss_count <= arguments.restart_on_loss => {
                terminal.warn(&error.to_string());
                start = start.after_loss(&config)?;
                let most = arguments.restart_on_loss;
                terminal
                    .note(&format!("restart {loss_count} of {most}: the device is opened again"));
            }
            Ok(()) => {
                ranks.finish();
                return Ok(());
            }
            failed => return failed,
        }
    }
    unreachable!("every turn but the last loses a device")
}

fn count_of(ranks: &Ranks) -> String {
    format!(", or one like it, for each of {} ranks", ranks.place().count)
}

/// Opens the device; one that was just lost may take its driver some time.
fn open(
    arguments: &Arguments,
    config: &RunConfig,
    local_rank: usize,
    was_lost: bool,
    terminal: &Terminal,
) -> anyhow::Result<Device> {
    let mut waits = REOPEN_WAITS.iter().take(if was_lost { usize::MAX } else { 0 });
    loop {
        let opened = arguments.device.open_nth(&config.device, local_rank, terminal);
        match (opened, waits.next()) {
            (Ok(device), _) => return arguments.tuned.apply(device, terminal),
            (Err(error), None) => return Err(error),
            (Err(_), Some(&seconds)) => {
                interrupt::check()?;
                std::thread::sleep(Duration::from_secs(seconds));
            }
        }
    }
}

fn is_loss(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Error>().is_some_and(Error::is_loss)
}

/// The run on one device, until it ends or the device is lost.
fn train(
    device: &Device,
    config: RunConfig,
    start: Start,
    ranks: &Arc<Ranks>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let step_count = config.last_step();
    let platform = NativePlatform::new(interrupt::flag().clone());
    let run = Run::with_ranks(device, platform, config, start, Arc::clone(ranks));
    let mut run = pollster::block_on(run)?;
    for warning in run.warnings() {
        terminal.warn(warning);
    }
    if start != Start::Fresh && run.step_count() >= run.last_step() {
        let why = match run.is_hopeless() {
            true => "eval.patience evaluations in a row were no better".to_owned(),
            false => format!("its {step_count} updates are done, a larger `steps` has more"),
        };
        terminal.note(&format!("this run is finished: {why}"));
    }
    if ranks.is_first()
        && let Some(peak) = peak(device, run.config(), terminal)?
    {
        run.set_peak_flops(Some(peak));
        terminal.note(&format!("measured peak: {:.3} TFLOP/s", peak / 1e12));
    }
    let watch = Watch::steps(terminal, "step", step_count);
    watch.begin_at(run.step_count());
    let mut held_out_bpb = None;
    let mut told = 0;
    loop {
        let event = pollster::block_on(run.step())?;
        warn_of_distrusted(device, &mut told, terminal);
        for note in run.take_notes() {
            watch.note(&format!("warning: {note}"));
        }
        match event {
            Event::Step { step, metrics, .. } => {
                let figures = metrics.map(|metrics| figures(&metrics, held_out_bpb));
                watch.step(step, step_count, figures.as_ref());
            }
            Event::Scoring { progress, .. } => watch.say(&scoring(progress.as_ref())),
            Event::Evaluating { scored_count, document_count, .. } => {
                watch.say(&format!(
                    "scoring held-out text: {scored_count} of {document_count} documents"
                ));
            }
            Event::Evaluated { step, score, .. } => {
                let bpb = score.bits_per_byte();
                held_out_bpb = Some(bpb);
                watch.note(&format!("step {step}: {bpb:.4} bits per byte on held-out text"));
            }
            Event::Sampled { step, samples } => {
                for sample in samples {
                    let text = format!("{}{}", sample.prompt, sample.text);
                    watch.note(&format!("step {step}: {text:?}"));
                }
            }
            Event::Saved { step, path } => {
                watch.note(&format!("step {step}: saved in {}", path.display()));
            }
            Event::Stopped { step, path } => {
                watch.end();
                terminal.note(&format!("stopped after step {step}, saved in {}", path.display()));
                terminal.note(&format!("to go on: {}", to_go_on(ranks)));
                return Ok(());
            }
            Event::Finished { step, path } => {
                watch.end();
                if run.is_hopeless() && step < step_count {
                    terminal.note(&format!(
                        "ended after step {step}: eval.patience evaluations in a row were no better"
                    ));
                }
                if let Some((best, bpb)) = run.best() {
                    let path = best.path.display();
                    terminal.note(&format!("best on held-out text: {bpb:.4} in {path}"));
                }
                return terminal.print(&format!("{}\n", path.display()));
            }
        }
    }
}

/// What a run does that waits for the entropy model.
fn scoring(progress: Option<&ScoringProgress>) -> String {
    let Some(ScoringProgress { document, scored_bytes, bytes }) = progress else {
        return "scoring text".to_owned();
    };
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    format!("scoring {document}: {:.1} of {:.1} MB", megabytes(*scored_bytes), megabytes(*bytes))
}

/// What the device computes at best, which speeds are compared with; nothing where that is not
/// wanted, or the device cannot be measured.
///
/// # Errors
/// If the device is lost.
fn peak(device: &Device, config: &RunConfig, terminal: &Terminal) -> anyhow::Result<Option<f64>> {
    if !config.logging.peak {
        return Ok(None);
    }
    let platform = NativePlatform::new(interrupt::flag().clone());
    let has_halves = config.precision == Precision::Mixed;
    match pollster::block_on(peak_flops(device, &platform, has_halves)) {
        Ok(peak) => Ok(Some(peak).filter(|peak| *peak > 0.0)),
        // The run itself sees to it that it stops.
        Err(Error::Cancelled) => Ok(None),
        Err(error) if error.is_loss() => Err(error.into()),
        Err(error) => {
            terminal.warn(&format!("speeds are not compared with a peak: {error}"));
            Ok(None)
        }
    }
}

/// The command that goes on with this run: the one that was given, with `--resume`.
fn to_go_on(ranks: &Ranks) -> String {
    let mut words = Vec::new();
    if !ranks.is_alone() {
        words.extend(["mpirun", "-n", &ranks.place().count.to_string()].map(str::to_owned));
    }
    words.push("blt".to_owned());
    words.extend(std::env::args().skip(1).map(|word| quoted(&word)));
    if words.iter().all(|word| word != "--resume") {
        words.push("--resume".to_owned());
    }
    words.join(" ")
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./=,:+@%".contains(it);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Reads a configuration with its overrides, and what should be said about it.
pub fn read(path: &PathBuf, set: &[String]) -> anyhow::Result<(RunConfig, Vec<String>)> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    let read = |set: &[String]| RunConfig::from_toml(&text, set, model_keys());
    match read(set) {
        // The file alone is none the better: it is at fault.
        Err(error) if !set.is_empty() && read(&[]).is_ok() => {
            let hint = error.hint().unwrap_or("`--set KEY=VALUE` changes a key of the file");
            Err(Usage::new(format!("--set: {error}"), hint).into())
        }
        read => read.with_context(|| format!("{} cannot be used", path.display())),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, expected) in [
            ("steps=40", "steps=40"),
            ("run dir", "'run dir'"),
            ("data.sources=['a.txt']", r"'data.sources=['\''a.txt'\'']'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
