//! How a text falls into patches, and how sure the entropy model was of each byte.

use crate::failure::Failure;
use crate::surroundings::{Surroundings, go_on};
use crate::text_limit;
use crate::{Kind, Model, Result};
use blt_wgpu::blt::config::{ModelConfig, PatchingConfig, PatchingMode};
use blt_wgpu::blt::configured_patching;
use blt_wgpu::blt::patching::{Patching, bytes_and_patches, bytes_per_patch, first_patch_of_one};
use blt_wgpu::eval::PreparedScore;
use blt_wgpu::text::encode;
use serde::Deserialize;

/// What to cut by; what is left open, the model says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PatchOptions {
    /// `entropy`, `monotonic`, `combined`, `space`, `static`, `byte` or `bpe`.
    pub mode: Option<String>,
    /// In nats.
    pub threshold: Option<f64>,
    /// In nats, the second one of `combined`.
    pub threshold_add: Option<f64>,
    /// Bytes a patch, for `static`.
    pub patch_size: Option<usize>,
    pub max_patch_length: Option<usize>,
}

/// A text in patches; entry `i` is that of byte `i`.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// In nats, of the prediction of the byte before it is read; one more at the end, of the byte
    /// that would come next. Empty without an entropy model.
    pub entropies: Vec<f32>,
    /// Bytes with which patches begin; the last may be the end of the text, where the next byte
    /// would begin one.
    pub starts: Vec<u32>,
    pub average_length: f64,
}

/// The text that was looked at last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// The text behind BOS.
    ids: Vec<u32>,
    /// Of the prediction after each of them.
    entropies: Vec<f32>,
}

impl Model<'_> {
    /// Cuts a text. Entropies are kept: the same text by another rule costs next to nothing.
    ///
    /// # Errors
    /// Options that mean nothing, a text that is too long, a rule that reads entropies where
    /// nothing gives them; a device that fails; a request to stop.
    pub async fn patches(
        &mut self,
        text: &[u8],
        options: &PatchOptions,
        surroundings: &impl Surroundings,
    ) -> Result<Patches> {
        text_limit::check(text)?;
        let patching = self.patching(options)?;
        let ids = encode(text, true, false);
        let entropies = self.entropies(&ids, surroundings).await?;
        if patching.mode.needs_entropies() && entropies.is_empty() {
            let message = format!("mode {}: the model has no entropy model", patching.mode.name());
            let failure = Failure::new(Kind::Input, message);
            return Err(failure.with_hint("use a mode that needs none: space"));
        }
        let lengths = first_patch_of_one(&patching.patch_lengths(&ids, &entropies)?);
        let (byte_count, patch_count) = bytes_and_patches(ids.len(), &lengths);
        Ok(Patches {
            entropies,
            starts: byte_starts(&lengths),
            average_length: bytes_per_patch(byte_count, patch_count),
        })
    }

    /// Entropy in nats of the prediction after every id; empty without an entropy model.
    pub(crate) async fn entropies(
        &mut self,
        ids: &[u32],
        surroundings: &impl Surroundings,
    ) -> Result<Vec<f32>> {
        let Some(model) = self.loaded.entropy_model() else { return Ok(Vec::new()) };
        // An entropy follows from what stands before it: a text that was longer is known, too.
        if self.kept.ids.starts_with(ids) {
            return Ok(self.kept.entropies[..ids.len()].to_vec());
        }
        let mut entropies = vec![Vec::with_capacity(ids.len())];
        for prepared in PreparedScore::of(&model.config, &[ids], self.score_options)? {
            go_on(surroundings).await?;
            self.scorer.run(self.device, model, &prepared, &mut entropies).await?;
        }
        let entropies = entropies.remove(0);
        self.kept = Kept { ids: ids.to_vec(), entropies: entropies.clone() };
        Ok(entropies)
    }

    /// The rule of the options, where they are silent that of the model.
    pub(crate) fn patching(&self, options: &PatchOptions) -> Result<Patching> {
        let mut rule = match &self.loaded.model.config {
            ModelConfig::Blt(config) => config.patching.clone(),
            ModelConfig::Entropy(_) => PatchingConfig::default(),
        };
        if let Some(name) = &options.mode {
            rule.mode = PatchingMode::from_name(name).ok_or_else(|| {
                let names = PatchingMode::ALL.map(PatchingMode::name).join(", ");
                Failure::new(Kind::Input, format!("mode: expected one of {names}, got {name:?}"))
            })?;
        }
        rule.threshold = options.threshold.unwrap_or(rule.threshold);
        rule.threshold_add = options.threshold_add.or(rule.threshold_add);
        rule.patch_size = options.patch_size.unwrap_or(rule.patch_size);
        rule.max_patch_length = options.max_patch_length.or(rule.max_patch_length);
        if rule.mode == PatchingMode::Combined && rule.threshold_add.is_none() {
            let failure = Failure::new(Kind::Input, "mode combined needs a second threshold");
            return Err(failure.with_hint("set thresholdAdd, in nats"));
        }
        let patching = configured_patching(&rule);
        patching.check()?;
        Ok(patching)
    }
}

/// Bytes with which patches begin, by lengths of ids, of which the first is BOS.
fn byte_starts(lengths: &[u32]) -> Vec<u32> {
    let mut start = 0;
    let starts = lengths.iter().map(|&length| {
        let own = start;
        start += length;
        own
    });
    starts.filter_map(|start| start.checked_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_count_bytes_and_not_bos() {
        // BOS, "ab", "c", what comes next.
        assert_eq!(byte_starts(&[1, 2, 1, 1]), [0, 2, 3]);
        assert_eq!(byte_starts(&[1, 4]), [0]);
    }
}
