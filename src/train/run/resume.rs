//! Taking a run up from a checkpoint.

use toml::Table;

use super::moments::restore_moments;
use super::plan::{SavedPlan, saved_plan};
use super::state::{CONFIG_FILE, PLAN_FILE, STATE_FILE, SavedState};
use crate::blt::config::{ModelConfig, ReferenceEntropyKeys, ReferenceModelKeys};
use crate::blt::{LoadedModel, TRAIN_STATE, TRAIN_STATE_LENGTH, TableUpdates};
use crate::checkpoint::{Checkpoint, write_weights};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::Tuned;
use crate::train::AdamW;
use crate::train::config::{ModelKeys, RunConfig};

/// What a checkpoint says besides weights and moments.
pub struct Resumed {
    pub state: SavedState,
    pub plan: SavedPlan,
    /// What is not as it was, where the run goes on elsewhere.
    pub difference: Option<String>,
}

/// That the configuration asks for the run that the checkpoint is of.
///
/// How long it goes on, what is said, saved and evaluated on the way, what is computed again and
/// the optimiser may change; model, data and seeds may not.
///
/// # Errors
/// `Config` with the first key that differs; `Model` or `Io` where the checkpoint cannot be read.
pub fn check_config(checkpoint: &Checkpoint, config: &RunConfig) -> Result<()> {
    let path = checkpoint.path.join(CONFIG_FILE);
    let text =
        std::fs::read_to_string(&path).map_err(|problem| Error::io("read", &path, problem))?;
    // Read like any configuration: keys that are newer than the checkpoint have their defaults.
    let keys = ModelKeys {
        model: ReferenceModelKeys::known_keys(),
        entropy_model: ReferenceEntropyKeys::known_keys(),
    };
    let (saved, _) = RunConfig::from_toml(&text, &[""; 0], keys).map_err(|problem| {
        Error::model(path.display().to_string(), format!("not a configuration: {problem}"))
    })?;
    let (saved, now) = (fixed_keys(&saved)?, fixed_keys(config)?);
    match difference("", &saved, &now) {
        None => Ok(()),
        Some((key, saved, now)) => {
            let problem = format!("the run to resume has {saved}, the configuration {now}");
            Err(Error::config(key, problem)
                .with_hint("put it back, or begin a new run in another `dump_dir`"))
        }
    }
}

/// The configuration without the keys that may change.
fn fixed_keys(config: &RunConfig) -> Result<Table> {
    let text = config.to_toml()?;
    let mut table: Table =
        toml::from_str(&text).map_err(|problem| Error::config("TOML", problem.to_string()))?;
    for key in [
        "name",
        "dump_dir",
        "steps",
        "max_steps",
        "device",
        // No bit depends on it.
        "recompute",
        "optim",
        "checkpoint",
        "logging",
        "eval",
        "sample",
    ] {
        table.remove(key);
    }
    if let Some(toml::Value::Table(data)) = table.get_mut("data") {
        // No row depends on these.
        for key in ["valid", "workers", "prefetch_size", "accept_entropies"] {
            data.remove(key);
        }
        // A run that goes on has its entropy model in the checkpoint.
        if let Some(toml::Value::Table(patcher)) = data.get_mut("patcher_args") {
            patcher.remove("entropy_model_checkpoint_dir");
        }
    }
    Ok(table)
}

