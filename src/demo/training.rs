//! The training of one of the demo's two models.

use crate::blt::tables::Row;
use crate::blt::{Batch, LoadedModel};
use crate::engine::Engine;
use crate::error::Result;
use crate::kernels::optim::train_state;
use crate::random::Random;
use crate::train::schedule::{Schedule, ScheduleKind};
use crate::train::{AdamW, Trainer};

/// The training of one model: rows in a seeded order, one batch after another, epoch after epoch.
pub struct Training<'e, E: Engine> {
    pub trainer: Trainer<'e, E>,
    rows: Vec<Row>,
    order: Vec<usize>,
    next: usize,
    batch_row_count: usize,
    random: Random,
    max_learning_rate: f32,
    /// Of the last step.
    learning_rate: f64,
    /// Optimiser steps done.
    pub step_index: u64,
    /// Optimiser steps to do; the warmup does not depend on it.
    pub step_count: u64,
    /// Targets read so far.
    pub byte_count: u64,
    /// Seconds of the steps that were timed.
    pub step_seconds: Vec<f64>,
    /// Targets and seconds when the figures were last asked for.
    asked: (u64, f64),
}

/// Steps over which the learning rate rises: more than are measured to choose the step count.
const WARMUP_STEPS: u64 = 20;
/// The learning rate falls to this part of its largest value.
const MIN_RATIO: f64 = 0.05;

/// What one step says of itself, as far as the device has been asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepFigures {
    /// Mean over the targets since the figures were last asked for.
    pub loss_nats: f64,
    pub gradient_norm: f64,
    pub learning_rate: f64,
    /// Since the figures were last asked for.
    pub bytes_per_second: f64,
}

impl<'e, E: Engine> Training<'e, E> {
    /// A training that has not begun, of a model with room for it; the rows are shuffled anew every
    /// epoch. `batch_bytes` is about what a step reads, `now` the clock in seconds.
    ///
    /// # Errors
    /// If the device refuses a shader.
    pub async fn new(
        engine: &'e E,
        model: LoadedModel<E>,
        rows: Vec<Row>,
        batch_bytes: usize,
        max_learning_rate: f32,
        random: Random,
        now: f64,
    ) -> Result<Self> {
        let adamw = AdamW { beta2: 0.98, ..AdamW::default() };
        let trainer = Trainer::new(engine, model, &adamw).await?;
        let row_bytes: usize = rows.iter().map(|row| row.ids.len()).sum();
        let mean_bytes = (row_bytes / rows.len().max(1)).max(1);
        let batch_row_count = (batch_bytes / mean_bytes).clamp(1, rows.len().max(1));
        let order = (0..rows.len()).collect();
        let next = rows.len();
        Ok(Self {
            trainer,
            rows,
            order,
            next,
            batch_row_count,
            random,
            max_learning_rate,
            learning_rate: 0.0,
            step_index: 0,
            step_count: u64::MAX,
            byte_count: 0,
            step_seconds: Vec::new(),
            asked: (0, now),
        })
    }

    /// One optimiser step on the next rows.
    ///
    /// # Errors
    /// If a row is too long for the model; if the device has not the memory or is lost.
    pub async fn step(&mut self) -> Result<()> {
        self.learning_rate = self.next_learning_rate();
        let rows = self.next_rows();
        let batch = Batch::new(self.trainer.config(), &rows)?;
        self.trainer.micro(&batch, (1.0 / batch.target_count) as f32).await?;
        self.trainer.update(self.learning_rate as f32)?;
        self.byte_count += batch.target_count as u64;
        self.step_index += 1;
        Ok(())
    }

    /// The same, waited for and timed.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn timed_step(&mut self, clock: &dyn Fn() -> f64) -> Result<f64> {
        let before = clock();
        self.step().await?;
        self.wait().await?;
        let seconds = clock() - before;
        self.step_seconds.push(seconds);
        Ok(seconds)
    }

    /// Figures since the last call, at `now` seconds. Waits for the device.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn figures(&mut self, now: f64) -> Result<StepFigures> {
        let nats = self.trainer.take_nats().await?;
        let state = self.trainer.train_state().await?;
        let (byte_count, seconds) = (self.byte_count - self.asked.0, now - self.asked.1);
        self.asked = (self.byte_count, now);
        Ok(StepFigures {
            loss_nats: nats / byte_count.max(1) as f64,
            gradient_norm: f64::from(state[train_state::GRAD_NORM]),
            learning_rate: self.learning_rate,
            bytes_per_second: byte_count as f64 / seconds.max(1e-9),
        })
    }

    /// Waits until the device has done everything.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn wait(&self) -> Result<()> {
        self.trainer.train_state().await.map(|_| ())
    }

    /// Optimiser steps after which every row has been read once.
    pub fn epoch_step_count(&self) -> u64 {
        self.rows.len().div_ceil(self.batch_row_count) as u64
    }

    fn next_learning_rate(&self) -> f64 {
        // Two more: one for the step that is not given away, one because the cosine jumps to 1 at
        // its very last index (spec §16.2).
        let step_count = self.step_count.max(WARMUP_STEPS).saturating_add(2);
        let mut schedule = Schedule::new(ScheduleKind::Cosine, step_count, WARMUP_STEPS);
        schedule.min_ratio = MIN_RATIO;
        // The multiplier of step 0 is zero; the demo has no step to give away.
        f64::from(self.max_learning_rate) * schedule.multiplier(self.step_index + 1)
    }

    fn next_rows(&mut self) -> Vec<Row> {
        if self.next + self.batch_row_count > self.order.len() {
            self.random.shuffle(&mut self.order);
            self.next = 0;
        }
        let chosen = &self.order[self.next..self.next + self.batch_row_count];
        self.next += self.batch_row_count;
        chosen.iter().map(|&index| self.rows[index].clone()).collect()
    }
}
