//! The whole configuration of a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::checkpoint::{CheckpointConfig, EvalConfig, LoggingConfig};
use super::data::{DataConfig, PatchingMode};
use super::ignored;
use super::optim::OptimConfig;
use super::overrides::apply_override;
use super::sample::SampleConfig;
use super::section::{Reading, Section};
use crate::error::{Error, Result};
use crate::graph::{Precision, Recompute};
use crate::train::schedule::Schedule;

/// The keys that the parser of `[model]` and that of `[entropy_model]` know.
#[derive(Clone, Copy, Debug)]
pub struct ModelKeys<'a> {
    pub model: &'a [&'a str],
    pub entropy_model: &'a [&'a str],
}

/// What `blt train` does. In a file every key may be left out but the sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// A name for reports; `blt`.
    pub name: String,
    /// Directory of everything the run writes; `blt-run`.
    pub dump_dir: PathBuf,
    /// Seed of everything that has none of its own; 42.
    pub seed: u64,
    /// Micro-batches whose gradients are added up for an update; 1.
    pub grad_acc_steps: u64,
    /// Updates in the run: what the schedule is drawn over; 1000.
    pub steps: u64,
    /// Updates after which the run stops early; absent: `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Train the model of `[entropy_model]` on bytes instead of that of `[model]`; false.
    pub train_entropy_model: bool,
    /// `auto`, `cpu`, or a part of a device's `backend/name`; auto.
    pub device: String,
    /// `f32` or `mixed`; f32.
    pub precision: Precision,
    /// What the backward pass computes again to save memory: `none`, `cheap` (norms, SwiGLU,
    /// casts), `blocks` (whole blocks); none.
    #[serde(default)]
    pub recompute: Recompute,
    pub data: DataConfig,
    pub optim: OptimConfig,
    pub checkpoint: CheckpointConfig,
    pub logging: LoggingConfig,
    pub eval: EvalConfig,
    #[serde(default)]
    pub sample: SampleConfig,
    /// `[model]`, without the keys that do nothing; parsed by the model's own configuration.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub model: Table,
    /// `[entropy_model]`, likewise.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub entropy_model: Table,
}

impl RunConfig {
    /// Reads the text of a configuration and applies `--set` overrides, in their order. Beside it:
    /// sentences that the person who runs it should see once.
    ///
    /// Single values are checked here; whether a run can be made of them, by [`Self::check`].
    ///
    /// # Errors
    /// `Config` with the full name of the key: unknown, of a wrong type, out of range, or against
    /// another key; or where the text is no TOML.
    pub fn from_toml(
        text: &str,
        overrides: &[impl AsRef<str>],
        keys: ModelKeys<'_>,
    ) -> Result<(Self, Vec<String>)> {
        let mut table: Table =
            toml::from_str(text).map_err(|error| Error::config("TOML", error.to_string()))?;
        for assignment in overrides {
            apply_override(&mut table, assignment.as_ref())?;
        }
        let mut reading = Reading::default();
        let mut config = reading.read(table, |section| Self::read(section, keys))?;
        let mut warnings = Vec::new();
        if !reading.ignored().is_empty() {
            warnings.push(format!("keys without effect here: {}", reading.ignored().join(", ")));
        }
        config.resolve_model_lengths(keys, &mut warnings)?;
        Ok((config, warnings))
    }

    /// What a run of this would do that nobody wants, in a sentence.
    pub fn schedule_warning(&self) -> Option<String> {
        let never_peaks = self.schedule().warmup_count >= self.steps && self.optim.warmup > 0;
        never_peaks.then(|| {
            format!(
                "optim.warmup is {} and steps {}: the learning rate never reaches its peak",
                self.optim.warmup, self.steps
            )
        })
    }

