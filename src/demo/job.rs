//! The demo as a state machine.

use super::budget::{
    Budget, EVALUATION_COUNT, Extent, MEASURED_STEPS, QUICK_EVERY, Speeds, median, step_count,
};
use super::measure::{MEASURED_IDS, choose_shape, measure};
use super::record::Record;
use super::report;
use super::rows::{entropy_rows, packed_rows};
use super::shape::Shape;
use super::training::Training;
use super::variants;
use crate::blt::LoadedModel;
use crate::blt::config::{BltConfig, ModelConfig};
use crate::blt::patching::{
    Patching, PatchingMode, bytes_and_patches, bytes_per_patch, calibrate_threshold,
};
use crate::engine::Engine;
use crate::error::Result;
use crate::eval::{ScoreOptions, ScoredDocument, Scorer};
use crate::random::Random;
use crate::report::RunReport;
use crate::report::data::{Baseline, CurvePoint, Phase as ReportPhase};
use crate::text::{Part, encode};

/// What a demo is asked to do.
#[derive(Clone, Debug)]
pub struct DemoOptions<'a> {
    /// The text; its last tenth is held out.
    pub text: &'a [u8],
    pub text_name: &'a str,
    /// About how long it may take in all; a short demo reads less of the text.
    pub seconds: f64,
    pub seed: u64,
    /// The record of a former run, which decides everything but the text.
    pub replay: Option<Record>,
}

/// One of the two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Entropy,
    Blt,
}

/// What a step of the demo did.
#[derive(Clone, Debug)]
pub enum DemoEvent {
    /// The shape was chosen and the training of the entropy model begins.
    Started {
        shape: String,
        baselines: Vec<Baseline>,
        /// What is read, and what there would be to read.
        extent: Extent,
        all: Extent,
        /// Seconds that even the least takes on this device, if those are more than it has.
        overrun: Option<f64>,
    },
    /// An optimiser step; the point is there when figures were read from the device.
    Stepped { which: Which, step_index: u64, step_count: u64, point: Option<CurvePoint> },
    /// The entropy model is done, its threshold calibrated, the text cut.
    Calibrated { entropy_bpb: f64, threshold: f32, bytes_per_patch: f64, excerpt: Excerpt },
    /// Both models are trained and scored.
    Trained { bpb: f64, bytes_per_patch: f64 },
}

/// A few patches of the held-out text.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    pub ids: Vec<u32>,
    pub patch_lengths: Vec<u32>,
}

/// What a finished demo leaves behind, beside the trained models.
pub struct DemoOutcome<E: Engine> {
    pub report: RunReport,
    pub record: Record,
    pub entropy: LoadedModel<E>,
    pub blt: LoadedModel<E>,
    /// Of the BLT with its entropy model, as a model directory says it.
    pub config: BltConfig,
}

/// The demo on one engine.
pub struct Demo<'e, E: Engine> {
    engine: &'e E,
    clock: &'e dyn Fn() -> f64,
    options: DemoOptions<'e>,
    train: &'e [u8],
    held_out: &'e [u8],
    train_ids: Vec<u32>,
    held_out_ids: Vec<u32>,
    /// Of training, as measured.
    speeds: Speeds,
    started: f64,
    /// When the current training began.
    phase_started: f64,
    phase: Phase<'e, E>,
    report: RunReport,
    record: Record,
}

