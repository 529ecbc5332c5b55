//! `blt calibrate`: the threshold that gives patches of a wanted length.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::entropies::{entropy_model, files_of};
use super::interrupt;
use super::model;
use super::progress::Watch;
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use blt_wgpu::Error;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::configured_patching;
use blt_wgpu::blt::patching::{Calibration, Calibrator, Patching, PatchingMode};
use blt_wgpu::checkpoint::write_patching_threshold;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::eval::Patcher;
use blt_wgpu::text::{DocumentOptions, Documents, OnError, encode};
use serde::Serialize;
use std::path::PathBuf;

/// Find the threshold of entropy at which patches have a wanted length
///
/// Every mode of patching by entropies gets its threshold, and the lengths that others would give.
/// That of the model's own mode is written into its config.json, unless the model is a lone entropy
/// model: give it to the run then, as data.patcher_args.threshold.
#[derive(clap::Args)]
#[command(after_help = "Example: blt calibrate DIR held-out.txt --bytes-per-patch 4.5")]
pub struct Arguments {
    /// Model directory, or the name of a model on the hub: an entropy model, or a model with one
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Texts: .txt, .jsonl, either with .zst or .gz, or .arrow with entropies; directories and
    /// patterns of them
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,
    /// Wanted mean length of a patch
    #[arg(long, value_name = "N", default_value_t = 4.5)]
    bytes_per_patch: f64,
    /// Megabytes of text that are looked at, from the beginning
    #[arg(long, value_name = "MB", default_value_t = 8.0)]
    max_mb: f64,
    /// Threshold in nats of the rise of the entropy, for `combined`; the model's, or else 0
    #[arg(long, value_name = "Y", allow_hyphen_values = true)]
    threshold_add: Option<f32>,
    /// Leave the model as it is
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    tuned: TunedArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"modes": [{"mode": .., "threshold": .., "curve": ..}, ..], ..}
    #[arg(long)]
    json: bool,
}

/// Lengths of the curve.
const CURVE: [f64; 12] = [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0, 12.0];

#[derive(Serialize)]
struct Output {
    /// Bytes of text that were looked at, and documents.
    bytes: u64,
    documents: usize,
    modes: Vec<Mode>,
    /// The mode that was written into the model, and the threshold that stood there.
    written: Option<Written>,
}

#[derive(Serialize)]
struct Written {
    mode: &'static str,
    threshold: f32,
    before: f64,
}

#[derive(Serialize)]
struct Mode {
    mode: &'static str,
    /// The second threshold of `combined`.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_add: Option<f32>,
    #[serde(flatten)]
    found: Point,
    curve: Vec<Point>,
}

/// A threshold in nats, and the mean length that it gives.
#[derive(Clone, Copy, PartialEq, Serialize)]
struct Point {
    threshold: f32,
    bytes_per_patch: f64,
}

