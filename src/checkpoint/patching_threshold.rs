//! The threshold of a model on disk, changed in its place.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::atomic::atomic_write;
use crate::blt::config::ModelConfig;
use crate::error::{Error, Result};

const THRESHOLD_KEY: &str = "patching_threshold";

/// Writes the threshold of a BLT that is patched by entropies, in nats, into its `config.json` and
/// gives back the one that stood there. Nothing else changes; the file is the old or the new one.
///
/// # Errors
/// No `config.json`, one that is damaged, a lone entropy model, a BLT that is patched otherwise; a
/// disk that refuses.
pub fn write_patching_threshold(directory: &Path, threshold: f32) -> Result<f64> {
    let path = directory.join("config.json");
    let subject = || path.display().to_string();
    let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
    let config = match ModelConfig::from_json(&text)?.config {
        ModelConfig::Blt(config) => config,
        ModelConfig::Entropy(_) => {
            let problem = "a lone entropy model has no threshold";
            return Err(Error::model(subject(), problem)
                .with_hint("give it to the run as data.patcher_args.threshold"));
        }
    };
    if !config.patching.mode.needs_entropies() {
        let mode = config.patching.mode.name();
        return Err(Error::model(subject(), format!("{mode} patching reads no threshold")));
    }
    let damaged = |problem: String| Error::model(subject(), problem);
    let mut object: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    object.insert(THRESHOLD_KEY.to_owned(), f64::from(threshold).into());
    let text = serde_json::to_string_pretty(&object).map_err(|error| damaged(error.to_string()))?;
    let written = match ModelConfig::from_json(&text)?.config {
        ModelConfig::Blt(written) => written.patching.threshold,
        ModelConfig::Entropy(_) => unreachable!("the kind of model did not change"),
    };
    if written != f64::from(threshold) {
        return Err(damaged(format!("its threshold is not under {THRESHOLD_KEY:?}")));
    }
    atomic_write(&path, |file| file.write_all((text + "\n").as_bytes()))?;
    Ok(config.patching.threshold)
}
