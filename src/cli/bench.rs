//! `blt bench`: how fast a device is, for machines and for people.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::failure::Usage;
use super::interrupt;
use super::numbers::counted;
use super::processor::processor_name;
use super::progress::Watch;
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::bench::{
    Bench, BenchOptions, BenchRow, BenchShape, Change, Event, PRECISIONS, Part, Profile,
    SHAPE_NAMES, Status, chrome_trace, compare, comparison_table, markdown,
};
use blt_wgpu::blt::config::WeightType;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::{Precision, Recompute};
use blt_wgpu::platform::NativePlatform;
use blt_wgpu::report::html::render_machines;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The names of the parts.
const PARTS: [&str; 7] = ["peaks", "gemm", "kernels", "model", "memory", "train", "generate"];

/// Measure a device: its peaks, products, every kernel, forward passes, training steps and their
/// memory, generation
///
/// Kernels are compared with their oracles before they are timed. Results are rows, a line of JSON
/// each in the file of --json; stdout gets a table in Markdown. What cannot run is a row too, with
/// the reason.
#[derive(clap::Args)]
#[command(after_help = "Example: blt bench train --config s --json rows.jsonl\n\
    Example: blt bench --from a.jsonl --from b.jsonl --html report.html")]
pub struct Arguments {
    /// What to measure; all of it without one
    #[arg(value_name = "PART", value_parser = PARTS)]
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
    /// Types of weights with which texts are generated: f32, f16, bf16, int8, q4
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_value = "f32")]
    weights: Vec<WeightType>,
    /// What training steps compute again to save memory: none, cheap, blocks
    #[arg(
        long, value_name = "WHAT", value_delimiter = ',', default_value = "none",
        value_parser = ["none", "cheap", "blocks"]
    )]
    recompute: Vec<String>,
    /// Samples of everything
    #[arg(long, value_name = "N", default_value_t = 10)]
    reps: usize,
    /// Seconds after which no further sample of one thing is taken
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    seconds: f64,
    /// Of `kernels`, only those whose name contains this
    #[arg(long, value_name = "PART", default_value = "")]
    kernel: String,
    /// Go on with steps for so many seconds, and say whether they become slower
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    soak: f64,
    /// Append rows to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print a table in Markdown, also of rows of --from
    #[arg(long)]
    markdown: bool,
    /// Write one self-contained page of all rows, machines side by side
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print what became of the rows of this file
    #[arg(long, value_name = "BASE")]
    compare: Option<PathBuf>,
    /// Take rows from this file instead of measuring; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["parts", "json", "profile", "device"])]
    from: Vec<PathBuf>,
    /// Print where the time of a step goes, by kernel and by place in the model
    #[arg(long)]
    profile: bool,
    /// Write the profile as a Chrome trace
    #[arg(long, value_name = "FILE", requires = "profile")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    tuned: TunedArgument,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    check(arguments)?;
    // Read first: a file that cannot be read should not cost a benchmark.
    let base = arguments.compare.as_deref().map(read_rows).transpose()?;
    let rows = match arguments.from.is_empty() {
        true => measure(arguments, terminal)?,
        false => {
            let files = arguments.from.iter().map(|path| read_rows(path));
            files.collect::<anyhow::Result<Vec<_>>>()?.concat()
        }
    };
    if let Some(path) = &arguments.html {
        std::fs::write(path, render_machines(&rows))
            .map_err(|error| Error::io("write", path, error))?;
    }
    if arguments.markdown || (base.is_none() && arguments.html.is_none()) {
        terminal.print(&markdown(&rows))?;
    }
    if let Some(base) = base {
        let comparisons = compare(&base, &rows);
        terminal.print(&comparison_table(&comparisons))?;
        if comparisons.is_empty() {
            terminal.warn("no row of the base file was measured: other device, shape or precision");
        }
        let slower = comparisons.iter().filter(|it| it.change == Change::Slower).count();
        if slower > 0 {
            let verb = if slower == 1 { "is" } else { "are" };
            let rows = counted(slower, "row");
            terminal.note(&format!("{rows} {verb} slower than noise explains"));
        }
    }
    let failed = rows.iter().filter(|row| row.status == Status::Failed).count();
    match failed {
        0 => Ok(()),
        1 => anyhow::bail!("a row failed; its reason stands in it"),
        _ => anyhow::bail!("{failed} rows failed; their reasons stand in them"),
    }
}

fn check(arguments: &Arguments) -> anyhow::Result<()> {
    let positive =
        [("--seconds", arguments.seconds, f64::MIN_POSITIVE), ("--soak", arguments.soak, 0.0)];
    for (name, value, least) in positive {
        if !(least..f64::INFINITY).contains(&value) {
            let problem = format!("{name}: expected a number of seconds, got {value}");
            return Err(Usage::new(problem, "for example 60").into());
        }
    }
    if arguments.reps == 0 {
        let hint = "a median wants several: --reps 10";
        return Err(Usage::new("--reps: expected at least 1, got 0", hint).into());
    }
    Ok(())
}

