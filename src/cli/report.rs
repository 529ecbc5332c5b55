//! `blt report`: training runs as one page.

use super::terminal::Terminal;
use super::train::model_keys;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::checkpoint::{Checkpoints, atomic_write};
use blt_wgpu::report::data::{Fact, Sample};
use blt_wgpu::report::runs::TrainingRun;
use blt_wgpu::report::{html, short_count};
use blt_wgpu::text::encode;
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::metrics::parse_lines;
use blt_wgpu::train::run::{SampleLine, parse_samples, run_model};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Show training runs, over each other, as one page
///
/// The page is complete in itself: curves, lengths of patches, what the models wrote, and what the
/// runs were. A run that is still going on is shown up to where it has come.
#[derive(clap::Args)]
#[command(after_help = "Example: blt report blt-run other-run --out runs.html")]
pub struct Arguments {
    /// Directories of runs: `dump_dir`, or `--out` of `blt train`
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let runs = arguments.runs.iter().map(|path| {
        training_run(path).with_context(|| format!("{} cannot be shown", path.display()))
    });
    let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    let page = html::render_runs(&runs);
    atomic_write(&arguments.out, |file| file.write_all(page.as_bytes()))?;
    terminal.print(&format!("{}\n", arguments.out.display()))
}

fn training_run(path: &Path) -> anyhow::Result<TrainingRun> {
    let metrics = path.join("metrics.jsonl");
    let Some(text) = text_of(&metrics)? else {
        let problem = "there is no metrics.jsonl: no run has begun there";
        return Err(Error::input(path.display().to_string(), problem).into());
    };
    let samples = parse_samples(&text_of(&path.join("samples.jsonl"))?.unwrap_or_default())?;
    let last = samples.last().map(|sample| sample.global_step);
    let newest = samples.iter().filter(|sample| Some(sample.global_step) == last);
    let name = path
        .file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    Ok(TrainingRun {
        name,
        facts: facts(path)?,
        lines: parse_lines(&text)?,
        samples: newest.map(sample).collect(),
    })
}

fn text_of(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error).into()),
    }
}

fn sample(line: &SampleLine) -> Sample {
    Sample {
        prompt_ids: encode(line.prompt.as_bytes(), false, false),
        ids: line.ids.clone(),
        patch_lengths: line.patch_lengths.clone(),
        settings: format!("step {}, {}", line.global_step, line.settings),
        bytes_per_second: None,
    }
}

/// What its newest checkpoint says about the run; nothing before there is one.
fn facts(path: &Path) -> anyhow::Result<Vec<Fact>> {
    let Some(checkpoint) = Checkpoints::new(path.join("checkpoints"), None).latest()? else {
        return Ok(Vec::new());
    };
    let Some(text) = text_of(&checkpoint.path.join("config.toml"))? else { return Ok(Vec::new()) };
    let (config, _) = RunConfig::from_toml(&text, &[""; 0], model_keys())?;
    let model = run_model(&config)?;
    let count: usize = model.parameters.iter().map(|spec| spec.rows * spec.cols).sum();
    let (data, optim) = (&config.data, &config.optim);
    let unit = if config.train_entropy_model { "bytes" } else { "patches" };
    let what = if config.train_entropy_model { "entropy model" } else { "BLT" };
    let sources = data.sources.iter().map(|source| source.path.display().to_string());
    let mut facts = vec![
        Fact::new("model", format!("{what}, {} parameters", short_count(count as f64))),
        Fact::new(
            "batch",
            format!(
                "{} x {} rows of {} {unit}",
                config.grad_acc_steps, data.batch_size, data.seq_len
            ),
        ),
        Fact::new("learning rate", format!("{}, {:?}", optim.lr, optim.scheduler)),
        Fact::new("weight decay", optim.weight_decay.to_string()),
        Fact::new("precision", format!("{:?}", config.precision).to_lowercase()),
        Fact::new("texts", sources.collect::<Vec<_>>().join(", ")),
        Fact::new("seed", config.seed.to_string()),
    ];
    let state: serde_json::Value = checkpoint.read_json("train_state.json")?;
    for (name, key) in [("device", "engine"), ("program", "program")] {
        facts.extend(state[key].as_str().map(|value| Fact::new(name, value)));
    }
    Ok(facts)
}