/// The first key of which the values differ, and both values.
fn difference(prefix: &str, saved: &Table, now: &Table) -> Option<(String, String, String)> {
    let keys = saved.keys().chain(now.keys().filter(|key| !saved.contains_key(*key)));
    for key in keys {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let shown = |value: Option<&toml::Value>| {
            value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        match (saved.get(key), now.get(key)) {
            (Some(toml::Value::Table(saved)), Some(toml::Value::Table(now))) => {
                if let Some(found) = difference(&name, saved, now) {
                    return Some(found);
                }
            }
            (saved, now) if saved == now => {}
            (saved, now) => return Some((name, shown(saved), shown(now))),
        }
    }
    None
}

/// Writes weights, moments and the device's state of a checkpoint into a model, whose micro-batches
/// hold `most_bytes` at most and whose hash tables are updated in this way. A run that goes on
/// `elsewhere` may have other bits.
///
/// # Errors
/// A file that is missing or damaged, another model, a tensor that is missing, of another shape or
/// not finite; not elsewhere, whatever would change the bits of the run.
pub async fn restore<E: Engine>(
    engine: &E,
    model: &mut LoadedModel<E>,
    adamw: &AdamW,
    checkpoint: &Checkpoint,
    most_bytes: usize,
    updates: TableUpdates,
    elsewhere: bool,
) -> Result<Resumed> {
    let files = checkpoint.model()?;
    let place = |name: &str| checkpoint.path.join(name).display().to_string();
    if *files.config() != model.config {
        let problem = "this is another model than the one that config.toml beside it describes";
        return Err(Error::model(place("config.json"), problem));
    }
    let state = saved_state(checkpoint)?;
    if state.device_words.len() != TRAIN_STATE_LENGTH {
        let got = state.device_words.len();
        let problem = format!("device_words: expected {TRAIN_STATE_LENGTH}, got {got}");
        return Err(Error::model(place(STATE_FILE), problem));
    }
    let plan: SavedPlan = checkpoint.read_json(PLAN_FILE)?;
    let table_count = match &model.config {
        ModelConfig::Blt(config) => config.hash.table_count(),
        ModelConfig::Entropy(_) => 0,
    };
    plan.check_capacity(most_bytes, table_count)?;
    let difference = plan.engine.difference(&engine.fingerprint());
    if difference.is_none() {
        // The variants of the run, whatever has been measured since: they are part of its bits.
        model.tuned = Tuned::new(plan.tuned.clone());
    }
    if !elsewhere {
        plan.check_engine(&engine.fingerprint())?;
        plan.check_updates(updates)?;
        // What is computed again may change and changes no bit: compared is what the run did.
        let recompute = std::mem::replace(&mut model.recompute, plan.recompute);
        // What is frozen may change like any setting of the optimiser.
        let frozen = std::mem::replace(&mut model.frozen, plan.frozen.clone());
        let here = saved_plan(engine, model, plan.capacity(), updates, adamw).await?;
        (model.recompute, model.frozen) = (recompute, frozen);
        plan.check(&here)?;
    }

    write_weights(engine, model, &files, "").await?;
    restore_moments(engine, model, checkpoint).await?;
    let words: Vec<_> = state.device_words.iter().map(|&bits| f32::from_bits(bits)).collect();
    model.write(engine, TRAIN_STATE, &words)?;
    Ok(Resumed { state, plan, difference })
}

/// What a checkpoint says of its run; where it cannot be read, by which program it was written.
fn saved_state(checkpoint: &Checkpoint) -> Result<SavedState> {
    checkpoint.read_json(STATE_FILE).map_err(|error| {
        let program = checkpoint.read_json::<serde_json::Value>(STATE_FILE);
        let program = program.ok().and_then(|state| Some(state["program"].as_str()?.to_owned()));
        let here = env!("CARGO_PKG_VERSION");
        match program {
            Some(program) if program != here => error.with_hint(format!(
                "version {program} of the program wrote it, this is {here}: resume with that one"
            )),
            _ => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_in_full() {
        let table = |text: &str| toml::from_str::<Table>(text).unwrap();
        let saved = table("a = 1\n[data]\nseed = 4\nvalid = []\n");
        assert_eq!(difference("", &saved, &saved), None);
        let now = table("a = 1\n[data]\nseed = 5\nvalid = []\n");
        let found = difference("", &saved, &now).unwrap();
        assert_eq!(found, ("data.seed".into(), "4".into(), "5".into()));
        let more = table("a = 1\nb = true\n[data]\nseed = 4\nvalid = []\n");
        let found = difference("", &saved, &more).unwrap();
        assert_eq!(found, ("b".into(), "nothing".into(), "true".into()));
    }
}
