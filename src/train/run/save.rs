//! Writing a checkpoint of a run.

use super::job::Run;
use super::plan::saved_plan;
use super::state::{CONFIG_FILE, OPTIMIZER_FILE, PLAN_FILE, STATE_FILE, SavedState};
use crate::blt::config::ModelConfig;
use crate::blt::parameters::{PATCHER_PREFIX, model_parameters};
use crate::blt::{LoadedModel, MOMENT1, MOMENT2};
use crate::checkpoint::{Checkpoint, CheckpointDraft, atomic_write};
use crate::engine::Engine;
use crate::error::Result;
use crate::platform::Platform;

impl<E: Engine, P: Platform> Run<'_, E, P> {
    /// Writes a checkpoint of the run as it is between two updates, and removes those that are not
    /// to be kept. Until the last rename nothing that was there is touched.
    ///
    /// # Errors
    /// A disk that refuses, a weight that is not finite, or a lost device.
    pub(super) async fn write_checkpoint(&mut self) -> Result<Checkpoint> {
        // What the device has added up is read now: its sum is not part of the checkpoint.
        self.interval.nats += self.trainer.take_nats().await?;
        let model = self.trainer.settled()?;
        let draft = self.checkpoints.begin(self.step)?;
        self.write_weights(&draft, model).await?;
        self.write_moments(&draft, model).await?;
        draft.write_json(STATE_FILE, &self.saved_state().await?)?;
        let capacity = *self.trainer.micro_capacity();
        let plan =
            saved_plan(self.engine, model, capacity, self.table_updates, &self.adamw).await?;
        draft.write_json(PLAN_FILE, &plan)?;
        let config = self.config.to_toml()?;
        atomic_write(draft.path().join(CONFIG_FILE), |file| file.write_all(config.as_bytes()))?;
        draft.commit()
    }

    async fn write_weights(&self, draft: &CheckpointDraft, model: &LoadedModel<E>) -> Result<()> {
        let config = &model.config;
        let mut writer = draft.model_writer(config)?;
        for spec in model_parameters(config) {
            let in_patcher = match config {
                ModelConfig::Blt(_) => spec.name.strip_prefix(PATCHER_PREFIX),
                ModelConfig::Entropy(_) => None,
            };
            let values = match (in_patcher, self.batches.entropies().and_then(Option::as_ref)) {
                (Some(name), Some(scorer)) => scorer.model.read(self.engine, name).await?,
                _ => model.read(self.engine, &spec.name).await?,
            };
            writer.push(&spec.name, &values)?;
        }
        writer.commit()
    }

    async fn write_moments(&self, draft: &CheckpointDraft, model: &LoadedModel<E>) -> Result<()> {
        let both = |spec: &crate::blt::parameters::ParameterSpec| {
            [MOMENT1, MOMENT2].map(|class| (format!("{}.{class}", spec.name), spec.shape()))
        };
        let tensors: Vec<_> = model.parameters.iter().flat_map(both).collect();
        let mut writer = draft.tensor_writer(OPTIMIZER_FILE, &tensors)?;
        for (name, _) in &tensors {
            writer.push(name, &model.read(self.engine, name).await?)?;
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
            interval: self.interval.saved(),
        })
    }
}
