//! `blt init`: a model directory with fresh weights.

use super::failure::Usage;
use super::interrupt;
use super::progress::Watch;
use super::terminal::Terminal;
use super::train::model_keys;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::blt::config::{
    BltConfig, ModelConfig, ReferenceEntropyKeys, ReferenceModelKeys, WeightType,
};
use blt_wgpu::blt::init::initialise_range;
use blt_wgpu::blt::parameters::{ParameterSpec, blt_parameters, entropy_parameters};
use blt_wgpu::checkpoint::{AtomicDirectory, ModelWriter, PIECE_ELEMENTS, WriteOptions};
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::run::run_model;
use std::path::PathBuf;

/// Make a model directory with fresh weights
///
/// The configuration is that of `blt train`; its tables `[model]` and `[entropy_model]` count. With
/// both the model carries the entropy model; with `[entropy_model]` alone, or with
/// `train_entropy_model = true`, it is one.
#[derive(clap::Args)]
#[command(after_help = "Example: blt init model.toml --out model --seed 1")]
pub struct Arguments {
    /// Configuration
    config: PathBuf,
    /// Directory to write; it must not hold anything yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of the weights; a seed in the configuration gives way
    #[arg(long, value_name = "S")]
    seed: u64,
    /// Type of the weights: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: WeightType,
    /// Change one value of the configuration: model.dim_global=512
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&arguments.config)
        .map_err(|error| Error::io("read", &arguments.config, error))?;
    let (config, parameters, warnings) = match resolve(&text, &arguments.set) {
        // The file alone is none the better: it is at fault.
        Err(error) if !arguments.set.is_empty() && resolve(&text, &[]).is_ok() => {
            let hint = error.hint().unwrap_or("`--set KEY=VALUE` changes a key of the file");
            return Err(Usage::new(format!("--set: {error}"), hint).into());
        }
        resolved => resolved
            .with_context(|| format!("{} describes no model", arguments.config.display()))?,
    };
    for warning in warnings {
        terminal.warn(&warning);
    }
    let count: u64 = parameters.iter().map(ParameterSpec::element_count).sum();
    write(arguments, &config, &parameters, terminal)?;
    terminal.note(&format!(
        "{} parameters in {} ({}, seed {})",
        blt_wgpu::report::short_count(count as f64),
        arguments.out.display(),
        config.model_type(WeightType::F32),
        arguments.seed
    ));
    Ok(())
}

/// Writes the model piece by piece, so that it may be larger than memory.
fn write(
    arguments: &Arguments,
    config: &ModelConfig,
    parameters: &[ParameterSpec],
    terminal: &Terminal,
) -> anyhow::Result<()> {
    if arguments.dtype.is_blocks() {
        let hint = "make it in bf16, and then use `blt convert --dtype int8`";
        return Err(Usage::new("fresh weights are f32, f16 or bf16", hint).into());
    }
    let directory = AtomicDirectory::create(&arguments.out)?;
    let options = WriteOptions { weights: arguments.dtype, ..WriteOptions::default() };
    let mut writer = ModelWriter::create_with(directory.partial(), config, &options)?;
    let count: u64 = parameters.iter().map(ParameterSpec::element_count).sum();
    let watch = Watch::steps(terminal, "writing", count);
    let mut values = Vec::new();
    let mut written = 0;
    // Both lists are made from the same configuration, in the same order.
    for parameter in parameters {
        for rows in parameter.row_pieces(PIECE_ELEMENTS) {
            interrupt::check()?;
            values.resize(rows.len() * parameter.cols, 0.0);
            let first_index = rows.start as u64 * parameter.cols as u64;
            initialise_range(parameter, arguments.seed, first_index, &mut values);
            writer.push(&parameter.name, &values)?;
            written += values.len() as u64;
            watch.step(written, count, None);
            watch.say(&parameter.name);
        }
    }
    writer.commit()?;
    directory.commit()?;
    Ok(())
}

/// The model of a configuration, and its parameters with the initialisation it asks for.
fn resolve(
    text: &str,
    overrides: &[String],
) -> blt_wgpu::Result<(ModelConfig, Vec<ParameterSpec>, Vec<String>)> {
    let (run, mut warnings) = RunConfig::from_toml(text, overrides, model_keys())?;
    let has_model = is_in(text, overrides, &["model"]);
    let has_entropy_model = is_in(text, overrides, &["entropy_model"]);
    let (config, parameters) = if run.train_entropy_model || (has_entropy_model && !has_model) {
        let keys = ReferenceEntropyKeys::from_table(run.entropy_model)?;
        let options = keys.init_options();
        let parsed = keys.into_config()?;
        warnings.extend(parsed.warnings);
        let parameters = entropy_parameters(&parsed.config, "", &options);
        (ModelConfig::Entropy(parsed.config), parameters)
    } else {
        let mut config = bare_blt(&run, text, overrides, &mut warnings)?;
        if has_entropy_model {
            let parsed = ReferenceEntropyKeys::from_table(run.entropy_model)?.into_config()?;
            warnings.extend(parsed.warnings);
            config.attach_patcher(parsed.config);
        }
        let (keys, _) = ReferenceModelKeys::from_table(run.model)?;
        let parameters = blt_parameters(&config, &keys.init_options());
        (ModelConfig::Blt(config), parameters)
    };
    Ok((config, parameters, warnings))
}

/// The model of `[model]`. It is cut by the rule of `[data.patcher_args]` as in training, or, where
/// that is absent, by the keys of `[model]` itself.
fn bare_blt(
    run: &RunConfig,
    text: &str,
    overrides: &[String],
    warnings: &mut Vec<String>,
) -> blt_wgpu::Result<BltConfig> {
    if is_in(text, overrides, &["data", "patcher_args"]) {
        let made = run_model(run)?;
        warnings.extend(made.warnings);
        return match made.config {
            ModelConfig::Blt(config) => Ok(config),
            ModelConfig::Entropy(_) => unreachable!("the run does not train the entropy model"),
        };
    }
    let (keys, ignored) = ReferenceModelKeys::from_table(run.model.clone())?;
    let parsed = keys.into_config()?;
    warnings.extend(ignored.into_iter().chain(parsed.warnings));
    Ok(parsed.config)
}

/// Whether a configuration has this table, or an override makes it.
fn is_in(text: &str, overrides: &[String], path: &[&str]) -> bool {
    let found = toml::from_str::<toml::Table>(text).is_ok_and(|table| {
        let (first, rest) = path.split_first().expect("a path has a part");
        let value = rest
            .iter()
            .try_fold(table.get(*first), |value, key| Some(value?.as_table()?.get(*key)));
        value.flatten().is_some()
    });
    let inside = format!("{}.", path.join("."));
    found || overrides.iter().any(|it| it.starts_with(&inside))
}
