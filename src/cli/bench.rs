//! `blt bench`: how fast a device is, for machines and for people.

use super::device::DeviceArgument;
use super::interrupt;
use super::progress::Watch;
use super::terminal::Terminal;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::bench::{
    Bench, BenchOptions, BenchRow, BenchShape, Event, PRECISIONS, Part, Profile, SHAPE_NAMES,
    chrome_trace,
};
use blt_wgpu::engine::Engine;
use blt_wgpu::platform::NativePlatform;
use std::path::PathBuf;

/// Measure a device: forward passes and training steps of named shapes
///
/// Results are rows, one line of JSON each in the file of --json; stdout gets a table. What cannot
/// run is a row too, with the reason.
#[derive(clap::Args)]
#[command(after_help = "Example: blt bench train --config s --json rows.jsonl")]
pub struct Arguments {
    /// What to measure: model, train; all without one
    #[arg(value_name = "PART", value_parser = ["model", "train"])]
    parts: Vec<String>,
    /// Shapes: s, m, 1b, or the path of a configuration of `blt train`
    #[arg(long, value_name = "SHAPE", value_delimiter = ',', default_value = "s")]
    config: Vec<String>,
    /// Number types: f32, mixed
    #[arg(
        long, value_name = "PRECISION", value_delimiter = ',', default_value = "f32",
        value_parser = ["f32", "mixed"]
    )]
    precision: Vec<String>,
    /// Samples of everything
    #[arg(long, value_name = "N", default_value_t = 10)]
    reps: usize,
    /// Append rows to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print where the time of a step goes, by kernel and by place in the model
    #[arg(long)]
    profile: bool,
    /// Write the profile as a Chrome trace
    #[arg(long, value_name = "FILE", requires = "profile")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let shapes = arguments.config.iter().map(|name| shape(name)).collect::<anyhow::Result<_>>()?;
    let chosen =
        |name: &str| arguments.parts.is_empty() || arguments.parts.iter().any(|it| it == name);
    let parts = Part::NAMES.into_iter().filter(|(name, _)| chosen(name)).map(|(_, part)| part);
    let options = BenchOptions {
        parts: parts.collect(),
        shapes,
        precisions: PRECISIONS
            .into_iter()
            .filter(|(name, _)| arguments.precision.iter().any(|it| it == name))
            .map(|(_, precision)| precision)
            .collect(),
        sample_count: arguments.reps,
        profile: arguments.profile,
    };
    let device = arguments.device.open(terminal)?;
    terminal.note(&format!("device: {}", device.name()));
    let platform = NativePlatform::new(interrupt::flag().clone());
    let mut bench = Bench::new(&device, platform, &processor_name(), options);
    let watch = Watch::spinner(terminal, "benchmark");
    loop {
        match pollster::block_on(bench.step())? {
            Event::Began(text) => watch.note(&text),
            Event::Row(row) => {
                if let Some(path) = &arguments.json {
                    append(path, &row)?;
                }
                watch.note(&line(&row));
            }
            Event::Profile(profile) => {
                terminal.print(&profile.table())?;
                if let Some(path) = &arguments.trace {
                    write_trace(path, &profile, &device.name())?;
                }
            }
            Event::Finished => return Ok(()),
        }
    }
}

/// A named shape, or that of a file.
fn shape(name: &str) -> anyhow::Result<BenchShape> {
    if let Some(shape) = BenchShape::named(name) {
        return Ok(shape?);
    }
    let path = PathBuf::from(name);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let error = Error::io("read", &path, error);
        anyhow::Error::from(error)
            .context(format!("{name} is neither {} nor a file", SHAPE_NAMES.join(", ")))
    })?;
    let stem = path.file_stem().map_or(name.into(), |stem| stem.to_string_lossy().into_owned());
    BenchShape::from_toml(&stem, &text).with_context(|| format!("{name} describes no model"))
}

fn append(path: &PathBuf, row: &BenchRow) -> anyhow::Result<()> {
    use std::io::Write;
    let line = row.to_line()?;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.map_err(|error| Error::io("open", path, error))?;
    writeln!(file, "{line}").map_err(|error| Error::io("write", path, error).into())
}

fn write_trace(path: &PathBuf, profile: &Profile, device: &str) -> anyhow::Result<()> {
    let text = chrome_trace(profile, device);
    std::fs::write(path, text).map_err(|error| Error::io("write", path, error).into())
}

/// A row for somebody who watches.
fn line(row: &BenchRow) -> String {
    let mut line = format!("{} {} {} {}", row.kind, row.kernel, row.shape, row.precision);
    if let Some(ms) = row.median_ms {
        line.push_str(&format!("  {ms:.3} ms"));
    }
    if let Some(rate) = row.rate {
        line.push_str(&format!("  {rate:.1} {}", row.unit));
    }
    if !row.reason.is_empty() {
        line.push_str(&format!("  {:?}: {}", row.status, row.reason));
    }
    line
}

/// The name of the processor, as the operating system tells it.
fn processor_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let name = model.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
