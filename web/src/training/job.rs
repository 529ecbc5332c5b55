//! A training as a state machine.

use super::options::TrainOptions;
use super::preset::preset;
use crate::model::NamedFile;
use crate::surroundings::{Surroundings, go_on};
use crate::{Failure, Kind, Result};
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::patching::{
    Patching, PatchingMode, bytes_and_patches, bytes_per_patch, calibrate_threshold,
};
use blt_wgpu::blt::{LoadedDirectory, LoadedModel};
use blt_wgpu::checkpoint::directory_files;
use blt_wgpu::demo::{Shape, Training as RowTraining, entropy_rows, packed_rows};
use blt_wgpu::device::Device;
use blt_wgpu::eval::{PreparedScore, ScoreOptions, ScoredDocument, Scorer};
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{ModelSource, OnLimit, Stops, TextStream};
use blt_wgpu::random::Random;
use blt_wgpu::text::{BOS_ID, Part, encode};
use serde::Serialize;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The entropy model learns.
    Entropy,
    /// The text is cut into patches by it.
    Cut,
    /// The model learns.
    Blt,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainStep {
    pub phase: Phase,
    /// Steps done, of both models, and how many there will be.
    pub step: u64,
    pub step_count: u64,
    /// Nats a target of this step's rows; of the last one where the text was cut.
    pub loss: f64,
    /// The same in bits.
    pub bpb: f64,
    pub gradient_norm: f64,
    pub learning_rate: f64,
    pub bytes_per_second: f64,
    pub step_ms: f64,
    /// Bits per byte of text that is not learnt, where it was measured.
    pub held_out_bpb: Option<f64>,
    /// What the model wrote, where it was asked to.
    pub sample: Option<String>,
    /// Where the text was cut: the threshold in nats, and what it gives.
    pub threshold: Option<f32>,
    pub bytes_per_patch: Option<f64>,
}

/// A training that is under way.
pub struct Training<'d> {
    device: &'d Device,
    options: TrainOptions,
    shape: Shape,
    train_ids: Vec<u32>,
    held_out_ids: Vec<u32>,
    stage: Stage<'d>,
    /// Of the last step.
    last: Option<TrainStep>,
}

/// What is trained now, and what is done.
enum Stage<'d> {
    Entropy(Box<RowTraining<'d, Device>>),
    Blt(Box<BltStage<'d>>),
    /// A step was dropped half way, or failed.
    Broken,
}

struct BltStage<'d> {
    entropy: LoadedModel<Device>,
    training: RowTraining<'d, Device>,
    held_out_lengths: Vec<u32>,
}

/// The least of a text from which rows and held-out text can be made.
const LEAST_TEXT_BYTES: usize = 1000;
/// The most that is taken in.
const MOST_TEXT_BYTES: usize = 32 << 20;
/// Held-out text that is measured while training.
const HELD_OUT_BYTES: usize = 8192;
/// The least that is learnt from, where there is so much: few steps read it many times.
const LEAST_LEARNT_BYTES: usize = 1 << 16;
/// What the threshold is calibrated to.
const BYTES_PER_PATCH: f64 = 4.5;
/// Positions of a window, and of a replay, when scoring.
const CONTEXT: usize = 1024;
/// Of the texts that the model writes.
const SAMPLE_TEMPERATURE: f32 = 0.8;
/// Random streams of the order of the rows, as in the demo.
const ENTROPY_STREAM: u64 = 1;
const BLT_STREAM: u64 = 2;

impl<'d> Training<'d> {
    /// A training in front of its first step; the last tenth of the text is held out.
    ///
    /// # Errors
    /// Options that mean nothing; a text that is too short or too long; a device without room.
    pub async fn new(
        device: &'d Device,
        text: &[u8],
        options: TrainOptions,
        surroundings: &impl Surroundings,
    ) -> Result<Self> {
        options.check()?;
        check_text(text)?;
        let mut shape = preset(&options.preset)?;
        shape.batch_bytes = options.batch_bytes.unwrap_or(shape.batch_bytes);
        if let Some(rate) = options.learning_rate {
            shape.entropy_learning_rate *= rate / shape.blt_learning_rate;
            shape.blt_learning_rate = rate;
        }
        let steps = options.steps.max(options.entropy_step_count());
        let read = (steps as usize).saturating_mul(shape.batch_bytes).max(LEAST_LEARNT_BYTES);
        let cut = |part: &Part, most: usize| -> Result<Vec<u32>> {
            let own = &text[part.range_in(text.len())?];
            Ok(encode(&own[..own.len().min(most)], true, true))
        };
        let train_ids = cut(&Part::ALL_BUT_LAST_TENTH, read)?;
        let held_out_ids = cut(&Part::LAST_TENTH, HELD_OUT_BYTES)?;
        let model = ModelConfig::Entropy(shape.entropy_config());
        let model = LoadedModel::create(device, model, true).await?;
        model.initialise(device, options.seed)?;
        let rows = entropy_rows(&train_ids, &shape)?;
        let (bytes, rate) = (shape.batch_bytes, shape.entropy_learning_rate);
        let random = Random::new(options.seed, ENTROPY_STREAM);
        let now = surroundings.monotonic_seconds();
        let mut training = RowTraining::new(device, model, rows, bytes, rate, random, now).await?;
        training.step_count = options.entropy_step_count();
        let stage = Stage::Entropy(Box::new(training));
        Ok(Self { device, options, shape, train_ids, held_out_ids, stage, last: None })
    }

