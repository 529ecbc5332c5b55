//! A predictor that reads the whole text again for every prediction.
//!
//! Entropies, patches, the model, and of its logits the last row: that is the definition of what is
//! generated (paper §2, spec §14.1). Caches may make it faster and must not change it.

use super::predictor::{Prediction, Predictor};
use crate::blt::config::ModelConfig;
use crate::blt::tables::Row;
use crate::blt::{Batch, LoadedDirectory, PlanSlot, forward_graph};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::Patcher;
use crate::kernels::Step;
use crate::text::{EOS_ID, VOCABULARY_SIZE, check_ids};

/// A model and a text.
pub struct Recompute<'m, E: Engine> {
    engine: &'m E,
    directory: &'m LoadedDirectory<E>,
    patcher: Option<Patcher<'m, E>>,
    forward: PlanSlot<E>,
    ids: Vec<u32>,
}

impl<'m, E: Engine> Recompute<'m, E> {
    /// A predictor that has read nothing.
    ///
    /// # Errors
    /// Settings of patching that mean nothing, or a rule that reads entropies and a directory
    /// without a model that gives them.
    pub fn new(engine: &'m E, directory: &'m LoadedDirectory<E>) -> Result<Self> {
        let patcher = Patcher::of(engine, directory)?;
        let forward = PlanSlot::new("forward", forward_graph);
        Ok(Self { engine, directory, patcher, forward, ids: Vec::new() })
    }
}

impl<E: Engine> Predictor for Recompute<'_, E> {
    fn position_limit(&self) -> usize {
        match &self.directory.model.config {
            ModelConfig::Entropy(config) => config.transformer.max_positions,
            ModelConfig::Blt(config) => {
                config.encoder.max_positions.min(config.decoder.max_positions)
            }
        }
    }

    fn clear(&mut self) {
        self.ids.clear();
    }

    fn push(&mut self, ids: &[u32]) -> Result<()> {
        check_ids(ids)?;
        self.ids.extend_from_slice(ids);
        Ok(())
    }

    async fn predict(&mut self) -> Result<Prediction> {
        let count = self.ids.len();
        if count == 0 {
            return Err(Error::input("prompt", "expected at least one id, got none")
                .with_hint("a text begins with id 1"));
        }
        let cut = match &mut self.patcher {
            None => None,
            Some(patcher) => Some(patcher.cut(&self.ids).await?),
        };
        let cut = cut.unwrap_or_default();
        let row = Row {
            ids: self.ids.clone(),
            targets: vec![EOS_ID; count],
            weights: vec![0.0; count],
            patch_lengths: cut.patch_lengths,
        };
        let model = &self.directory.model;
        let batch = Batch::new(&model.config, std::slice::from_ref(&row))?;
        let step = Step::of(batch.counts);
        let plan = self.forward.get(self.engine, model, &batch.counts).await?;
        self.engine.run(plan, &step, &batch.inputs)?;
        let logits = self.engine.output(plan, "logits", &step).await?;
        Ok(Prediction {
            logits: logits[(count - 1) * VOCABULARY_SIZE as usize..].to_vec(),
            patch_entropy: cut.entropies.last().copied(),
            starts_patch: starts_behind(&row.patch_lengths, count),
        })
    }
}

/// Whether a patch starts behind the last of `count` ids, by lengths that have the virtual token.
fn starts_behind(patch_lengths: &[u32], count: usize) -> bool {
    let Some((&last, before)) = patch_lengths.split_last() else { return false };
    let start: u64 = before.iter().map(|&length| u64::from(length)).sum();
    start == count as u64 && last > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_token_says_whether_a_patch_starts() {
        assert!(starts_behind(&[1, 3, 1], 4));
        assert!(!starts_behind(&[1, 4], 4));
        assert!(starts_behind(&[1, 1], 1));
        assert!(!starts_behind(&[], 4));
    }
}
