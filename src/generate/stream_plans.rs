//! The plans of running streams: compiled when they are needed, anew when they have to be larger.

use super::caches::{StreamCaches, entropy_config, patcher};
use super::linked::step_rules;
use crate::blt::config::ModelConfig;
use crate::blt::parameters::PATCHER_PREFIX;
use crate::blt::{LoadedDirectory, Pass, seed_entropies_graph, seed_graph, step_graph};
use crate::engine::{Engine, Inputs};
use crate::error::Result;
use crate::graph::{Graph, Links, Precision, Recording, link_steps};
use crate::kernels::{Axis, Counts, Step};

/// What the plans do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The model reads whole texts.
    Seed,
    /// The entropy model reads whole texts.
    SeedEntropies,
    /// The model reads a byte of every stream, and the entropy model what is chosen to follow.
    Step(Pass),
    /// So many steps, from one to the next on the device, patches that close among them.
    Linked { count: usize, keeps_logits: bool },
}

/// A plan for each of them.
pub(super) struct StreamPlans<E: Engine> {
    plans: Vec<WorkPlan<E>>,
    /// Dispatches of all that was run.
    pub dispatch_count: u64,
}

struct WorkPlan<E: Engine> {
    work: Work,
    capacity: Counts,
    plan: E::Plan,
    dispatch_count: usize,
}

impl<E: Engine> StreamPlans<E> {
    pub fn new() -> Self {
        Self { plans: Vec::new(), dispatch_count: 0 }
    }

    /// Drops all plans: the caches that they read are replaced.
    pub fn clear(&mut self) {
        self.plans.clear();
    }

    /// Runs a plan and reads outputs of it.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) or
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if it is too much at once; if the device
    /// is lost.
    pub async fn run(
        &mut self,
        caches: &StreamCaches<'_, E>,
        work: Work,
        (counts, inputs): (Counts, &Inputs),
        outputs: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        let known = self.plans.iter().position(|it| it.work == work);
        let fitting = known.filter(|&known| counts.fit(&self.plans[known].capacity));
        let index = match fitting {
            Some(index) => index,
            None => {
                let before = known.map_or(counts, |known| self.plans[known].capacity);
                let ample = capacity(caches, work, counts).max(&before);
                match self.compile(caches, work, ample).await {
                    // There may be room for these alone.
                    Err(error) if error.is_shortage() && ample != counts => {
                        self.compile(caches, work, counts).await
                    }
                    compiled => compiled,
                }?;
                self.plans.len() - 1
            }
        };
        let WorkPlan { plan, dispatch_count, .. } = &self.plans[index];
        self.dispatch_count += *dispatch_count as u64;
        let step = Step::of(counts);
        match outputs {
            [] => caches.engine.run_in_turns(plan, &step, inputs).await.map(|()| Vec::new()),
            _ => caches.engine.run_for(plan, &step, inputs, outputs).await,
        }
    }

    /// Puts a plan for so much at the end, in the place of the one that there was for this work.
    ///
    /// # Errors
    /// As [`Self::run`].
    async fn compile(
        &mut self,
        caches: &StreamCaches<'_, E>,
        work: Work,
        capacity: Counts,
    ) -> Result<()> {
        let recording = record(caches, work, capacity).await?;
        // It makes room for the new one.
        self.plans.retain(|it| it.work != work);
        let (capacity, dispatch_count) = (recording.capacity, recording.dispatches.len());
        let plan = caches.compile(recording).await?;
        self.plans.push(WorkPlan { work, capacity, plan, dispatch_count });
        Ok(())
    }
}

/// Work for so much.
///
/// # Errors
/// [`Error::Limit`](crate::Error::Limit) if it is too much for a binding.
async fn record<E: Engine>(
    caches: &StreamCaches<'_, E>,
    work: Work,
    capacity: Counts,
) -> Result<Recording> {
    let build = || graph(caches.directory, caches, work);
    let kind = (name(work), precision(caches, work));
    let step = caches.record(kind, capacity, build).await?;
    let Work::Linked { count, keeps_logits } = work else { return Ok(step) };
    let ModelConfig::Blt(config) = &caches.directory.model.config else {
        unreachable!("steps of an entropy model are not linked")
    };
    let entropy = patcher(caches.directory).map(entropy_config);
    let rules = step_rules(config, entropy, &caches.shape);
    let powers = caches.region("hash.powers");
    link_steps(step, &Links { count, keeps_logits, rules, powers })
}

/// What work is computed in: a prompt in the precision of the model, a byte in f32, as it waits for
/// weights and not for matrix units.
fn precision<E: Engine>(caches: &StreamCaches<'_, E>, work: Work) -> Precision {
    match work {
        Work::Seed => caches.directory.model.precision,
        _ => Precision::F32,
    }
}

fn name(work: Work) -> &'static str {
    match work {
        Work::Seed => "seed",
        Work::SeedEntropies => "seed entropies",
        Work::Step(Pass::Close) => "close",
        Work::Step(_) => "open",
        Work::Linked { .. } => "linked",
    }
}

/// What a plan is compiled for if it can: steps for all streams that there is room for.
fn capacity<E: Engine>(caches: &StreamCaches<'_, E>, work: Work, counts: Counts) -> Counts {
    let streams = caches.shape.streams;
    let bucketed = counts.bucketed();
    match work {
        Work::Seed | Work::SeedEntropies => bucketed,
        Work::Step(Pass::Close) | Work::Linked { .. } => bucketed.max(
            &Counts::default()
                .with(Axis::Bytes, streams)
                .with(Axis::Patches, streams)
                .with(Axis::SeenBytes, USUAL_PATCH * streams),
        ),
        Work::Step(_) => Counts::default().with(Axis::Bytes, streams),
    }
}

/// Bytes of the patches that close in a step, on average, that there is room for at once.
const USUAL_PATCH: usize = 16;

fn graph<E: Engine>(
    directory: &LoadedDirectory<E>,
    caches: &StreamCaches<'_, E>,
    work: Work,
) -> Result<Graph> {
    let (config, shape) = (&directory.model.config, caches.shape);
    let entropy = || entropy_config(patcher(directory).expect("somebody cuts by entropies"));
    match work {
        Work::Seed => seed_graph(config, shape),
        Work::SeedEntropies => seed_entropies_graph(entropy(), PATCHER_PREFIX, shape),
        Work::Step(_) | Work::Linked { .. } => {
            let pass = if let Work::Step(pass) = work { pass } else { Pass::Close };
            let patcher = patcher(directory).map(|it| (entropy_config(it), PATCHER_PREFIX));
            step_graph(config, patcher, shape, pass)
        }
    }
}
