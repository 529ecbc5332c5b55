//! What the model expects at a place of a text.

use crate::surroundings::Surroundings;
use crate::text_limit;
use crate::{Failure, Kind, Model, Result};
use blt_wgpu::blt::Positions;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::patching::first_patch_of_one;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::engine::Engine as _;
use blt_wgpu::kernels::Step;
use blt_wgpu::text::{EOS_ID, VOCABULARY_SIZE, byte_of, encode};
use serde::Serialize;

/// What a model says of the byte at a place, before it has read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// In nats, over all ids.
    pub entropy: f64,
    /// Of the end of the text.
    pub end: f64,
    /// The likeliest bytes, likeliest first.
    pub top: Vec<Likely>,
}

/// A byte and how likely it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Likely {
    pub byte: u8,
    pub probability: f64,
}

/// Bytes that are told of.
const TOP_COUNT: usize = 32;

impl Model<'_> {
    /// What the model, not its entropy model, expects as byte `at` of a text, which may be the one
    /// behind its end. Only what stands before it is read, the last of it that fits the model.
    ///
    /// # Errors
    /// A place outside the text; a device that fails; a request to stop.
    pub async fn distribution(
        &mut self,
        text: &[u8],
        at: usize,
        surroundings: &impl Surroundings,
    ) -> Result<Distribution> {
        text_limit::check(text)?;
        if at > text.len() {
            let message = format!("at: expected a byte in 0..={}, got {at}", text.len());
            return Err(Failure::new(Kind::Input, message));
        }
        let positions = Positions::of(&self.loaded.model.config);
        let mut first = at.saturating_sub(positions.bytes.saturating_sub(1));
        let (ids, patch_lengths) = loop {
            let ids = encode(&text[first..at], true, false);
            let patch_lengths = self.patch_lengths(&ids, surroundings).await?;
            let surplus =
                patch_lengths.len().saturating_sub(positions.patches.unwrap_or(usize::MAX));
            if surplus == 0 {
                break (ids, patch_lengths);
            }
            // Of a text that begins later entropies are others: what is left is cut anew.
            let behind: u32 = patch_lengths[1..=surplus].iter().sum();
            first += (behind as usize).max(1);
        };
        let count = ids.len();
        let (targets, weights) = (vec![EOS_ID; count], vec![0.0; count]);
        let row = Row { ids, targets, weights, patch_lengths };
        let model = &self.loaded.model;
        let batch = model.batch(std::slice::from_ref(&row))?;
        let step = Step::of(batch.counts);
        let plan = self.forward.get(self.device, model, &batch.counts).await?;
        self.device.run(plan, &step, &batch.inputs)?;
        let logits = self.device.output(plan, "logits", &step).await?;
        Ok(Distribution::of(&logits[(count - 1) * VOCABULARY_SIZE as usize..]))
    }

    /// How the model cuts ids, the first of which is no byte; an entropy model has no patches.
    async fn patch_lengths(
        &mut self,
        ids: &[u32],
        surroundings: &impl Surroundings,
    ) -> Result<Vec<u32>> {
        let ModelConfig::Blt(config) = &self.loaded.model.config else { return Ok(Vec::new()) };
        let patching = blt_wgpu::blt::model_patching(config);
        let entropies = match patching.mode.needs_entropies() {
            true => self.entropies(ids, surroundings).await?,
            false => Vec::new(),
        };
        Ok(first_patch_of_one(&patching.patch_lengths(ids, &entropies)?))
    }
}

impl Distribution {
    /// Softmax of one row of logits \[260\].
    fn of(logits: &[f32]) -> Self {
        let wide = || logits.iter().map(|&logit| f64::from(logit));
        let largest = wide().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = wide().map(|logit| (logit - largest).exp()).sum();
        let log_total = largest + total.ln();
        let entropy: f64 = wide().map(|it| it - log_total).map(|it| -it * it.exp()).sum();
        let probability = |id: usize| (f64::from(logits[id]) - log_total).exp();
        let bytes = (0..logits.len()).filter_map(|id| Some((id, byte_of(id as u32)?)));
        let mut top: Vec<Likely> =
            bytes.map(|(id, byte)| Likely { byte, probability: probability(id) }).collect();
        top.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.byte.cmp(&b.byte)));
        top.truncate(TOP_COUNT);
        Self { entropy: entropy.max(0.0), end: probability(EOS_ID as usize), top }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_bytes_come_first() {
        let mut logits = vec![-1e30; VOCABULARY_SIZE as usize];
        logits[4 + 97] = 3_f32.ln();
        logits[4 + 98] = 0.0;
        logits[2] = 0.0;
        let found = Distribution::of(&logits);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert_eq!((found.top[0].byte, found.top[1].byte), (97, 98));
        assert!(near(found.top[0].probability, 0.6) && near(found.top[1].probability, 0.2));
        assert!(near(found.end, 0.2));
        // 0.6, 0.2, 0.2: -0.6 ln 0.6 - 0.4 ln 0.2
        assert!(near(found.entropy, 0.950_270_539), "{}", found.entropy);
    }
}
