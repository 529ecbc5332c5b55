//! What a run says about its updates: lines of metrics, and when too many were skipped.

use super::job::Run;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::optim::train_state::TrainState;
use crate::platform::Platform;
use crate::train::data::EntropyScorer;
use crate::train::metrics::{Metrics, iso_utc};

/// Updates skipped in a row, because gradients were not finite, after which a run gives up.
pub const MAX_SKIPPED_IN_A_ROW: u64 = 20;

impl<E: Engine, P: Platform> Run<'_, E, P> {
    /// Takes the figures of the interval and begins the next.
    pub(super) fn line(&mut self, state: &TrainState, learning_rate: f64, loss: f64) -> Metrics {
        let interval = std::mem::take(&mut self.interval);
        // Without a clock there is no speed.
        let per_second = |count: u64| {
            if interval.seconds > 0.0 { count as f64 / interval.seconds } else { 0.0 }
        };
        let step_count = interval.step_count.max(1) as f64;
        let (loss, interval_loss) = (loss as f32, (interval.nats / interval.target_count) as f32);
        let bits = (interval.nats / interval.target_count / std::f64::consts::LN_2) as f32;
        let target_count = interval.target_count as u64;
        // Every byte is scored by the entropy model once.
        let entropy_flops = self.entropy_flops.map(|flops| flops * interval.byte_count);
        let flops = interval.flops + entropy_flops.unwrap_or(0);
        let rate = |flops: u64| (interval.seconds > 0.0).then(|| flops as f64 / interval.seconds);
        let (rank_count, shared) = (self.ranks.place().count as f64, !self.ranks.is_alone());
        let memory = self.trainer.memory();
        let entropies = self.batches.entropies().and_then(Option::as_ref);
        let entropy_bytes = entropies.map_or(0, EntropyScorer::memory_bytes);
        Metrics {
            global_step: self.step,
            acc_step: 0,
            bytes_per_second: per_second(interval.byte_count),
            update_seconds: interval.seconds / step_count,
            data_seconds: Some(interval.data_seconds / step_count),
            // A gradient that is not finite has no length; its update was skipped.
            grad_norm: if state.is_skipped { f32::NAN } else { state.grad_norm },
            learning_rate,
            patch_count: self.patch_count,
            loss,
            loss_across: loss,
            interval_loss,
            interval_loss_across: interval_loss,
            bits_per_byte: bits,
            bits_per_byte_across: bits,
            target_count,
            target_count_across: target_count,
            bytes_per_patch: interval.bytes_per_patch(),
            patch_lengths: interval.counted_lengths(),
            flops_per_second: rate(flops),
            entropy_flops_per_second: entropy_flops.and_then(rate),
            percent_of_peak: self
                .peak_flops
                .zip(rate(flops))
                .map(|(peak, rate)| rate / (peak * rank_count) * 100.0),
            loss_scale: Some(state.loss_scale),
            rank_count: shared.then_some(rank_count as u64),
            sent_bytes: shared.then(|| self.ranks.take_sent_bytes() as f64 / step_count),
            exchange_seconds: shared.then_some(interval.exchange_seconds / step_count),
            skipped_count: Some(state.skipped_steps as u64),
            memory_gib: Some(gib(memory.total() + entropy_bytes)),
            weights_gib: Some(gib(memory.weights)),
            halves_gib: (memory.halves > 0).then(|| gib(memory.halves)),
            gradients_gib: Some(gib(memory.gradients)),
            moments_gib: Some(gib(memory.moments)),
            activations_gib: Some(gib(memory.activations)),
            other_gib: Some(gib(memory.constants + memory.inputs)),
            entropy_model_gib: (entropy_bytes > 0).then(|| gib(entropy_bytes)),
            created_at: iso_utc(self.platform.unix_seconds()),
            ..Metrics::default()
        }
    }

    /// Writes a line, or keeps it for the evaluation that comes next.
    pub(super) fn write_line(&mut self, line: Metrics) -> Result<()> {
        if self.evaluation_is_due(self.step) {
            self.waiting_line = Some(line);
            return Ok(());
        }
        self.append_line(&line)
    }

    /// Writes a line to where all lines go.
    pub(super) fn append_line(&mut self, line: &Metrics) -> Result<()> {
        self.metrics_file.append(line)?;
        let seconds = self.platform.unix_seconds();
        self.event_file.as_mut().map_or(Ok(()), |events| events.append(line, seconds))
    }

    /// How many updates up to now were skipped in a row, as far as the counts tell: between two
    /// looks at them the order is not known, and the fewest are assumed.
    pub(super) fn count_skipped(&mut self, state: &TrainState) {
        let newly_skipped = (state.skipped_steps - self.skipped_count).max(0.0) as u64;
        let was_applied = state.applied_steps > self.applied_count;
        if was_applied && let Some(saved) = &self.saved {
            self.good = Some(saved.path.clone());
        }
        self.skipped_in_a_row = match (state.is_skipped, was_applied) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => self.skipped_in_a_row + newly_skipped,
        };
        self.applied_count = state.applied_steps;
        self.skipped_count = state.skipped_steps;
    }

    pub(super) fn check_skipped(&self) -> Result<()> {
        let count = self.skipped_in_a_row;
        if count < MAX_SKIPPED_IN_A_ROW {
            return Ok(());
        }
        let problem = format!(
            "the last {count} updates up to {} were skipped: gradients were not finite",
            self.step
        );
        Err(Error::input("training", problem).with_hint(self.way_back()))
    }

    /// What to do about weights or gradients that have exploded.
    pub(super) fn way_back(&self) -> String {
        let good = self.good.as_ref().filter(|path| path.is_dir());
        good.map_or_else(
            || "there is no good checkpoint; begin again with a smaller optim.lr".to_owned(),
            |path| {
                let path = path.display();
                format!("the last good checkpoint is {path}; go on from it with a smaller optim.lr")
            },
        )
    }
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}