impl From<Calibration> for Point {
    fn from(found: Calibration) -> Self {
        Self { threshold: found.threshold, bytes_per_patch: found.bytes_per_patch }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let files = files_of(&arguments.sources)?;
    let options = DocumentOptions { on_error: OnError::Skip, ..Default::default() };
    let documents = Documents::open(&files, options)?;
    let own = match model::open(&arguments.model, terminal)?.config() {
        ModelConfig::Blt(config) => Some(configured_patching(&config.patching)),
        ModelConfig::Entropy(_) => None,
    };
    let device = arguments.tuned.apply(arguments.device.open(terminal)?, terminal)?;
    let (bytes, entropies) = arguments.entropies(documents, &device, terminal)?;
    if entropies.is_empty() {
        let error = Error::input("texts to calibrate on", "there is no text in them");
        return Err(error.with_hint("give files with at least one byte of text").into());
    }
    let threshold_add = arguments.threshold_add.unwrap_or(match own.map(|own| own.mode) {
        Some(PatchingMode::Combined { threshold_add, .. }) => threshold_add,
        _ => 0.0,
    });
    let max_patch_length = own.and_then(|own| own.max_patch_length);
    let wanted = [
        PatchingMode::Entropy { threshold: 0.0 },
        PatchingMode::Monotonic { threshold: 0.0 },
        PatchingMode::Combined { threshold: 0.0, threshold_add },
    ];
    let mut modes = Vec::new();
    for mode in wanted {
        interrupt::check()?;
        let patching = Patching { max_patch_length, ..Patching::new(mode) };
        modes.push(arguments.calibrate(&patching, &entropies)?);
    }
    let mut output = Output { bytes, documents: entropies.len(), modes, written: None };
    if let Some(own) = own.filter(|own| own.mode.needs_entropies() && !arguments.dry_run) {
        output.written = Some(arguments.write(&own, &output.modes)?);
    }
    if arguments.json {
        return terminal.print_json(&output);
    }
    terminal.print(&shown(&output))?;
    match (&output.written, own) {
        (Some(it), _) => terminal.note(&format!(
            "wrote threshold {} of mode {} into {}; it was {}",
            it.threshold,
            it.mode,
            arguments.model.display(),
            it.before
        )),
        (None, None) => terminal.note("for a run: data.patcher_args.threshold"),
        (None, Some(_)) => {}
    }
    Ok(())
}

impl Arguments {
    /// Bytes that were looked at, and entropies of every document; the document that crosses the
    /// limit is the last.
    fn entropies(
        &self,
        documents: Documents,
        device: &Device,
        terminal: &Terminal,
    ) -> anyhow::Result<(u64, Vec<Vec<f32>>)> {
        let model = entropy_model(&self.model, device, terminal)?;
        let rule = Patching::new(PatchingMode::Entropy { threshold: 0.0 });
        let mut patcher = Patcher::new(device, rule, Some(&model))?;
        let most = (self.max_mb.max(0.0) * 1e6) as u64;
        let watch = Watch::steps(terminal, &format!("scoring on {}", device.name()), most);
        let (mut bytes, mut entropies) = (0, Vec::new());
        for document in documents {
            interrupt::check()?;
            let mut document = document?;
            if document.entropies.is_empty() {
                document.text.truncate((most - bytes) as usize);
                let ids = encode(&document.text, true, true);
                entropies.push(pollster::block_on(patcher.entropies(&ids))?);
            } else {
                let stored = document.entropies.iter().map(|entropy| entropy.to_f32());
                entropies.push(stored.collect());
            }
            bytes += document.text.len() as u64;
            watch.step(bytes.min(most), most, None);
            if bytes >= most {
                break;
            }
        }
        watch.end();
        warn_of_distrusted(device, &mut 0, terminal);
        Ok((bytes, entropies))
    }

    fn calibrate(&self, patching: &Patching, entropies: &[Vec<f32>]) -> anyhow::Result<Mode> {
        let calibrator = Calibrator::new(patching, entropies)?;
        let mut curve: Vec<Point> = Vec::new();
        for wanted in CURVE {
            let point = calibrator.at(wanted)?.into();
            // Lengths out of reach give the same end of the range again.
            if curve.last() != Some(&point) {
                curve.push(point);
            }
        }
        let threshold_add = match patching.mode {
            PatchingMode::Combined { threshold_add, .. } => Some(threshold_add),
            _ => None,
        };
        let found = calibrator.at(self.bytes_per_patch)?.into();
        Ok(Mode { mode: patching.mode.name(), threshold_add, found, curve })
    }

    /// Writes the threshold of the model's own mode into it.
    fn write(&self, own: &Patching, modes: &[Mode]) -> anyhow::Result<Written> {
        if !self.model.is_dir() {
            let problem = "a model of the hub is kept as it came";
            let error = Error::model(self.model.display().to_string(), problem);
            return Err(error.with_hint("add --dry-run, or copy it with `blt convert`").into());
        }
        let name = own.mode.name();
        let mode = modes.iter().find(|mode| mode.mode == name).expect("every such mode is there");
        if let (PatchingMode::Combined { threshold_add, .. }, Some(used)) =
            (own.mode, mode.threshold_add)
            && threshold_add != used
        {
            let problem = format!("its second threshold is {threshold_add}, not {used}");
            let error = Error::model(self.model.display().to_string(), problem);
            return Err(error.with_hint("leave out --threshold-add, or add --dry-run").into());
        }
        let threshold = mode.found.threshold;
        let before = write_patching_threshold(&self.model, threshold)?;
        Ok(Written { mode: name, threshold, before })
    }
}

/// A table of thresholds and one of the curves.
fn shown(output: &Output) -> String {
    let mut text = format!("{} bytes in {} documents\n\n", output.bytes, output.documents);
    text += "mode       threshold  bytes per patch\n";
    for mode in &output.modes {
        let Point { threshold, bytes_per_patch } = mode.found;
        text += &format!("{:<10} {threshold:>9.5}  {bytes_per_patch:>15.3}", mode.mode);
        if let Some(add) = mode.threshold_add {
            text += &format!("  where it has risen by more than {add}");
        }
        text.push('\n');
    }
    for mode in &output.modes {
        text += &format!("\n{}\n", mode.mode);
        for Point { threshold, bytes_per_patch } in &mode.curve {
            let bar = "#".repeat((bytes_per_patch * 4.0).round().clamp(0.0, 60.0) as usize);
            text += &format!("{threshold:>9.5}  {bytes_per_patch:>7.3}  {bar}\n");
        }
    }
    text
}
