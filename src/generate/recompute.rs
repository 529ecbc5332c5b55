//! A source that reads the whole text again for every id.
//!
//! Entropies, patches, the model, and of its logits the last row: that is the definition of what is
//! generated (paper §2, spec §14.1). Caches may make it faster and must not change it.

use super::added::Added;
use super::sampling::Sampler;
use super::source::Source;
use crate::blt::tables::Row;
use crate::blt::{LoadedDirectory, PlanSlot, Positions, forward_graph};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::{Cut, Patcher};
use crate::kernels::Step;
use crate::text::{EOS_ID, VOCABULARY_SIZE, check_ids};

/// A model and a text.
pub struct Recompute<'m, E: Engine> {
    engine: &'m E,
    directory: &'m LoadedDirectory<E>,
    patcher: Option<Patcher<'m, E>>,
    forward: PlanSlot<E>,
    sampler: Sampler,
    ids: Vec<u32>,
    origin: u64,
    /// What comes after the last of `ids`, if it has been computed.
    prediction: Option<Prediction>,
}

/// What one pass over a whole text says of it.
pub struct FullPass {
    /// \[ids, 260\].
    pub logits: Vec<f32>,
    /// Entropies and patches; of a model without patches there are none.
    pub cut: Cut,
}

/// What a pass says about the id behind its text.
struct Prediction {
    logits: Vec<f32>,
    entropy: Option<f32>,
    starts_patch: bool,
}

impl<'m, E: Engine> Recompute<'m, E> {
    /// A source without a text.
    ///
    /// # Errors
    /// Settings of patching that mean nothing, or a rule that reads entropies and a directory
    /// without a model that gives them.
    pub fn new(engine: &'m E, directory: &'m LoadedDirectory<E>, sampler: Sampler) -> Result<Self> {
        Ok(Self {
            engine,
            directory,
            patcher: Patcher::of(engine, directory)?,
            forward: PlanSlot::new("forward", forward_graph),
            sampler,
            ids: Vec::new(),
            origin: 0,
            prediction: None,
        })
    }

    async fn predict(&mut self) -> Result<Prediction> {
        // A copy: a step may be dropped before the pass is there.
        let ids = self.ids.clone();
        let (pass, count) = (self.read(&ids).await?, ids.len());
        Ok(Prediction {
            logits: pass.logits_at(count - 1).to_vec(),
            entropy: pass.cut.entropies.last().copied(),
            starts_patch: starts_behind(&pass.cut.patch_lengths, count),
        })
    }

    /// Reads a text, whatever the source stands at.
    ///
    /// # Errors
    /// No ids, or more of them, or of their patches, than the model has positions; a device that
    /// fails.
    pub async fn read(&mut self, ids: &[u32]) -> Result<FullPass> {
        let count = ids.len();
        if count == 0 {
            return Err(Error::input("prompt", "expected at least one id, got none")
                .with_hint("a text begins with id 1"));
        }
        let cut = match &mut self.patcher {
            None => None,
            Some(patcher) => Some(patcher.cut(ids).await?),
        };
        let cut = cut.unwrap_or_default();
        let row = Row {
            ids: ids.to_vec(),
            targets: vec![EOS_ID; count],
            weights: vec![0.0; count],
            patch_lengths: cut.patch_lengths.clone(),
        };
        let model = &self.directory.model;
        let batch = model.batch(std::slice::from_ref(&row))?;
        let step = Step::of(batch.counts);
        let plan = self.forward.get(self.engine, model, &batch.counts).await?;
        self.engine.run_in_turns(plan, &step, &batch.inputs).await?;
        let logits = self.engine.output(plan, "logits", &step).await?;
        Ok(FullPass { logits, cut })
    }
}

impl FullPass {
    /// Logits of what follows the id at this position \[260\].
    pub fn logits_at(&self, position: usize) -> &[f32] {
        let width = VOCABULARY_SIZE as usize;
        &self.logits[position * width..][..width]
    }
}

impl<E: Engine> Source for Recompute<'_, E> {
    fn positions(&self) -> Positions {
        Positions::of(&self.directory.model.config)
    }

    fn begin(&mut self, ids: &[u32], origin: u64) -> Result<()> {
        check_ids(ids)?;
        self.ids.clear();
        self.origin = origin;
        self.push(ids)
    }

    fn push(&mut self, ids: &[u32]) -> Result<()> {
        check_ids(ids)?;
        self.ids.extend_from_slice(ids);
        self.prediction = None;
        Ok(())
    }

    async fn prefill(&mut self) -> Result<()> {
        if self.prediction.is_none() {
            self.prediction = Some(self.predict().await?);
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<Added> {
        self.prefill().await?;
        let prediction = self.prediction.as_ref().expect("it was made in the line above");
        let position = self.origin + self.ids.len() as u64;
        let id = self.sampler.choose(&prediction.logits, &self.ids, position)?;
        let Prediction { logits, entropy, starts_patch } =
            self.prediction.take().expect("it was looked at in the line above");
        self.ids.push(id);
        Ok(Added { id, was_pushed: false, starts_patch, entropy, logits })
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
