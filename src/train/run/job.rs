//! The run itself: what comes next, and doing it.

use std::path::PathBuf;
use std::sync::Arc;

use super::advice::advised;
use super::best::BestScore;
use super::evaluation::HeldOut;
use super::event_file::EventFile;
use super::figures::MAX_SKIPPED_IN_A_ROW;
use super::interval::{Interval, patch_count};
use super::metrics_file::MetricsFile;
use super::samples::{SampleLine, SamplesFile};
use crate::blt::TableUpdates;
use crate::checkpoint::{Checkpoint, Checkpoints, DirectoryLock};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::bits_per_byte::BitsPerByte;
use crate::kernels::optim::train_state::TrainState;
use crate::platform::Platform;
use crate::train::config::RunConfig;
use crate::train::data::{BatchStream, DataState, DealtBatch, EntropyScorer, ScoringProgress};
use crate::train::flops::{ForwardWork, TRAINING_FACTOR};
use crate::train::metrics::Metrics;
use crate::train::ranks::Ranks;
use crate::train::schedule::Schedule;
use crate::train::{AdamW, Trainer};

/// What a step of a run was.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An update; figures every `logging.freq` updates and where more is measured, on the first
    /// rank.
    Step { step: u64, learning_rate: f64, metrics: Option<Box<Metrics>> },
    /// The entropy model scores text, and the next update, or the evaluation, has to wait for it:
    /// where it is, if it is in a document.
    Scoring { step: u64, progress: Option<ScoringProgress> },
    /// Held-out text is being scored: so many of its documents are.
    Evaluating { step: u64, scored_count: usize, document_count: usize },
    /// Held-out text was scored.
    Evaluated { step: u64, score: BitsPerByte, seconds: f64 },
    /// The model wrote texts, on the first rank.
    Sampled { step: u64, samples: Vec<SampleLine> },
    /// A checkpoint stands there.
    Saved { step: u64, path: PathBuf },
    /// The run was asked to stop; it can be resumed from there.
    Stopped { step: u64, path: PathBuf },
    /// The last update is done and saved there.
    Finished { step: u64, path: PathBuf },
}

/// A training run.
pub struct Run<'e, E: Engine, P: Platform> {
    pub(super) engine: &'e E,
    pub(super) platform: P,
    pub(super) ranks: Arc<Ranks>,
    pub(super) config: RunConfig,
    pub(super) schedule: Schedule,
    pub(super) trainer: Trainer<'e, E>,
    pub(super) batches: BatchStream<Option<EntropyScorer<'e, E>>>,
    pub(super) held_out: Option<HeldOut<E>>,
    pub(super) checkpoints: Checkpoints,
    pub(super) metrics_file: MetricsFile,
    pub(super) event_file: Option<EventFile>,
    pub(super) samples_file: SamplesFile,
    /// Counts the operations of the model.
    pub(super) work: ForwardWork,
    /// Operations of the entropy model for a byte, if one cuts the text.
    pub(super) entropy_flops: Option<u64>,
    /// What the device does at best, operations per second.
    pub(super) peak_flops: Option<f64>,
    pub(super) adamw: AdamW,
    pub(super) table_updates: TableUpdates,
    pub(super) warnings: Vec<String>,
    /// Updates done.
    pub(super) step: u64,
    /// The place in the texts from which update `step` reads: before `prepared`.
    pub(super) data_state: DataState,
    /// The micro-batches of update `step`, or why there are none.
    pub(super) prepared: Option<Result<Vec<DealtBatch>>>,
    /// Those of them that are there while others are still to be made.
    pub(super) preparing: Vec<DealtBatch>,
    /// Whether an update has begun: what is read before is no wait of any.
    pub(super) has_begun: bool,
    pub(super) interval: Interval,
    /// A line that waits for the evaluation of its step.
    pub(super) waiting_line: Option<Metrics>,
    pub(super) patch_count: u64,
    pub(super) applied_count: f32,
    pub(super) skipped_count: f32,
    pub(super) skipped_in_a_row: u64,
    pub(super) evaluated_step: Option<u64>,
    /// Seconds of an evaluation that goes on.
    pub(super) evaluation_seconds: f64,
    /// Whether there is a score of this step that its checkpoint was written without.
    pub(super) has_new_score: bool,
    pub(super) score: BestScore,
    /// What keeps other runs out, until this one has ended.
    pub(super) locks: Vec<DirectoryLock>,
    pub(super) saved: Option<Checkpoint>,
    /// The newest checkpoint that an applied update is known to have followed.
    pub(super) good: Option<PathBuf>,
}