/// Measures, writes rows as they come, and gives them all.
fn measure(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<Vec<BenchRow>> {
    let shapes = arguments.config.iter().map(|name| shape(name)).collect::<anyhow::Result<_>>()?;
    let mut file = arguments.json.as_deref().map(open_to_append).transpose()?;
    let device = arguments.tuned.apply(arguments.device.open(terminal)?, terminal)?;
    terminal.note(&format!("device: {}", device.name()));
    let platform = NativePlatform::new(interrupt::flag().clone());
    let mut bench = Bench::new(&device, platform, &processor_name(), options(arguments, shapes));
    let watch = Watch::spinner(terminal, "benchmark");
    let mut rows = Vec::new();
    loop {
        match pollster::block_on(bench.step())? {
            Event::Began(text) => watch.name(&text),
            Event::Row(row) => {
                if let Some((path, file)) = &mut file {
                    let line = row.to_line()? + "\n";
                    file.write_all(line.as_bytes())
                        .map_err(|error| Error::io("write", &*path, error))?;
                }
                watch.note(&line(&row));
                rows.push(*row);
            }
            Event::Profile(profile) => show(arguments, terminal, &device, &profile)?,
            Event::Finished => {
                watch.end();
                warn_of_distrusted(&device, &mut 0, terminal);
                return Ok(rows);
            }
        }
    }
}

fn options(arguments: &Arguments, shapes: Vec<BenchShape>) -> BenchOptions {
    let wanted = |names: &[String], name: &str| names.iter().any(|it| it == name);
    let parts = Part::NAMES.into_iter();
    let parts =
        parts.filter(|(name, _)| arguments.parts.is_empty() || wanted(&arguments.parts, name));
    let recomputes = Recompute::NAMES.into_iter();
    let recomputes = recomputes.filter(|(name, _)| wanted(&arguments.recompute, name));
    BenchOptions {
        parts: parts.map(|(_, part)| part).collect(),
        shapes,
        precisions: precisions(&arguments.precision),
        weights: arguments.weights.clone(),
        recomputes: recomputes.map(|(_, recompute)| recompute).collect(),
        sample_count: arguments.reps,
        seconds: arguments.seconds,
        kernel: arguments.kernel.clone(),
        profile: arguments.profile,
        soak_seconds: arguments.soak,
    }
}

/// The precisions of these names.
pub fn precisions(names: &[String]) -> Vec<Precision> {
    let wanted = PRECISIONS.into_iter().filter(|(name, _)| names.iter().any(|it| it == name));
    wanted.map(|(_, precision)| precision).collect()
}

/// A named shape, or that of a file.
pub fn shape(name: &str) -> anyhow::Result<BenchShape> {
    if let Some(shape) = BenchShape::named(name) {
        return Ok(shape?);
    }
    let path = Path::new(name);
    let text = std::fs::read_to_string(path).map_err(|error| {
        let names = SHAPE_NAMES.join(", ");
        anyhow::Error::from(Error::io("read", path, error))
            .context(format!("{name} is no shape: expected {names} or a configuration"))
    })?;
    let stem = path.file_stem().map_or(name.into(), |stem| stem.to_string_lossy().into_owned());
    BenchShape::from_toml(&stem, &text).with_context(|| format!("{name} describes no model"))
}

fn open_to_append(path: &Path) -> anyhow::Result<(PathBuf, File)> {
    let file = File::options().create(true).append(true).open(path);
    Ok((path.to_owned(), file.map_err(|error| Error::io("open", path, error))?))
}

fn read_rows(path: &Path) -> anyhow::Result<Vec<BenchRow>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    let rows = BenchRow::parse_lines(&path.display().to_string(), &text)?;
    anyhow::ensure!(!rows.is_empty(), "{} holds no rows", path.display());
    Ok(rows)
}

fn show(
    arguments: &Arguments,
    terminal: &Terminal,
    device: &Device,
    profile: &Profile,
) -> anyhow::Result<()> {
    terminal.print(&format!("{}\n", profile.table()))?;
    let Some(path) = &arguments.trace else { return Ok(()) };
    let text = chrome_trace(profile, &device.name());
    std::fs::write(path, text).map_err(|error| Error::io("write", path, error).into())
}

/// A row for somebody who watches.
fn line(row: &BenchRow) -> String {
    let name = [&row.kind, &row.kernel, &row.variant, &row.shape, &row.precision];
    let name = name.into_iter().filter(|part| !part.is_empty());
    let mut line = name.map(String::as_str).collect::<Vec<_>>().join(" ");
    if let Some(ms) = row.median_ms {
        line.push_str(&format!("  {ms:.4} ms"));
    }
    if let Some(rate) = row.rate {
        line.push_str(&format!("  {rate:.1} {}", row.unit));
    }
    if let Some(percent) = row.percent_of_peak {
        line.push_str(&format!("  {percent:.0} % of peak"));
    }
    match row.status {
        Status::Ok if row.reason.is_empty() => {}
        Status::Ok => line.push_str(&format!("  {}", row.reason)),
        Status::Skipped => line.push_str(&format!("  skipped: {}", row.reason)),
        Status::Failed => line.push_str(&format!("  failed: {}", row.reason)),
    }
    line
}
