//! What a run does for the next update while the device is busy with this one.

use super::evaluation::HeldOut;
use super::job::Run;
use crate::engine::Engine;
use crate::error::Result;
use crate::eval::bits_per_byte::BitsPerByte;
use crate::platform::Platform;
use crate::train::data::ScoringProgress;

/// Seconds of scoring after which a run says where it is.
const MOST_SILENT_SECONDS: f64 = 0.5;

/// The same in slices, or documents, where several ranks make the run.
const MOST_SILENT_SLICES: usize = 8;

impl<E: Engine, P: Platform> Run<'_, E, P> {
    /// Makes the micro-batches of the next update; whether they are made, or there is no such
    /// update. Where their text is scored on the fly that may take long: it comes back now and
    /// then, and when somebody wants the run to stop. What goes wrong is said when it is that
    /// update's turn.
    pub(super) async fn prepare_ahead(&mut self) -> bool {
        let started = self.platform.monotonic_seconds();
        let is_made = self.prepare_for_some_time(started).await;
        if self.has_begun {
            let seconds = self.platform.monotonic_seconds() - started;
            self.interval.data_seconds += seconds;
            self.interval.seconds += seconds;
        }
        is_made
    }

    async fn prepare_for_some_time(&mut self, started: f64) -> bool {
        let mut slice_count = 0;
        while self.step < self.last_step() && self.prepared.is_none() {
            if self.preparing.is_empty() {
                self.data_state = self.batches.state();
            }
            if !self.batches.advance().await {
                slice_count += 1;
                if self.is_time_to_speak(started, slice_count) {
                    return false;
                }
                continue;
            }
            match self.batches.next_batch().await {
                Ok(batch) => {
                    let batch = batch.expect("a stream that is read over and over does not end");
                    self.preparing.push(batch);
                }
                Err(error) => self.prepared = Some(Err(error)),
            }
            if self.preparing.len() as u64 == self.config.grad_acc_steps {
                self.prepared = Some(Ok(std::mem::take(&mut self.preparing)));
            }
        }
        true
    }

    /// With the work of an update on its way to the device: makes the batches of the next from
    /// text that was scored behind the update before, and has the device score behind this one what
    /// the update after that will read. So it always has something to do.
    pub(super) async fn look_ahead(&mut self) {
        // No wait for data: the device does what the run is for.
        let mut scored = self.batches.finish_scoring().await;
        if scored.is_ok() {
            self.prepare_ahead().await;
            let started = self.platform.monotonic_seconds();
            scored = self.score_ahead().await;
            let seconds = self.platform.monotonic_seconds() - started;
            self.interval.data_seconds += seconds;
            self.interval.seconds += seconds;
        }
        if let Err(error) = scored {
            self.prepared = Some(Err(error));
        }
    }

    async fn score_ahead(&mut self) -> Result<()> {
        if self.step + 1 >= self.last_step() {
            return Ok(());
        }
        // Rows hold this much at most, so that what is scored does not fall behind.
        let data = &self.config.data;
        let batch_bytes = data.batch_size.saturating_mul(data.max_encoder_seq_length);
        let micro_count = usize::try_from(self.config.grad_acc_steps).unwrap_or(usize::MAX);
        self.batches.score_ahead(batch_bytes.saturating_mul(micro_count)).await
    }

    /// Cuts held-out text into patches before it is scored for the first time; where the entropy
    /// model is, when it has to go on.
    pub(super) async fn cut_held_out(&mut self) -> Result<Option<ScoringProgress>> {
        let started = self.platform.monotonic_seconds();
        for slice_count in 1.. {
            let held_out = self.held_out.as_mut().expect("it is due only where there is a text");
            let progress = held_out.cut(self.batches.entropies_mut()).await?;
            if progress.is_none() || self.is_time_to_speak(started, slice_count) {
                return Ok(progress);
            }
        }
        unreachable!("some document is the last")
    }

    /// Scores held-out documents: the score of all, or nothing when it has to go on.
    pub(super) async fn score_held_out(
        &self,
        held_out: &mut HeldOut<E>,
        started: f64,
    ) -> Result<Option<BitsPerByte>> {
        let model = self.trainer.settled()?;
        for document_count in 1.. {
            let score = held_out.score(self.engine, model, &self.ranks).await?;
            if score.is_some() || self.is_time_to_speak(started, document_count) {
                return Ok(score);
            }
        }
        unreachable!("some document is the last")
    }

    /// Adds the seconds of an update that began then, without those that were added as it waited.
    pub(super) fn count_seconds(&mut self, started: f64, waited_before: f64) {
        let waited = self.interval.data_seconds - waited_before;
        self.interval.seconds += self.platform.monotonic_seconds() - started - waited;
    }

    /// Among other ranks by the count of what was scored since it spoke, which is the same on all
    /// of them: they agree on what comes next before every event, so that all must come to the same
    /// ones.
    pub(super) fn is_time_to_speak(&self, started: f64, slice_count: usize) -> bool {
        if !self.ranks.is_alone() {
            return slice_count >= MOST_SILENT_SLICES;
        }
        let seconds = self.platform.monotonic_seconds() - started;
        seconds >= MOST_SILENT_SECONDS || self.platform.is_stop_requested()
    }
}
