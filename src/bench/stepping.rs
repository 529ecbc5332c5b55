//! A shape on a device with its plans: training steps or forward passes, one after the other.
//!
//! Plans are compiled for exactly the counts of the batches, as those of a run whose rows are all
//! full. Batches take turns, so that no step reads what the last one left in a cache.

use super::fresh::fresh_model;
use super::job::Clock;
use super::memory::Memory;
use super::shape::BenchShape;
use crate::blt::config::ModelConfig;
use crate::blt::{Batch, LoadedModel, TRAIN_STATE, logits, training_graph};
use crate::device::{Device, DevicePlan};
use crate::engine::{Engine, Inputs};
use crate::error::{Error, Result};
use crate::graph::{Graph, Precision, Recompute, Recording};
use crate::kernels::optim::train_state;
use crate::kernels::{Counts, Kernel, Step};
use crate::train::{AdamW, update_recording};

/// Batches that take turns.
const BATCH_COUNT: u64 = 4;
/// The peer's.
const LEARNING_RATE: f32 = 1e-4;

/// Updates in a row that may be left out: a loss scale of 2^16 halves so often.
const MOST_LEFT_OUT: usize = 24;

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Forward, backward, update.
    Train,
    /// Forward, to the logits.
    Forward,
}

/// A Recording and its plan.
pub(super) struct Program {
    pub recording: Recording,
    pub plan: DevicePlan,
}

/// A shape that is stepped.
pub(super) struct Stepping<'d> {
    pub device: &'d Device,
    pub pass: Pass,
    model: LoadedModel<Device>,
    batches: Vec<Batch>,
    pub programs: Vec<Program>,
    step_count: u64,
}

/// How long one step took.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepTime {
    /// From its first call until the device has done it.
    pub wall_ms: f64,
    /// Of that, until everything was encoded and submitted.
    pub submit_ms: f64,
}

impl<'d> Stepping<'d> {
    /// Uploads fresh weights and compiles.
    ///
    /// # Errors
    /// If the device has not the memory, a limit is exceeded, or a shader is refused.
    pub async fn new(
        device: &'d Device,
        shape: &BenchShape,
        precision: Precision,
        pass: Pass,
        recompute: Recompute,
    ) -> Result<Self> {
        let batches =
            (0..BATCH_COUNT).map(|index| shape.batch(index)).collect::<Result<Vec<_>>>()?;
        let counts = batches.iter().fold(Counts::default(), |all, it| all.max(&it.counts));
        let is_training = pass == Pass::Train;
        let config = shape.model.config.clone();
        let mut model = fresh_model(device, shape, config, is_training, precision).await?;
        model.recompute = recompute;
        let mut recordings = Vec::new();
        match pass {
            Pass::Train => {
                recordings.push(model.compile(device, training_graph, "micro", counts).await?);
                recordings.push(update_recording(&model.layout, &AdamW::default()));
            }
            Pass::Forward => {
                recordings.push(model.compile(device, logits_graph, "forward", counts).await?);
            }
        }
        let mut programs = Vec::new();
        for recording in recordings {
            let plan = device.compile(&model.store, recording.clone()).await?;
            programs.push(Program { recording, plan });
        }
        device.wait().await?;
        Ok(Self { device, pass, model, batches, programs, step_count: 0 })
    }

    /// The calls of the next step: which program, with which step and inputs.
    pub fn calls(&self) -> Vec<(usize, Step, Inputs)> {
        let batch = &self.batches[(self.step_count % BATCH_COUNT) as usize];
        let loss_weight = (1.0 / batch.target_count) as f32;
        let micro = Step { loss_weight, ..Step::of(batch.counts) };
        let mut calls = vec![(0, micro, batch.inputs.clone())];
        if self.pass == Pass::Train {
            let update = Step { learning_rate: LEARNING_RATE, ..Step::of(Counts::default()) };
            calls.push((1, update, Inputs::default()));
        }
        calls
    }

    /// The calls of the next step, which the caller makes.
    pub fn next_calls(&mut self) -> Vec<(usize, Step, Inputs)> {
        let calls = self.calls();
        self.step_count += 1;
        calls
    }

    /// One step, waited for.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn step(&mut self, platform: &Clock) -> Result<StepTime> {
        let calls = self.next_calls();
        let begin = platform.monotonic_seconds();
        for (program, step, inputs) in &calls {
            self.device.run(&self.programs[*program].plan, step, inputs)?;
        }
        let submitted = platform.monotonic_seconds();
        self.device.wait().await?;
        let end = platform.monotonic_seconds();
        Ok(StepTime { wall_ms: (end - begin) * 1e3, submit_ms: (submitted - begin) * 1e3 })
    }

    /// Steps until an update is applied: mixed precision leaves out a few while its loss scale
    /// comes down, and those cost less than a step does.
    ///
    /// # Errors
    /// [`Error::Device`] if none is applied, or the device is lost.
    pub async fn settle(&mut self, platform: &Clock) -> Result<()> {
        if self.pass == Pass::Forward {
            return Ok(());
        }
        for _ in 0..MOST_LEFT_OUT {
            if self.state(train_state::SKIP).await? == 0.0 {
                return Ok(());
            }
            self.step(platform).await?;
        }
        let problem = format!("none of {MOST_LEFT_OUT} updates in a row was applied");
        Err(Error::device("training step", problem).with_hint("gradients were not finite"))
    }

    /// Updates that were left out so far.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn left_out_count(&self) -> Result<f32> {
        match self.pass {
            Pass::Train => self.state(train_state::SKIPPED_STEPS).await,
            Pass::Forward => Ok(0.0),
        }
    }

    async fn state(&self, index: usize) -> Result<f32> {
        Ok(self.model.read(self.device, TRAIN_STATE).await?[index])
    }

    /// Every kernel and variant that it runs.
    pub fn variants(&self) -> Vec<(&'static Kernel, usize)> {
        let dispatches = self.programs.iter().flat_map(|program| &program.recording.dispatches);
        let mut variants: Vec<_> = dispatches.map(|it| (it.kernel, it.variant)).collect();
        variants.sort_by_key(|(kernel, variant)| (kernel.name, *variant));
        variants.dedup_by_key(|(kernel, variant)| (kernel.name, *variant));
        variants
    }

    /// Dispatches of one step.
    pub fn dispatch_count(&self) -> usize {
        self.programs.iter().map(|program| program.recording.dispatches.len()).sum()
    }

    /// Memory of everything on the device: the Store, and what the plans add to it.
    pub fn memory_bytes(&self) -> usize {
        let recordings = self.programs.iter().map(|program| &program.recording);
        Memory::of(&self.model.layout, recordings).total()
    }
}

/// The forward pass alone, its logits kept.
fn logits_graph(config: &ModelConfig) -> Result<Graph> {
    let mut graph = Graph::default();
    let logits = logits(&mut graph, config)?;
    graph.output("logits", logits);
    Ok(graph)
}
