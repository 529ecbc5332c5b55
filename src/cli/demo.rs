//! `blt demo`: the main job, seen from a terminal.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::failure::Usage;
use super::interrupt;
use super::progress::{Figures, Watch};
use super::terminal::Terminal;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::checkpoint::{atomic_write, save_directory};
use blt_wgpu::demo::{Demo, DemoEvent, DemoOptions, DemoOutcome, Record, SHAKESPEARE, Which};
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{ModelSource, OnLimit, Stops, TextStream, patch_lengths};
use blt_wgpu::report::data::{CurvePoint, Replay, Sample};
use blt_wgpu::report::{RunReport, byte_count, html, paint};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Train a small BLT on Shakespeare, in about three minutes on any machine
///
/// Trains an entropy model, calibrates where patches begin, trains a BLT, and measures both on text
/// they have not seen. Leaves a model directory and report.html, a page to look at and to share.
#[derive(clap::Args)]
#[command(after_help = "Example: blt demo\nRepeat:  blt demo --replay blt-demo/record.json")]
pub struct Arguments {
    #[command(flatten)]
    device: DeviceArgument,
    /// Directory to write; one that a demo made is replaced
    #[arg(long, value_name = "DIR", default_value = "blt-demo")]
    out: PathBuf,
    /// About how long it may take; a short demo reads less of the text
    #[arg(long, value_name = "S", default_value_t = 150.0)]
    seconds: f64,
    /// Repeat the run of this record, with the same bits on the same device
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Print one line of JSON: {"bpb": .., "entropy_bpb": .., "model": .., ..}
    #[arg(long)]
    json: bool,
}

/// The record, by which a directory is known as the demo's own.
const RECORD_FILE: &str = "record.json";
const REPORT_FILE: &str = "report.html";
const MODEL_DIRECTORY: &str = "model";
/// Seed of a demo that repeats none.
const SEED: u64 = 1;
/// Bytes that the model writes in the end, and how.
const SAMPLE_BYTES: usize = 240;
const SAMPLE_LEAST: usize = 40;
const SAMPLE_PROMPT: &str = "ROMEO:\n";
const SAMPLE_TEMPERATURE: f32 = 0.8;
const SAMPLE_TOP_P: f32 = 0.95;

#[derive(Serialize)]
struct Output {
    bpb: f64,
    entropy_bpb: f64,
    bytes_per_patch: f64,
    seconds: f64,
    device: String,
    model: PathBuf,
    report: PathBuf,
    record: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let range = 1.0..=1e7;
    if !range.contains(&arguments.seconds) {
        let problem = format!("expected 1 to 10000000, got {}", arguments.seconds);
        let hint = "a demo learns something from 60 seconds on";
        return Err(Usage::new(format!("--seconds: {problem}"), hint).into());
    }
    let replay = arguments.replay.as_deref().map(read_record).transpose()?;
    refuse_foreign(&arguments.out)?;
    // Where nothing can be written it is said now, not when everything is trained.
    let partial = beside(&arguments.out, "partial");
    remove(&partial)?;
    std::fs::create_dir_all(&partial).map_err(|error| Error::io("create", &partial, error))?;
    std::fs::remove_dir(&partial).map_err(|error| Error::io("remove", &partial, error))?;
    let seed = replay.as_ref().map_or(SEED, |record| record.seed);
    let device = arguments.device.open(terminal)?;
    if let Some(record) = &replay
        && record.device != device.name()
    {
        let text = format!("the record is of {}; other devices give other bits", record.device);
        terminal.warn(&text);
    }
    if let Some(record) = &replay
        && record.version != env!("CARGO_PKG_VERSION")
    {
        let text =
            format!("the record is of version {}; others may give other bits", record.version);
        terminal.warn(&text);
    }
    if replay.as_ref().is_some_and(|record| record.variants.is_none()) {
        let text = "the record does not say which variants of kernels it ran; the bits differ if \
                    the device runs others now";
        terminal.warn(text);
    }
    terminal.note(&format!("device: {}", device.name()));
    let begin = Instant::now();
    let clock = move || begin.elapsed().as_secs_f64();
    let options = DemoOptions {
        text: SHAKESPEARE,
        text_name: "Shakespeare",
        seconds: arguments.seconds,
        seed,
        replay,
    };
    let mut demo = Demo::new(&device, &clock, options)?;
    let watch = Watch::steps(terminal, "preparing", 0);
    while !demo.is_done() {
        interrupt::check()?;
        let event = pollster::block_on(demo.step())?;
        show(&event, &watch, terminal);
    }
    watch.end();
    warn_of_distrusted(&device, &mut 0, terminal);
    let outcome = demo.finish();
    let seconds = Duration::from_secs_f64(arguments.seconds);
    let deadline = arguments.replay.is_none().then(|| begin + seconds);
    let output = keep(&device, outcome, &arguments.out, (begin, deadline), terminal)?;
    if arguments.json {
        return terminal.print_json(&output);
    }
    terminal.print(&format!(
        "bits per byte    {:.4}  (entropy model {:.4})\nbytes per patch  {:.3}\nseconds          \
         {:.1}\nmodel            {}\nreport           {}\n",
        output.bpb,
        output.entropy_bpb,
        output.bytes_per_patch,
        output.seconds,
        output.model.display(),
        output.report.display()
    ))
}