    /// One step, or the text cut; `None` when all steps are done.
    ///
    /// # Errors
    /// A device that fails: the training cannot go on then. A request to stop while the text is
    /// cut: it is cut anew by the next call.
    pub async fn step(&mut self, surroundings: &impl Surroundings) -> Result<Option<TrainStep>> {
        let begin = surroundings.monotonic_seconds();
        let mut step = match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Entropy(training) if training.step_index >= training.step_count => {
                self.cut(training, surroundings).await?
            }
            Stage::Entropy(mut training) => {
                let step = self.train(&mut training, Phase::Entropy, surroundings).await?;
                self.stage = Stage::Entropy(training);
                step
            }
            Stage::Blt(stage) if stage.training.step_index >= stage.training.step_count => {
                self.stage = Stage::Blt(stage);
                return Ok(None);
            }
            Stage::Blt(mut stage) => {
                let mut step = self.train(&mut stage.training, Phase::Blt, surroundings).await?;
                self.look(&stage, &mut step, surroundings).await?;
                self.stage = Stage::Blt(stage);
                step
            }
            Stage::Broken => {
                let failure = Failure::new(Kind::Input, "this training has failed");
                return Err(failure.with_hint("begin another one"));
            }
        };
        step.step_ms = (surroundings.monotonic_seconds() - begin) * 1e3;
        self.last = Some(step.clone());
        Ok(Some(step))
    }

    /// The last step, if there was one.
    pub fn last(&self) -> Option<&TrainStep> {
        self.last.as_ref()
    }

    /// What is trained so far as the files of a model directory: the model with its entropy model,
    /// before there is one the entropy model alone.
    ///
    /// # Errors
    /// A weight that is not finite; a device that fails.
    pub async fn files(&self) -> Result<Vec<NamedFile>> {
        match &self.stage {
            Stage::Entropy(training) => {
                let model = training.trainer.settled()?;
                Ok(directory_files(self.device, &model.config, model, None).await?)
            }
            Stage::Blt(stage) => {
                let model = stage.training.trainer.settled()?;
                let ModelConfig::Blt(mut config) = model.config.clone() else {
                    unreachable!("the second model is a BLT")
                };
                config.attach_patcher(self.shape.entropy_config());
                let (config, patcher) = (ModelConfig::Blt(config), Some(&stage.entropy));
                Ok(directory_files(self.device, &config, model, patcher).await?)
            }
            Stage::Broken => Err(Failure::new(Kind::Input, "this training has failed")),
        }
    }

    async fn train(
        &self,
        training: &mut RowTraining<'d, Device>,
        phase: Phase,
        surroundings: &impl Surroundings,
    ) -> Result<TrainStep> {
        training.step().await?;
        let figures = training.figures(surroundings.monotonic_seconds()).await?;
        let done = match phase {
            Phase::Blt => self.options.entropy_step_count(),
            Phase::Entropy | Phase::Cut => 0,
        };
        Ok(TrainStep {
            phase,
            step: done + training.step_index,
            step_count: self.step_count(),
            loss: figures.loss_nats,
            bpb: figures.loss_nats / std::f64::consts::LN_2,
            gradient_norm: figures.gradient_norm,
            learning_rate: figures.learning_rate,
            bytes_per_second: figures.bytes_per_second,
            step_ms: 0.0,
            held_out_bpb: None,
            sample: None,
            threshold: None,
            bytes_per_patch: None,
        })
    }

    fn step_count(&self) -> u64 {
        self.options.entropy_step_count() + self.options.steps
    }

    /// Measures and samples where a step is due for it.
    async fn look(
        &self,
        stage: &BltStage<'d>,
        step: &mut TrainStep,
        surroundings: &impl Surroundings,
    ) -> Result<()> {
        let training = &stage.training;
        let (index, is_last) = (training.step_index, training.step_index == training.step_count);
        let is_due = |every: u64| every > 0 && (is_last || index.is_multiple_of(every));
        if is_due(self.options.evaluate_every) {
            let model = training.trainer.settled()?;
            let document =
                ScoredDocument { ids: &self.held_out_ids, patch_lengths: &stage.held_out_lengths };
            let score = scorer().bits_per_byte(self.device, model, document).await?;
            step.held_out_bpb = Some(score.bits_per_byte());
        }
        if is_due(self.options.sample_every) {
            step.sample = Some(self.sample(stage, index, surroundings).await?);
        }
        Ok(())
    }

    /// A text that the model writes, shorter where somebody asks to stop; no bit of the training
    /// depends on it.
    async fn sample(
        &self,
        stage: &BltStage<'d>,
        index: u64,
        surroundings: &impl Surroundings,
    ) -> Result<String> {
        let mut directory = LoadedDirectory {
            model: stage.training.trainer.settled()?.shared(self.device),
            patcher: Some(stage.entropy.shared(self.device)),
        };
        // The model is asked by whom its patches are cut.
        if let ModelConfig::Blt(config) = &mut directory.model.config {
            config.attach_patcher(self.shape.entropy_config());
        }
        let options =
            SamplingOptions { temperature: SAMPLE_TEMPERATURE, ..SamplingOptions::default() };
        let sampler = Sampler::new(options, self.options.seed.wrapping_add(index))?;
        let source =
            ModelSource::with_bytes_a_submission(self.device, &directory, sampler, 1).await?;
        let stops = Stops { count: Some(self.options.sample_bytes), strings: Vec::new() };
        let mut stream = TextStream::new(source, &stops, OnLimit::Slide)?;
        stream.push_ids(&[BOS_ID])?;
        let mut text = String::new();
        while go_on(surroundings).await.is_ok() {
            let Some(piece) = stream.step().await? else { break };
            text.push_str(&piece.text);
        }
        Ok(text + &stream.cancel().text)
    }

    /// Entropies of the text, the threshold, patches, and the model in front of its first step.
    async fn cut(
        &mut self,
        training: Box<RowTraining<'d, Device>>,
        surroundings: &impl Surroundings,
    ) -> Result<TrainStep> {
        let model = training.trainer.settled()?.shared(self.device);
        let scored = self.scored(&model, surroundings).await;
        let (entropies, held_out_entropies) = match scored {
            Ok(scored) => scored,
            Err(failure) => {
                self.stage = Stage::Entropy(training);
                return Err(failure);
            }
        };
        let entropy = training.trainer.into_model()?;
        let mut patching = Patching::new(PatchingMode::Entropy { threshold: 0.0 });
        patching.include_next_token = false;
        let calibration = calibrate_threshold(&patching, &[&entropies], BYTES_PER_PATCH)?;
        patching.mode = PatchingMode::Entropy { threshold: calibration.threshold };
        let lengths = patching.patch_lengths(&self.train_ids, &entropies)?;
        let held_out_lengths = patching.patch_lengths(&self.held_out_ids, &held_out_entropies)?;
        let mut config = self.shape.blt_config();
        config.patching.threshold = f64::from(calibration.threshold);
        let rows = packed_rows(&self.train_ids, &lengths, &self.shape)?;
        let blt = LoadedModel::create(self.device, ModelConfig::Blt(config), true).await?;
        blt.initialise(self.device, self.options.seed)?;
        let (bytes, rate) = (self.shape.batch_bytes, self.shape.blt_learning_rate);
        let random = Random::new(self.options.seed, BLT_STREAM);
        let now = surroundings.monotonic_seconds();
        let mut training =
            RowTraining::new(self.device, blt, rows, bytes, rate, random, now).await?;
        training.step_count = self.options.steps;
        self.stage = Stage::Blt(Box::new(BltStage { entropy, training, held_out_lengths }));
        let (byte_count, patch_count) = bytes_and_patches(self.train_ids.len(), &lengths);
        let last = self.last.clone().expect("the entropy model has made a step");
        Ok(TrainStep {
            phase: Phase::Cut,
            threshold: Some(calibration.threshold),
            bytes_per_patch: Some(bytes_per_patch(byte_count, patch_count)),
            ..last
        })
    }

    /// Entropies of the text that is learnt, and of that which is not.
    async fn scored(
        &self,
        model: &LoadedModel<Device>,
        surroundings: &impl Surroundings,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut scorer = scorer();
        let documents = [&self.train_ids[..], &self.held_out_ids[..]];
        let mut entropies = vec![Vec::new(), Vec::new()];
        for prepared in PreparedScore::of(&model.config, &documents, SCORE)? {
            go_on(surroundings).await?;
            scorer.run(self.device, model, &prepared, &mut entropies).await?;
        }
        let held_out = entropies.pop().unwrap_or_default();
        Ok((entropies.pop().unwrap_or_default(), held_out))
    }
}

const SCORE: ScoreOptions = ScoreOptions { context: CONTEXT, batch_bytes: 2 * CONTEXT };

fn scorer() -> Scorer<Device> {
    Scorer::new(SCORE)
}

fn check_text(text: &[u8]) -> Result<()> {
    if text.len() < LEAST_TEXT_BYTES {
        let message =
            format!("text: expected at least {LEAST_TEXT_BYTES} bytes, got {}", text.len());
        return Err(Failure::new(Kind::Input, message).with_hint("take a longer text"));
    }
    if text.len() > MOST_TEXT_BYTES {
        let message =
            format!("bytes to learn from: {} needed, {MOST_TEXT_BYTES} available", text.len());
        return Err(Failure::new(Kind::Limit, message).with_hint("take a part of the text"));
    }
    Ok(())
}
