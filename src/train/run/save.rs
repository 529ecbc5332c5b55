//! Writing a checkpoint of a run.

use super::job::Run;
use super::moments::write_moments;
use super::plan::saved_plan;
use super::state::{CONFIG_FILE, PLAN_FILE, STATE_FILE, SavedState};
use crate::blt::LoadedModel;
use crate::blt::config::ModelConfig;
use crate::blt::parameters::{PATCHER_PREFIX, model_parameters};
use crate::checkpoint::{Checkpoint, CheckpointDraft, PIECE_ELEMENTS, atomic_write};
use crate::engine::Engine;
use crate::error::Result;
use crate::platform::Platform;

impl<E: Engine, P: Platform> Run<'_, E, P> {
    /// Writes a checkpoint of the run as it is between two updates, and removes those that are not
    /// to be kept. Until the last rename nothing that was there is touched. The first rank writes,
    /// and the others wait for it.
    ///
    /// # Errors
    /// A disk that refuses, a weight that is not finite, or a lost device.
    pub(super) async fn write_checkpoint(&mut self) -> Result<Checkpoint> {
        // What the device has added up is read now: its sum is not part of the checkpoint.
        self.interval.nats += self.trainer.take_nats().await?;
        self.add_up_figures(&self.trainer.train_state().await?, 0.0)?;
        let model = self.trainer.settled()?;
        let checkpoint = match self.ranks.is_first() {
            true => self.write(model).await?,
            false => self.checkpoints.at(self.step),
        };
        self.wait_for_first()?;
        Ok(checkpoint)
    }

    async fn write(&self, model: &LoadedModel<E>) -> Result<Checkpoint> {
        let draft = self.checkpoints.begin(self.step)?;
        self.write_weights(&draft, model).await?;
        let shard_bytes = self.config.checkpoint.shard_bytes;
        write_moments(self.engine, &draft, model, shard_bytes).await?;
        draft.write_json(STATE_FILE, &self.saved_state().await?)?;
        let capacity = *self.trainer.micro_capacity();
        let plan =
            saved_plan(self.engine, model, capacity, self.table_updates, &self.adamw).await?;
        draft.write_json(PLAN_FILE, &plan)?;
        let config = self.config.to_toml()?;
        atomic_write(draft.path().join(CONFIG_FILE), |file| file.write_all(config.as_bytes()))?;
        let best = self.score.step().filter(|_| self.config.checkpoint.best);
        draft.with_best(best).commit()
    }

    async fn write_weights(&self, draft: &CheckpointDraft, model: &LoadedModel<E>) -> Result<()> {
        let config = &model.config;
        let mut writer = draft.model_writer(config, Some(self.config.checkpoint.shard_bytes))?;
        for spec in model_parameters(config) {
            let in_patcher = match config {
                ModelConfig::Blt(_) => spec.name.strip_prefix(PATCHER_PREFIX),
                ModelConfig::Entropy(_) => None,
            };
            let (of, name) = match (in_patcher, self.batches.entropies().and_then(Option::as_ref)) {
                (Some(name), Some(scorer)) => (&scorer.model, name),
                _ => (model, spec.name.as_str()),
            };
            for rows in spec.row_pieces(PIECE_ELEMENTS) {
                writer.push(&spec.name, &of.read_rows(self.engine, name, rows).await?)?;
            }
        }
        writer.commit()
    }

    async fn saved_state(&self) -> Result<SavedState> {
        let words = self.trainer.train_state().await?;
        Ok(SavedState {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            engine: self.engine.name(),
            step: self.step,
            acc_step: 0,
            schedule: self.schedule,
            data: self.data_state.clone(),
            device_words: words.iter().map(|word| word.to_bits()).collect(),
            patch_count: self.patch_count,
            skipped_in_a_row: self.skipped_in_a_row,
            evaluated_step: self.evaluated_step,
            score: self.score,
            interval: self.interval.saved(),
        })
    }
}