fn show(event: &DemoEvent, watch: &Watch, terminal: &Terminal) {
    match event {
        DemoEvent::Started { shape, baselines, extent, all, overrun } => {
            watch.note(&format!("shape:  {shape}"));
            if extent != all {
                watch.note(&format!(
                    "text:   {} of {} to learn from, {} of {} to measure on",
                    byte_count(extent.train_bytes as f64),
                    byte_count(all.train_bytes as f64),
                    byte_count(extent.held_out_bytes as f64),
                    byte_count(all.held_out_bytes as f64),
                ));
            }
            if let Some(seconds) = overrun {
                terminal.warn(&format!(
                    "the least that a demo does takes about {seconds:.1} seconds on this device"
                ));
            }
            for baseline in baselines {
                watch.note(&format!("{:.4} bits per byte  {}", baseline.bpb, baseline.name));
            }
        }
        DemoEvent::Stepped { which, step_index, step_count, point } => {
            watch.name(match which {
                Which::Entropy => "entropy",
                Which::Blt => "BLT    ",
            });
            let figures = point.as_ref().map(figures);
            watch.step(*step_index, *step_count, figures.as_ref());
        }
        DemoEvent::Calibrated { entropy_bpb, threshold, bytes_per_patch, excerpt } => {
            watch.note(&format!("{entropy_bpb:.4} bits per byte  entropy model"));
            watch.note(&format!(
                "threshold {threshold:.4} nats: {bytes_per_patch:.2} bytes a patch"
            ));
            let color = terminal.message_color;
            watch.styled_note(&paint::patches(&excerpt.ids, &excerpt.patch_lengths, color));
        }
        DemoEvent::Trained { bpb, bytes_per_patch } => {
            watch.note(&format!("{bpb:.4} bits per byte  BLT, {bytes_per_patch:.2} bytes a patch"));
        }
    }
}

fn figures(point: &CurvePoint) -> Figures {
    Figures {
        loss_nats: point.loss_nats,
        learning_rate: point.learning_rate,
        gradient_norm: point.gradient_norm,
        bytes_per_second: point.bytes_per_second,
        held_out_bpb: point.held_out_bpb,
        data_share: None,
    }
}

/// Lets the model write, and puts everything where it belongs, all at once.
fn keep(
    device: &Device,
    outcome: DemoOutcome<Device>,
    out: &Path,
    (begin, deadline): (Instant, Option<Instant>),
    terminal: &Terminal,
) -> anyhow::Result<Output> {
    let DemoOutcome { mut report, mut record, entropy, mut blt, config } = outcome;
    blt.config = ModelConfig::Blt(config);
    let loaded = LoadedDirectory { model: blt, patcher: Some(entropy) };
    // A recorded length is written again; a new one ends with the time, but never at once.
    let most = record.sample_bytes.unwrap_or(SAMPLE_BYTES);
    let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let may_go_on = |count: usize| count < most && (count < SAMPLE_LEAST || !is_late());
    let sample = sample(device, &loaded, record.seed, may_go_on, terminal)?;
    record.sample_bytes = Some(sample.ids.len());
    report.samples = vec![sample];
    report.result.seconds = begin.elapsed().as_secs_f64();
    report.program.started_at = started_at(report.result.seconds);
    report.program.command = command_line();
    report.replay = Replay {
        command: format!("blt demo --replay {RECORD_FILE}"),
        file_name: RECORD_FILE.into(),
        record: serde_json::to_value(&record)?,
    };
    let partial = beside(out, "partial");
    remove(&partial)?;
    let saving = save(device, &loaded, &report, &record, &partial);
    if let Err(error) = saving.and_then(|()| replace(&partial, out)) {
        // What was there before is untouched; the reason is worth more than what was made.
        let _ = std::fs::remove_dir_all(&partial);
        return Err(error.context(format!("cannot write {}", out.display())));
    }
    let out = out.canonicalize().with_context(|| format!("cannot find {}", out.display()))?;
    Ok(Output {
        bpb: report.result.bpb,
        entropy_bpb: report.result.entropy_bpb,
        bytes_per_patch: report.result.bytes_per_patch,
        seconds: report.result.seconds,
        device: device.name(),
        model: out.join(MODEL_DIRECTORY),
        report: out.join(REPORT_FILE),
        record: out.join(RECORD_FILE),
    })
}

