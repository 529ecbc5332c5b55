//! The engine on a GPU.

use super::ahead::Found;
use super::buffers::{self, BufferCopy};
use super::context::Context;
use super::early_reads::StagingRing;
use super::launch::SubmitRule;
use super::pipelines::Pipelines;
use super::plan::GpuPlan;
use super::readback::{self, Readback};
use super::store::{GpuStore, max_binding_elements};
use super::trust::Trust;
use crate::engine::{EarlyRead, Engine, EngineFingerprint, Inputs, Reading, StoreCopy, TakeRead};
use crate::error::Result;
use crate::graph::{ArenaId, Recording, StoreLayout};
use crate::kernels::{Abilities, Step, Tuned, fingerprint};

/// Runs Recordings on the device of a [`Context`].
pub struct GpuEngine {
    pub(super) context: Context,
    pub(super) pipelines: Pipelines,
    pub(super) readback: Readback,
    staging: StagingRing,
    pub(super) trust: Trust,
    submit_flops: Option<u64>,
    tuned: Tuned,
}

impl GpuEngine {
    /// An engine that makes few submissions a replay: one where a processor computes, short ones
    /// first on a GPU, which then works while the rest is encoded.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            pipelines: Pipelines::default(),
            readback: Readback::default(),
            staging: StagingRing::default(),
            trust: Trust::default(),
            submit_flops: None,
            tuned: Tuned::NONE,
        }
    }

    /// Plans compiled from now on start a new submission at the first cut mark after this much work
    /// (zero: at every mark), for a GPU that also drives a display. No bit changes.
    #[must_use]
    pub fn with_submit_flops(mut self, flops: u64) -> Self {
        self.submit_flops = Some(flops);
        self
    }

    /// Models loaded from now on take these variants, where they run.
    #[must_use]
    pub fn with_tuned(mut self, tuned: Tuned) -> Self {
        self.tuned = tuned;
        self
    }

    /// What [`Self::with_submit_flops`] was given.
    pub fn submit_flops(&self) -> Option<u64> {
        self.submit_flops
    }

    /// The device.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Waits until all work submitted so far is done.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn wait(&self) -> Result<()> {
        readback::wait(&self.context).await
    }

    /// How many pipelines were compiled so far.
    pub fn pipeline_count(&self) -> usize {
        self.pipelines.count()
    }
}

impl Engine for GpuEngine {
    type Store = GpuStore;
    type Plan = GpuPlan;

    fn name(&self) -> String {
        self.context.caps().id()
    }

    fn fingerprint(&self) -> EngineFingerprint {
        let driver = self.context.caps().driver.clone();
        EngineFingerprint { name: self.name(), driver, kernels: fingerprint() }
    }

    fn max_binding_elements(&self) -> usize {
        max_binding_elements(&self.context)
    }

    fn abilities(&self) -> Abilities {
        Abilities { distrusted: self.trust.distrusted(), ..self.context.caps().abilities() }
    }

    fn tuned(&self) -> Tuned {
        self.tuned.clone()
    }

    async fn trusts(&self, recording: &Recording) -> Result<bool> {
        self.check_variants(recording).await
    }

    async fn create_store(&self, layout: &StoreLayout) -> Result<GpuStore> {
        GpuStore::new(&self.context, layout).await
    }

    fn join(&self, stores: &[&GpuStore]) -> GpuStore {
        GpuStore { arenas: stores.iter().flat_map(|store| store.arenas.clone()).collect() }
    }

    fn write(&self, store: &GpuStore, arena: ArenaId, offset: usize, values: &[f32]) -> Result<()> {
        let buffer = store.range(arena, offset, values.len());
        buffers::write(&self.context, buffer, offset, bytemuck::cast_slice(values))
    }

    async fn read(
        &self,
        store: &GpuStore,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        let buffer = store.range(arena, offset, length);
        self.readback.read(&self.context, buffer, offset, length).await
    }

    fn copy(&self, from: &GpuStore, to: &GpuStore, copies: &[StoreCopy]) -> Result<()> {
        let copies = copies.iter().map(|copy| {
            let StoreCopy { from: (source, first), to: (target, at), length } = *copy;
            let from = from.range(source, first, length);
            BufferCopy { from, first, to: to.range(target, at, length), at, length }
        });
        buffers::copy(&self.context, &copies.collect::<Vec<_>>())
    }

    async fn compile(&self, store: &GpuStore, recording: Recording) -> Result<GpuPlan> {
        let rule = SubmitRule {
            most_flops: self.submit_flops,
            begins_early: self.context.caps().abilities().hardware,
        };
        GpuPlan::new(&self.context, &self.pipelines, store, recording, rule).await
    }

    fn run(&self, plan: &GpuPlan, step: &Step, inputs: &Inputs) -> Result<()> {
        plan.replay(&self.context, step, inputs)
    }

    async fn run_in_turns(&self, plan: &GpuPlan, step: &Step, inputs: &Inputs) -> Result<()> {
        plan.replay_in_turns(&self.context, step, inputs).await
    }

    async fn run_for(
        &self,
        plan: &GpuPlan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        let regions = plan.outputs(step, names)?;
        let (context, readback) = (&self.context, &self.readback);
        let _under_way = plan.begin()?;
        let encode = |encoder: &mut wgpu::CommandEncoder| plan.encode_last(encoder);
        let Found { ahead, is_repeated } = plan.ahead.take(&regions);
        let ahead = match ahead {
            Some(ahead) => ahead,
            None => readback.encode(context, encode, regions).await?,
        };
        plan.upload(context, step, inputs)?;
        plan.submit_but_last(context).await?;
        let again = is_repeated.then_some(encode);
        let (values, next) = readback.submit(context, ahead, again).await?;
        if let Some(next) = next {
            plan.ahead.put(next);
        }
        Ok(values)
    }

    async fn begin<'e>(
        &'e self,
        plan: &GpuPlan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Reading<'e>> {
        let (context, readback) = (&self.context, &self.readback);
        let regions = plan.outputs(step, names)?;
        let _under_way = plan.begin()?;
        let encode = |encoder: &mut wgpu::CommandEncoder| plan.encode_last(encoder);
        let ahead = readback.encode(context, encode, regions).await?;
        plan.upload(context, step, inputs)?;
        plan.submit_but_last(context).await?;
        let sent = readback.send(context, ahead).await?;
        Ok(Reading::new(readback.receive(context, sent)))
    }

    async fn run_reading(
        &self,
        plan: &GpuPlan,
        store: &GpuStore,
        with: (&Step, &Inputs),
        reads: &[EarlyRead],
        take: &mut TakeRead<'_>,
    ) -> Result<()> {
        self.staging.replay(&self.context, plan, store, with, reads, take).await
    }

    async fn output(&self, plan: &GpuPlan, name: &str, step: &Step) -> Result<Vec<f32>> {
        let (buffer, offset, length) = plan.output(name, step)?;
        self.readback.read(&self.context, buffer, offset, length).await
    }
}
