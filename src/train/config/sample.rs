//! `[sample]`: texts that the model writes while it trains.

use serde::{Deserialize, Serialize};
use toml::Value;

use super::section::Section;
use crate::error::Result;
use crate::kernels::decode::choose::TEMPERATURES;

/// Texts that the model writes on the way, so that somebody can see how it learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleConfig {
    /// Updates from one time to the next; 0, the default, is never.
    pub every: u64,
    /// What texts begin with, one text for each; one text that begins with nothing.
    pub prompts: Vec<String>,
    /// Most bytes of a text behind its prompt; 128.
    pub bytes: usize,
    /// Logits are divided by this, 0 is the likeliest byte every time; 0.8.
    pub temperature: f64,
    /// Only the likeliest bytes until they sum to this are drawn from, 0 is all; 0.95.
    pub top_p: f64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { every: 0, prompts: vec![String::new()], bytes: 128, temperature: 0.8, top_p: 0.95 }
    }
}

/// Zero, or what the sampler divides logits by.
fn read_temperature(section: &mut Section<'_>, default: f64) -> Result<f64> {
    let temperature = section.number("temperature", default, ..)?;
    if temperature == 0.0 || TEMPERATURES.contains(&(temperature as f32)) {
        return Ok(temperature);
    }
    let expected = "0, or 0.00001 to 100000";
    Err(section.wrong("temperature", expected, &Value::Float(temperature)))
}

impl SampleConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        let prompts = section.strings("prompts")?;
        Ok(Self {
            every: section.count("every", default.every, ..)?,
            prompts: if prompts.is_empty() { default.prompts } else { prompts },
            bytes: section.size("bytes", default.bytes, 1..)?,
            temperature: read_temperature(section, default.temperature)?,
            top_p: section.number("top_p", default.top_p, 0.0..=1.0)?,
        })
    }

    /// Whether texts are written after update `step_count` (from 1).
    pub fn is_due(&self, step_count: u64) -> bool {
        self.every > 0 && step_count > 0 && step_count.is_multiple_of(self.every)
    }
}