enum Phase<'e, E: Engine> {
    Start,
    Entropy(Box<Training<'e, E>>),
    Blt { entropy: Box<LoadedModel<E>>, training: Box<Training<'e, E>>, cut: Box<Cut> },
    Done { entropy: Box<LoadedModel<E>>, blt: Box<LoadedModel<E>>, config: Box<BltConfig> },
    Failed,
}

/// How the held-out text falls into patches.
struct Cut {
    entropies: Vec<f32>,
    patch_lengths: Vec<u32>,
}

/// What the threshold is calibrated to.
const BYTES_PER_PATCH: f64 = 4.5;
/// Points of the curve of one training, and how many of them pass between two evaluations.
const POINT_COUNT: u64 = 60;
const POINTS_PER_EVALUATION: u64 = POINT_COUNT / EVALUATION_COUNT;
/// Positions of a window when scoring. The entropy model sees no further back than its window in
/// each layer, so long windows cost it nothing.
const ENTROPY_CONTEXT: usize = 2048;
const BLT_CONTEXT: usize = 1024;
/// Positions that are scored in one replay.
const SCORE_BATCH_BYTES: usize = 8192;
/// Random streams of the order of the rows.
const ENTROPY_STREAM: u64 = 1;
const BLT_STREAM: u64 = 2;
/// Times that the entropy model reads the text at most.
const ENTROPY_MAX_EPOCHS: u64 = 8;

impl<'e, E: Engine> Demo<'e, E> {
    /// A demo that has not begun. `clock` gives seconds since any moment.
    ///
    /// # Errors
    /// If the text is too short to hold a tenth out, or the record is of another text or makes no
    /// model.
    pub fn new(
        engine: &'e E,
        clock: &'e dyn Fn() -> f64,
        options: DemoOptions<'e>,
    ) -> Result<Self> {
        if let Some(record) = &options.replay {
            record.check(options.text.len())?;
        }
        let text = options.text;
        let train = &text[Part::ALL_BUT_LAST_TENTH.range_in(text.len())?];
        let held_out = &text[Part::LAST_TENTH.range_in(text.len())?];
        let record = options.replay.clone().unwrap_or_else(|| Record {
            version: env!("CARGO_PKG_VERSION").into(),
            device: engine.name(),
            seed: options.seed,
            text_bytes: options.text.len() as u64,
            shape: Shape::all().remove(0),
            train_bytes: None,
            held_out_bytes: None,
            entropy_step_count: 0,
            blt_step_count: 0,
            sample_bytes: None,
            variants: None,
        });
        let started = clock();
        Ok(Self {
            engine,
            clock,
            options,
            train,
            held_out,
            train_ids: Vec::new(),
            held_out_ids: Vec::new(),
            speeds: Speeds { entropy: 0.0, blt: 0.0 },
            started,
            phase_started: started,
            phase: Phase::Start,
            report: RunReport::default(),
            record,
        })
    }

    /// Whether everything is done and [`Self::finish`] may be called.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done { .. })
    }

    /// One training step, or one phase.
    ///
    /// # Errors
    /// If the device fails; the demo cannot go on then.
    ///
    /// # Panics
    /// If it is done, or has failed before.
    pub async fn step(&mut self) -> Result<DemoEvent> {
        match std::mem::replace(&mut self.phase, Phase::Failed) {
            Phase::Start => self.start().await,
            Phase::Entropy(training) if training.step_index >= training.step_count => {
                self.calibrate(*training).await
            }
            Phase::Entropy(mut training) => {
                let event = self.train(&mut training, Which::Entropy, &[]).await?;
                self.phase = Phase::Entropy(training);
                Ok(event)
            }
            Phase::Blt { entropy, training, cut } if training.step_index >= training.step_count => {
                self.score(entropy, *training, &cut).await
            }
            Phase::Blt { entropy, mut training, cut } => {
                let event = self.train(&mut training, Which::Blt, &cut.patch_lengths).await?;
                self.phase = Phase::Blt { entropy, training, cut };
                Ok(event)
            }
            Phase::Done { .. } | Phase::Failed => panic!("a demo that has ended has no next step"),
        }
    }

    /// The report, the record and the models of a demo that is done.
    ///
    /// # Panics
    /// If it is not done.
    pub fn finish(mut self) -> DemoOutcome<E> {
        let Phase::Done { entropy, blt, config } = self.phase else {
            panic!("the demo is not done")
        };
        self.report.result.seconds = (self.clock)() - self.started;
        DemoOutcome {
            report: self.report,
            record: self.record,
            entropy: *entropy,
            blt: *blt,
            config: *config,
        }
    }

    async fn start(&mut self) -> Result<DemoEvent> {
        let before = (self.clock)();
        let all = Extent { train_bytes: self.train.len(), held_out_bytes: self.held_out.len() };
        let mut overrun = None;
        if self.options.replay.is_none() {
            overrun = self.plan(all).await?;
        }
        self.settle_variants().await?;
        let cut = |text: &'e [u8], count: Option<usize>| {
            &text[..count.map_or(text.len(), |it| it.min(text.len()))]
        };
        self.train = cut(self.train, self.record.train_bytes);
        self.held_out = cut(self.held_out, self.record.held_out_bytes);
        (self.train_ids, self.held_out_ids) =
            (encode(self.train, true, true), encode(self.held_out, true, true));
        let extent = self.extent();
        self.report = report::begin(self.engine, &self.options, extent);
        if self.options.replay.is_none() {
            self.end_phase("measuring", before, "ten steps of each model in the smallest shape");
        }
        let before = (self.clock)();
        self.report.baselines = report::baselines(self.train, self.held_out)?;
        self.end_phase("baselines", before, "order-2 counts, zstd");
        let shape = self.record.shape.clone();
        let config = ModelConfig::Entropy(shape.entropy_config());
        let model = LoadedModel::create(self.engine, config, true).await?;
        model.initialise(self.engine, self.record.seed)?;
        self.report.entropy_model = report::card("entropy model", &model);
        let rows = entropy_rows(&self.train_ids, &shape)?;
        let (batch_bytes, rate) = (shape.batch_bytes, shape.entropy_learning_rate);
        let random = Random::new(self.record.seed, ENTROPY_STREAM);
        self.phase_started = (self.clock)();
        let now = self.phase_started;
        let training = Training::new(self.engine, model, rows, batch_bytes, rate, random, now);
        let mut training = Box::new(training.await?);
        if self.options.replay.is_some() {
            training.step_count = self.record.entropy_step_count;
        }
        self.phase = Phase::Entropy(training);
        let baselines = self.report.baselines.clone();
        Ok(DemoEvent::Started { shape: shape.name, baselines, extent, all, overrun })
    }

    /// Keeps in the record which variants of kernels run here. On the device of a replayed record
    /// they must be those it has; another device gives other bits anyway.
    async fn settle_variants(&mut self) -> Result<()> {
        let here = variants::variants(self.engine, &self.record.shape).await?;
        if let Some(recorded) = &self.record.variants
            && self.record.device == self.engine.name()
        {
            return variants::check(recorded, &here);
        }
        if self.options.replay.is_none() {
            self.record.variants = Some(here);
        }
        Ok(())
    }

    /// Measures the device, chooses a shape and how much of the text is read. What it returns is
    /// that of [`DemoEvent::Started`].
    async fn plan(&mut self, all: Extent) -> Result<Option<f64>> {
        let measured = &self.train[..self.train.len().min(MEASURED_IDS)];
        let ids = encode(measured, true, false);
        let speeds = measure(self.engine, self.clock, &ids).await?;
        let (shape, speeds) = choose_shape(self.engine, speeds, &self.budget(), all).await?;
        let budget = self.budget();
        let extent = budget.extent(speeds, all);
        let overrun = budget.overrun(speeds, extent, shape.batch_bytes);
        self.record.train_bytes = Some(extent.train_bytes);
        self.record.held_out_bytes = Some(extent.held_out_bytes);
        (self.record.shape, self.speeds) = (shape, speeds);
        Ok(overrun)
    }

    fn budget(&self) -> Budget {
        Budget { seconds: self.options.seconds, elapsed: (self.clock)() - self.started }
    }

    fn extent(&self) -> Extent {
        Extent { train_bytes: self.train.len(), held_out_bytes: self.held_out.len() }
    }

    async fn train(
        &mut self,
        training: &mut Training<'e, E>,
        which: Which,
        held_out_lengths: &[u32],
    ) -> Result<DemoEvent> {
        if training.step_count == u64::MAX {
            training.timed_step(self.clock).await?;
            if training.step_index == MEASURED_STEPS {
                self.fix_step_count(training, which);
            }
        } else {
            training.step().await?;
        }
        let (index, count) = (training.step_index, training.step_count);
        let every = (count / POINT_COUNT).max(1);
        let mut point = None;
        if index == count || index.is_multiple_of(every) {
            let figures = training.figures((self.clock)()).await?;
            let evaluates = (index / every).is_multiple_of(POINTS_PER_EVALUATION) && index < count;
            let held_out_bpb = match evaluates {
                true => Some(self.quick_bpb(training, held_out_lengths).await?),
                false => None,
            };
            let new = CurvePoint {
                step: index,
                seconds: (self.clock)() - self.started,
                loss_nats: figures.loss_nats,
                train_bpb: figures.loss_nats / std::f64::consts::LN_2,
                held_out_bpb,
                learning_rate: figures.learning_rate,
                gradient_norm: figures.gradient_norm,
                bytes_per_second: figures.bytes_per_second,
            };
            self.curve(which).push(new.clone());
            point = Some(new);
        }
        Ok(DemoEvent::Stepped { which, step_index: index, step_count: count, point })
    }

    fn curve(&mut self, which: Which) -> &mut Vec<CurvePoint> {
        match which {
            Which::Entropy => &mut self.report.entropy_curve.points,
            Which::Blt => &mut self.report.blt_curve.points,
        }
    }

    /// As many steps as fit the time this training has, by the median of those measured. It is
    /// never estimated again: the record says how many steps there were, not how long they took.
    fn fix_step_count(&mut self, training: &mut Training<'e, E>, which: Which) {
        let (budget, extent) = (self.budget(), self.extent());
        let spent = median(&training.step_seconds) * training.step_index as f64;
        let speed = spent / training.byte_count.max(1) as f64;
        let (seconds, max_epoch_count) = match which {
            Which::Entropy => {
                self.speeds.entropy = speed;
                (budget.entropy_seconds(self.speeds, extent, spent), ENTROPY_MAX_EPOCHS)
            }
            Which::Blt => {
                self.speeds.blt = speed;
                (budget.blt_seconds_left(self.speeds, extent), self.record.shape.max_epoch_count)
            }
        };
        let most = max_epoch_count * training.epoch_step_count();
        training.step_count = step_count(&training.step_seconds, seconds, most);
        match which {
            Which::Entropy => self.record.entropy_step_count = training.step_count,
            Which::Blt => self.record.blt_step_count = training.step_count,
        }
    }

    /// Bits per byte of some windows of the held-out text.
    async fn quick_bpb(&self, training: &Training<'e, E>, patch_lengths: &[u32]) -> Result<f64> {
        let model = training.trainer.settled()?;
        let document = ScoredDocument { ids: &self.held_out_ids, patch_lengths };
        let mut scorer = scorer(&model.config);
        let score = scorer.sample(self.engine, model, document, QUICK_EVERY).await?;
        Ok(score.bits_per_byte())
    }

    /// Bits per byte of the whole held-out text.
    async fn held_out(&self, model: &LoadedModel<E>, patch_lengths: &[u32]) -> Result<f64> {
        let document = ScoredDocument { ids: &self.held_out_ids, patch_lengths };
        let score = scorer(&model.config).bits_per_byte(self.engine, model, document).await?;
        Ok(score.bits_per_byte())
    }

    async fn calibrate(&mut self, training: Training<'e, E>) -> Result<DemoEvent> {
        self.end_phase("entropy model", self.phase_started, "training");
        let before = (self.clock)();
        let entropy = training.trainer.into_model()?;
        self.report.result.entropy_bpb = self.held_out(&entropy, &[]).await?;
        let mut scorer = scorer(&entropy.config);
        let train_entropies = scorer.entropies(self.engine, &entropy, &self.train_ids).await?;
        let entropies = scorer.entropies(self.engine, &entropy, &self.held_out_ids).await?;
        let mut patching = Patching::new(PatchingMode::Entropy { threshold: 0.0 });
        patching.include_next_token = false;
        let calibration = calibrate_threshold(&patching, &[&train_entropies], BYTES_PER_PATCH)?;
        patching.mode = PatchingMode::Entropy { threshold: calibration.threshold };
        let lengths = patching.patch_lengths(&self.train_ids, &train_entropies)?;
        let patch_lengths = patching.patch_lengths(&self.held_out_ids, &entropies)?;
        let shape = &self.record.shape;
        let mut config = shape.blt_config();
        config.patching.threshold = f64::from(calibration.threshold);
        let rows = packed_rows(&self.train_ids, &lengths, shape)?;
        let blt = LoadedModel::create(self.engine, ModelConfig::Blt(config), true).await?;
        blt.initialise(self.engine, self.record.seed)?;
        self.report.blt = report::card("BLT", &blt);
        let (byte_count, patch_count) = bytes_and_patches(self.held_out_ids.len(), &patch_lengths);
        let bytes_per_patch = bytes_per_patch(byte_count, patch_count);
        self.report.result.bytes_per_patch = bytes_per_patch;
        report::describe_patching(&mut self.report, calibration.threshold, &patch_lengths);
        let excerpt = report::excerpt(&self.held_out_ids, &patch_lengths);
        let (batch_bytes, rate) = (shape.batch_bytes, shape.blt_learning_rate);
        let random = Random::new(self.record.seed, BLT_STREAM);
        self.end_phase("calibration", before, "entropies of the whole text, threshold, patches");
        self.phase_started = (self.clock)();
        let now = self.phase_started;
        let new = Training::new(self.engine, blt, rows, batch_bytes, rate, random, now);
        let mut training = Box::new(new.await?);
        if self.options.replay.is_some() {
            training.step_count = self.record.blt_step_count;
        }
        let cut = Box::new(Cut { entropies, patch_lengths });
        self.phase = Phase::Blt { entropy: Box::new(entropy), training, cut };
        let entropy_bpb = self.report.result.entropy_bpb;
        let threshold = calibration.threshold;
        Ok(DemoEvent::Calibrated { entropy_bpb, threshold, bytes_per_patch, excerpt })
    }

    async fn score(
        &mut self,
        entropy: Box<LoadedModel<E>>,
        training: Training<'e, E>,
        cut: &Cut,
    ) -> Result<DemoEvent> {
        self.end_phase("BLT", self.phase_started, "training");
        let before = (self.clock)();
        let blt = training.trainer.into_model()?;
        let bpb = self.held_out(&blt, &cut.patch_lengths).await?;
        let bytes_per_patch = self.report.result.bytes_per_patch;
        self.report.result.bpb = bpb;
        self.curve(Which::Blt).last_mut().expect("the last step is a point").held_out_bpb =
            Some(bpb);
        let entropy_bpb = self.report.result.entropy_bpb;
        if let Some(last) = self.curve(Which::Entropy).last_mut() {
            last.held_out_bpb = Some(entropy_bpb);
        }
        report::add_strip(&mut self.report, &self.held_out_ids, &cut.entropies, &cut.patch_lengths);
        self.end_phase("scoring", before, "the whole held-out text");
        let ModelConfig::Blt(config) = blt.config.clone() else {
            unreachable!("the demo's second model is a BLT")
        };
        let mut config = Box::new(config);
        config.attach_patcher(self.record.shape.entropy_config());
        self.phase = Phase::Done { entropy, blt: Box::new(blt), config };
        Ok(DemoEvent::Trained { bpb, bytes_per_patch })
    }

    fn end_phase(&mut self, name: &str, before: f64, detail: &str) {
        let seconds = (self.clock)() - before;
        let phase = ReportPhase { name: name.into(), seconds, detail: detail.into() };
        self.report.phases.push(phase);
    }
}

fn scorer<E: Engine>(config: &ModelConfig) -> Scorer<E> {
    let context = match config {
        ModelConfig::Entropy(_) => ENTROPY_CONTEXT,
        ModelConfig::Blt(_) => BLT_CONTEXT,
    };
    Scorer::new(ScoreOptions { context, batch_bytes: SCORE_BATCH_BYTES })
}