/// What a run is made of when it begins.
pub(super) struct Parts<'e, E: Engine, P> {
    pub engine: &'e E,
    pub platform: P,
    pub ranks: Arc<Ranks>,
    pub config: RunConfig,
    pub trainer: Trainer<'e, E>,
    pub batches: BatchStream<Option<EntropyScorer<'e, E>>>,
    pub held_out: Option<HeldOut<E>>,
    pub checkpoints: Checkpoints,
    pub metrics_file: MetricsFile,
    pub event_file: Option<EventFile>,
    pub samples_file: SamplesFile,
    pub work: ForwardWork,
    pub entropy_flops: Option<u64>,
    pub adamw: AdamW,
    pub table_updates: TableUpdates,
}

impl<'e, E: Engine, P: Platform> Run<'e, E, P> {
    /// Does the next thing and says what it was. After `Stopped` and `Finished` there is nothing
    /// to do and the same is said again.
    ///
    /// # Errors
    /// A text that cannot be read, a disk that refuses, a lost device, or too many updates skipped
    /// in a row. The last checkpoint stays.
    pub async fn step(&mut self) -> Result<Event> {
        let event = self.next().await;
        event.map_err(|error| {
            let saved = self.saved.as_ref().map(|saved| saved.path.as_path());
            advised(error, saved)
        })
    }

    async fn next(&mut self) -> Result<Event> {
        let step = self.step;
        let is_last = step >= self.last_step();
        let is_saved = !self.has_new_score && self.is_saved(step);
        if self.is_stop_requested()? && !(is_last && is_saved) {
            let path = if is_saved { self.saved_path() } else { self.save().await? };
            self.locks.clear();
            return Ok(Event::Stopped { step, path });
        }
        if self.evaluation_is_due(step) && self.evaluated_step != Some(step) {
            return match self.cut_held_out().await? {
                None => self.evaluate().await,
                progress => Ok(Event::Scoring { step, progress }),
            };
        }
        if self.sample_is_due(step) {
            return self.sample().await;
        }
        if !is_saved && (self.has_new_score || self.save_is_due(step)) {
            let path = self.save().await?;
            return Ok(Event::Saved { step, path });
        }
        if is_last {
            self.locks.clear();
            return Ok(Event::Finished { step, path: self.saved_path() });
        }
        if !self.prepare_ahead().await {
            return Ok(Event::Scoring { step, progress: self.batches.progress() });
        }
        self.update().await
    }

    /// Updates done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Updates after which the run is finished: those of the configuration, or those behind it
    /// where scores get no better.
    pub fn last_step(&self) -> u64 {
        match self.is_hopeless() {
            true => self.step,
            false => self.config.last_step(),
        }
    }

    /// Whether the run ends because `eval.patience` is at its end.
    pub fn is_hopeless(&self) -> bool {
        self.score.is_hopeless(self.config.eval.patience)
    }

    /// The checkpoint with the best score on held-out text so far, and its bits per byte.
    pub fn best(&self) -> Option<(Checkpoint, f64)> {
        let checkpoint = self.checkpoints.best().ok()??;
        let bits_per_byte = self.score.bits_per_byte()?;
        (self.score.step() == Some(checkpoint.step)).then_some((checkpoint, bits_per_byte))
    }

    /// The configuration.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Says how many operations per second the device does at best, for figures against that.
    pub fn set_peak_flops(&mut self, flops: Option<f64>) {
        self.peak_flops = flops;
    }