/// A text of the model, shown when it is written.
fn sample(
    device: &Device,
    loaded: &LoadedDirectory<Device>,
    seed: u64,
    may_go_on: impl Fn(usize) -> bool,
    terminal: &Terminal,
) -> anyhow::Result<Sample> {
    let (temperature, top_p) = (SAMPLE_TEMPERATURE, SAMPLE_TOP_P);
    let options = SamplingOptions { temperature, top_p, ..SamplingOptions::default() };
    let sampler = Sampler::new(options, seed)?;
    let source = pollster::block_on(ModelSource::new(device, loaded, sampler))?;
    let mut stream = TextStream::new(source, &Stops::default(), OnLimit::Slide)?;
    stream.push(SAMPLE_PROMPT.as_bytes());
    let prompt = stream.ids().to_vec();
    let begin = Instant::now();
    let mut text = SAMPLE_PROMPT.to_owned();
    while may_go_on(stream.generated().len()) {
        interrupt::check()?;
        let Some(piece) = pollster::block_on(stream.step())? else { break };
        text.push_str(&piece.text);
    }
    text.push_str(&stream.cancel().text);
    let seconds = begin.elapsed().as_secs_f64();
    terminal.note(&format!("\n{text}\n"));
    let ids: Vec<u32> = stream.generated().iter().map(|event| event.id).collect();
    Ok(Sample {
        prompt_ids: prompt[1..].to_vec(),
        bytes_per_second: Some(ids.len() as f64 / seconds.max(1e-9)),
        ids,
        patch_lengths: patch_lengths(stream.generated()),
        settings: format!("temperature {temperature}, top-p {top_p}, seed {seed}"),
    })
}

fn save(
    device: &Device,
    loaded: &LoadedDirectory<Device>,
    report: &RunReport,
    record: &Record,
    path: &Path,
) -> anyhow::Result<()> {
    let (model, patcher) = (&loaded.model, loaded.patcher.as_ref());
    let directory = path.join(MODEL_DIRECTORY);
    pollster::block_on(save_directory(device, &directory, &model.config, model, patcher))?;
    let text = serde_json::to_string_pretty(record)?;
    atomic_write(path.join(RECORD_FILE), |file| file.write_all(text.as_bytes()))?;
    let page = html::render(report);
    Ok(atomic_write(path.join(REPORT_FILE), |file| file.write_all(page.as_bytes()))?)
}

/// Puts the new directory in the place of the old one.
fn replace(partial: &Path, out: &Path) -> anyhow::Result<()> {
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(|error| Error::io("rename", from, error))
    };
    if !out.exists() {
        return Ok(rename(partial, out)?);
    }
    let old = beside(out, "old");
    remove(&old)?;
    rename(out, &old)?;
    if let Err(error) = rename(partial, out) {
        rename(&old, out)?;
        return Err(error.into());
    }
    remove(&old)
}

/// `.NAME.suffix` in the same directory.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{suffix}"))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error).into())
        }
        _ => Ok(()),
    }
}

/// A directory that no demo made is somebody's work.
fn refuse_foreign(out: &Path) -> blt_wgpu::Result<()> {
    let is_plain = out.file_name().is_some();
    let entries = match std::fs::read_dir(out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_plain => return Ok(()),
        Err(error) => return Err(Error::io("look into", out, error)),
        Ok(entries) => entries.count(),
    };
    if is_plain && (entries == 0 || read_record(&out.join(RECORD_FILE)).is_ok()) {
        return Ok(());
    }
    let problem = "this directory was not made by a demo, so it is not replaced";
    Err(Error::input(out.display().to_string(), problem).with_hint("name another with --out"))
}

fn read_record(path: &Path) -> blt_wgpu::Result<Record> {
    let text = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::input(path.display().to_string(), format!("not the record of a demo: {error}"))
            .with_hint(format!("a demo leaves its record in {RECORD_FILE}"))
    })
}

/// When the run began, that many seconds ago.
fn started_at(seconds: f64) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(blt_wgpu::train::metrics::iso_utc(now.saturating_sub(seconds as u64)))
}

fn command_line() -> String {
    let arguments = std::env::args().skip(1);
    std::iter::once("blt".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_demo_made_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        refuse_foreign(&out).unwrap();
        std::fs::create_dir(&out).unwrap();
        refuse_foreign(&out).unwrap();
        std::fs::write(out.join("thesis.txt"), "years of work").unwrap();
        let error = refuse_foreign(&out).unwrap_err();
        assert!(error.to_string().contains("not made by a demo"));
        std::fs::write(out.join(RECORD_FILE), "{}").unwrap();
        assert!(refuse_foreign(&out).is_err(), "any file of that name is no record");
    }

    #[test]
    fn a_directory_is_replaced_whole() {
        let place = tempfile::tempdir().unwrap();
        let (partial, out) = (place.path().join(".out.partial"), place.path().join("out"));
        for (path, text) in [(&partial, "new"), (&out, "old")] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("model"), text).unwrap();
        }
        replace(&partial, &out).unwrap();
        assert_eq!(std::fs::read_to_string(out.join("model")).unwrap(), "new");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
