//! A shape on a device with its plans: training steps or forward passes, one after the other.
//!
//! Plans are compiled for exactly the counts of the batches, as those of a run whose rows are all
//! full. Batches take turns, so that no step reads what the last one left in a cache.

use super::fresh::fresh_model;
use super::job::Clock;
use super::shape::BenchShape;
use crate::blt::config::ModelConfig;
use crate::blt::{
    Batch, HASH_ROWS, HASH_SLOTS, LazyTable, LoadedModel, Memory, RECORD_COUNT, TRAIN_STATE,
    TableUpdates, logits,
};
use crate::device::{Device, DevicePlan};
use crate::engine::{Engine, InputValues, Inputs};
use crate::error::{Error, Result};
use crate::graph::{Graph, Precision, Recompute, Recording};
use crate::kernels::optim::train_state;
use crate::kernels::{Abilities, Axis, Counts, Kernel, Step};
use crate::train::{
    AdamW, TOUCHED_ROWS, TOUCHED_SLOTS, TableUpdateRule, UpdateSituation, catch_up_recording,
    update_recording,
};

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
    /// Where the hash table is updated lazily: the inputs of the update behind every batch.
    touched: Option<Vec<Inputs>>,
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
        let mut batches =
            (0..BATCH_COUNT).map(|index| shape.batch(index)).collect::<Result<Vec<_>>>()?;
        let counts = batches.iter().fold(Counts::default(), |all, it| all.max(&it.counts));
        let config = shape.model.config.clone();
        let training = (pass == Pass::Train).then(|| {
            let max_elements = device.max_binding_elements();
            table_updates(&device.abilities(), max_elements, &config, &counts)
        });
        let mut model = fresh_model(device, shape, config, training, precision).await?;
        model.recompute = recompute;
        let mut recordings = Vec::new();
        let mut touched = None;
        match pass {
            Pass::Train => {
                let graph = model.training_graph();
                recordings.push(model.compile(device, graph, "micro", counts).await?);
                let abilities = device.abilities();
                recordings.push(update_recording(&model.layout, &AdamW::default(), &abilities));
                if let Some(table) = LazyTable::of(&model.layout) {
                    let adamw = AdamW::default();
                    recordings.push(catch_up_recording(&model.layout, &table, &adamw));
                    touched = Some(batches.iter_mut().map(deal_slots).collect());
                }
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
        Ok(Self { device, pass, model, batches, touched, programs, step_count: 0 })
    }

    /// The calls of the next step: which program, with which step and inputs.
    pub fn calls(&self) -> Vec<(usize, Step, Inputs)> {
        let index = (self.step_count % BATCH_COUNT) as usize;
        let batch = &self.batches[index];
        let loss_weight = (1.0 / batch.target_count) as f32;
        let micro = Step { loss_weight, ..Step::of(batch.counts) };
        let mut calls = vec![(0, micro, batch.inputs.clone())];
        if self.pass == Pass::Train {
            let (counts, inputs) = match &self.touched {
                None => Default::default(),
                Some(touched) => (only_hash_rows(&batch.counts), touched[index].clone()),
            };
            if self.touched.is_some() {
                calls.insert(0, (2, Step::of(counts), batch.inputs.clone()));
            }
            calls.push((1, Step { learning_rate: LEARNING_RATE, ..Step::of(counts) }, inputs));
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
    /// comes down, and those cost less than a step does. Where the hash table is updated lazily,
    /// until its rows are as far behind as they stay.
    ///
    /// # Errors
    /// [`Error::Device`] if none is applied, or the device is lost.
    pub async fn settle(&mut self, platform: &Clock) -> Result<()> {
        if self.pass == Pass::Forward {
            return Ok(());
        }
        if self.touched.is_some() {
            for _ in 0..RECORD_COUNT {
                self.step(platform).await?;
            }
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

/// What a run chooses by itself for steps of one micro-batch.
pub(super) fn table_updates(
    abilities: &Abilities,
    max_elements: usize,
    config: &ModelConfig,
    counts: &Counts,
) -> TableUpdates {
    let ModelConfig::Blt(config) = config else { return TableUpdates::Dense };
    let situation = UpdateSituation {
        is_gpu: abilities.hardware,
        max_elements,
        byte_count: counts.get(Axis::Bytes),
        width: config.encoder.hidden_size,
    };
    TableUpdateRule::Auto.choose(&config.hash, &situation)
}

/// Gives the touched rows of a batch, its update's only one, slots in their order. The inputs of
/// that update.
fn deal_slots(batch: &mut Batch) -> Inputs {
    let Some(InputValues::U(rows)) = batch.inputs.get(HASH_ROWS) else {
        unreachable!("a batch names the rows of the hash table that it touches")
    };
    let (rows, slots) = (rows.clone(), (0..rows.len() as u32).collect::<Vec<_>>());
    batch.inputs.set_u(HASH_SLOTS, slots.clone());
    let mut inputs = Inputs::default();
    inputs.set_u(TOUCHED_ROWS, rows);
    inputs.set_u(TOUCHED_SLOTS, slots);
    inputs
}

fn only_hash_rows(counts: &Counts) -> Counts {
    Counts::default().with(Axis::HashRows, counts.get(Axis::HashRows))
}

/// The forward pass alone, its logits kept.
fn logits_graph(config: &ModelConfig) -> Result<Graph> {
    let mut graph = Graph::default();
    let logits = logits(&mut graph, config)?;
    graph.output("logits", logits);
    Ok(graph)
}