    /// The trainer, for its model.
    pub fn trainer(&self) -> &Trainer<'e, E> {
        &self.trainer
    }

    /// Sentences that the person who runs it should see once.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Sentences about odd documents in the texts since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.batches.take_notes()
    }

    pub(super) fn assemble(parts: Parts<'e, E, P>) -> Self {
        let Parts { engine, platform, config, trainer, batches, .. } = parts;
        Self {
            engine,
            platform,
            ranks: parts.ranks,
            schedule: config.schedule(),
            config,
            trainer,
            data_state: batches.state(),
            batches,
            held_out: parts.held_out,
            checkpoints: parts.checkpoints,
            metrics_file: parts.metrics_file,
            event_file: parts.event_file,
            samples_file: parts.samples_file,
            work: parts.work,
            entropy_flops: parts.entropy_flops,
            peak_flops: None,
            adamw: parts.adamw,
            table_updates: parts.table_updates,
            warnings: Vec::new(),
            step: 0,
            prepared: None,
            preparing: Vec::new(),
            has_begun: false,
            interval: Interval::default(),
            waiting_line: None,
            patch_count: 0,
            applied_count: 0.0,
            skipped_count: 0.0,
            skipped_in_a_row: 0,
            evaluated_step: None,
            evaluation_seconds: 0.0,
            has_new_score: false,
            score: BestScore::default(),
            locks: Vec::new(),
            saved: None,
            good: None,
        }
    }

    async fn update(&mut self) -> Result<Event> {
        let started = self.platform.monotonic_seconds();
        let waited_before = self.interval.data_seconds;
        self.has_begun = true;
        let batches = self.prepared.take().expect("an update follows when it is prepared")?;
        if self.ranks.is_first() {
            self.metrics_file.begin()?;
        }
        let step = self.step + 1;
        let has_line = self.line_is_due(step);
        let target_count: f64 = batches.iter().map(|batch| batch.target_count).sum();
        let loss_weight = if target_count > 0.0 { (1.0 / target_count) as f32 } else { 0.0 };
        let own: Vec<_> = batches.iter().filter_map(|it| it.batch.as_ref()).collect();
        for (index, batch) in own.iter().enumerate() {
            if has_line && index + 1 == own.len() {
                // The sum before the last micro-batch, so that its own loss can be told.
                self.interval.nats += self.trainer.take_nats().await?;
            }
            if index + 1 < own.len() {
                self.trainer.micro(batch, loss_weight).await?;
            } else {
                let clock = || self.platform.monotonic_seconds();
                let exchanged = self.trainer.last_micro(batch, loss_weight, &self.ranks, clock);
                self.interval.exchange_seconds += exchanged.await?;
            }
            self.interval.add(batch);
            self.interval.flops += TRAINING_FACTOR * self.work.flops(batch);
            self.patch_count += patch_count(batch);
        }
        let learning_rate = self.config.optim.lr * self.schedule.multiplier(self.step);
        self.trainer.update(learning_rate as f32)?;
        self.step = step;
        self.data_state = self.batches.state();
        self.interval.step_count += 1;
        self.look_ahead().await;

        let mut metrics = None;
        if has_line || step.is_multiple_of(MAX_SKIPPED_IN_A_ROW) {
            let words = self.trainer.train_state().await?;
            let state = TrainState::read(&words);
            self.count_skipped(&state);
            if has_line {
                let last = batches.last().expect("an update has at least one micro-batch");
                let nats = self.trainer.take_nats().await?;
                self.interval.nats += nats;
                self.count_seconds(started, waited_before);
                let is_own = last.batch.is_some();
                let nats = self.add_up_figures(&words, if is_own { nats } else { 0.0 })?;
                if self.ranks.is_first() {
                    let line = self.line(&state, learning_rate, nats / last.target_count);
                    self.write_line(line.clone())?;
                    metrics = Some(Box::new(line));
                }
            }
            self.check_skipped()?;
        }
        if !has_line {
            self.count_seconds(started, waited_before);
        }
        Ok(Event::Step { step, learning_rate, metrics })
    }

    async fn evaluate(&mut self) -> Result<Event> {
        let started = self.platform.monotonic_seconds();
        let mut held_out = self.held_out.take().expect("it is due only where there is a text");
        let scored = self.score_held_out(&mut held_out, started).await;
        let (scored_count, document_count) = held_out.progress();
        self.held_out = Some(held_out);
        self.evaluation_seconds += self.platform.monotonic_seconds() - started;
        let Some(score) = scored? else {
            return Ok(Event::Evaluating { step: self.step, scored_count, document_count });
        };
        let seconds = std::mem::take(&mut self.evaluation_seconds);
        self.evaluated_step = Some(self.step);
        self.has_new_score = self.is_saved(self.step);
        self.score.add(self.step, score.bits_per_byte());
        if let Some(mut line) = self.waiting_line.take() {
            line.eval_bits_per_byte = Some(score.bits_per_byte());
            line.eval_target_count = Some(score.target_count);
            self.append_line(&line)?;
        }
        Ok(Event::Evaluated { step: self.step, score, seconds })
    }

    async fn save(&mut self) -> Result<PathBuf> {
        if let Some(line) = self.waiting_line.take() {
            self.append_line(&line)?;
        }
        let checkpoint = self.write_checkpoint().await.map_err(|error| match error {
            // A weight that is not finite.
            Error::Model { .. } => error.with_hint(self.way_back()),
            other => other,
        })?;
        let path = checkpoint.path.clone();
        self.saved = Some(checkpoint);
        self.has_new_score = false;
        Ok(path)
    }

    fn is_saved(&self, step: u64) -> bool {
        self.saved.as_ref().is_some_and(|saved| saved.step == step)
    }

    fn saved_path(&self) -> PathBuf {
        let saved = self.saved.as_ref();
        saved.expect("this is asked for behind a checkpoint only").path.clone()
    }

    fn line_is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.config.logging.freq)
            || step >= self.last_step()
            || self.evaluation_is_due(step)
    }

    pub(super) fn evaluation_is_due(&self, step: u64) -> bool {
        let every = self.config.eval_every();
        self.held_out.is_some()
            && step > 0
            && (step.is_multiple_of(every) || step >= self.last_step())
    }

    fn save_is_due(&self, step: u64) -> bool {
        // While updates are skipped the weights stay, and older checkpoints are worth more.
        let is_good = self.skipped_in_a_row == 0;
        let is_best = self.config.checkpoint.best && self.score.step() == Some(step);
        is_good && (is_best || self.config.checkpoint.dump.is_due(step)) || step >= self.last_step()
    }
}