    /// The configuration as TOML, every default written out; reading it gives `self` again.
    ///
    /// # Errors
    /// `Config` when a value has no form in TOML (a seed above 2^63 - 1, a path that is not UTF-8).
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::config("TOML", error.to_string()))
    }

    /// Whether a run can be made of this: what its keys need of each other.
    ///
    /// # Errors
    /// `Config` with the key: no sources, no entropy model where patching needs one, or a schedule
    /// that is not defined.
    pub fn check(&self) -> Result<()> {
        if self.data.sources.is_empty() {
            let problem = "expected at least one path, got none";
            return Err(Error::config("data.sources", problem)
                .with_hint("for example `sources = [\"text.txt\"]` under `[data]`"));
        }
        let patcher = &self.data.patcher_args;
        let needs_entropies = patcher.patching_mode == PatchingMode::Entropy;
        if needs_entropies && patcher.entropy_model_checkpoint_dir.is_none() {
            let subject = "data.patcher_args.entropy_model_checkpoint_dir";
            let problem = "expected a model directory with entropy patching, got none";
            return Err(Error::config(subject, problem)
                .with_hint("train one with `train_entropy_model = true`, or patch by `space`"));
        }
        self.schedule().check()
    }

    /// The learning-rate schedule over the whole run.
    pub fn schedule(&self) -> Schedule {
        self.optim.schedule(self.steps)
    }

    /// The update after which the run stops.
    pub fn last_step(&self) -> u64 {
        self.max_steps.map_or(self.steps, |max_steps| max_steps.min(self.steps))
    }

    /// Where checkpoints go.
    pub fn checkpoint_dir(&self) -> PathBuf {
        self.checkpoint.path.clone().unwrap_or_else(|| self.dump_dir.join("checkpoints"))
    }

    /// Updates from one evaluation on held-out text to the next; 0 is never.
    pub fn eval_every(&self) -> u64 {
        self.eval.every.unwrap_or(self.checkpoint.eval.every)
    }

    fn read(section: &mut Section<'_>, keys: ModelKeys<'_>) -> Result<Self> {
        let precisions = [("f32", Precision::F32), ("mixed", Precision::Mixed)];
        let recomputes = Recompute::NAMES;
        let seed = section.count("seed", 42, ..)?;
        let train_entropy_model = section.flag("train_entropy_model", false)?;
        let config = Self {
            name: section.string("name", "blt")?,
            dump_dir: section.string("dump_dir", "blt-run")?.into(),
            seed,
            grad_acc_steps: section.count("grad_acc_steps", 1, 1..)?,
            steps: section.count("steps", 1000, 1..)?,
            max_steps: section.optional_count("max_steps", ..)?,
            train_entropy_model,
            device: section.string("device", "auto")?,
            precision: section.choice("precision", &precisions)?.unwrap_or_default(),
            recompute: section.choice("recompute", &recomputes)?.unwrap_or_default(),
            data: section
                .within("data", |data| DataConfig::read(data, seed, train_entropy_model))?,
            optim: section.within("optim", OptimConfig::read)?,
            checkpoint: section.within("checkpoint", CheckpointConfig::read)?,
            logging: section.within("logging", LoggingConfig::read)?,
            eval: section.within("eval", EvalConfig::read)?,
            sample: section.within("sample", SampleConfig::read)?,
            model: section.within("model", |model| read_model(model, keys.model))?,
            entropy_model: section
                .within("entropy_model", |model| read_model(model, keys.entropy_model))?,
        };
        section.ignore(ignored::ROOT);
        Ok(config)
    }

    /// Puts the lengths of the rows into the model that trains, which is refused when it says
    /// another number of bytes and corrected when it says another number of patches (spec §18).
    fn resolve_model_lengths(
        &mut self,
        keys: ModelKeys<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        if self.train_entropy_model {
            return Ok(());
        }
        let max_bytes = Value::Integer(self.data.max_encoder_seq_length as i64);
        if let Some(given) = self.model.get("max_encoder_seq_length")
            && *given != max_bytes
        {
            let problem = format!("expected {max_bytes} as in [data], got {given}");
            return Err(Error::config("model.max_encoder_seq_length", problem));
        }
        let seq_len = Value::Integer(self.data.seq_len as i64);
        if let Some(given) = self.model.get("max_seqlen")
            && *given != seq_len
        {
            warnings.push(format!("model.max_seqlen {given} becomes data.seq_len, {seq_len}"));
        }
        for (key, value) in [("max_encoder_seq_length", max_bytes), ("max_seqlen", seq_len)] {
            if keys.model.contains(&key) {
                self.model.insert(key.into(), value);
            }
        }
        Ok(())
    }
}

/// A model's table without the keys that do nothing, unless its parser knows them.
fn read_model(section: &mut Section<'_>, known: &[&str]) -> Result<Table> {
    let table = section.take_rest(known);
    section.ignore(ignored::MODEL);
    Ok(table)
}
