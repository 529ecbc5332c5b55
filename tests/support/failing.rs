//! An engine that fails on purpose.

use std::cell::Cell;

use blt_wgpu::engine::{Engine, EngineFingerprint, Inputs, StoreCopy};
use blt_wgpu::graph::{ArenaId, Recording, StoreLayout};
use blt_wgpu::kernels::{AXIS_COUNT, Abilities, Counts, Step, Tuned};
use blt_wgpu::{Error, Result};

/// An engine that is lost after so many replays, has no memory for plans of some name or
/// of some size, or computes
/// an output wrongly.
pub struct Failing<E> {
    pub inner: E,
    replays_left: Cell<u64>,
    without_memory_for: &'static str,
    /// What every plan has to fit.
    most: Counts,
    /// Plans that there was no memory for.
    pub refused_count: Cell<usize>,
    /// Replays, and words of outputs that were read.
    pub replay_count: Cell<usize>,
    pub word_count: Cell<usize>,
    falsify: fn(&str, &mut [f32]),
}

impl<E: Engine> Failing<E> {
    /// One whose device is lost at replay number `count`, from 0.
    pub fn lost_after(inner: E, count: u64) -> Self {
        Self { replays_left: Cell::new(count), ..Self::working(inner) }
    }

    /// One that has no memory for plans of this name.
    pub fn without_memory_for(inner: E, name: &'static str) -> Self {
        Self { without_memory_for: name, ..Self::working(inner) }
    }

    /// One that has no memory for plans of more than this.
    pub fn without_memory_above(inner: E, most: Counts) -> Self {
        Self { most, ..Self::working(inner) }
    }

    /// One that gives its outputs, by their names, as this function leaves them.
    pub fn falsifying(inner: E, falsify: fn(&str, &mut [f32])) -> Self {
        Self { falsify, ..Self::working(inner) }
    }

    /// One that does not fail, and counts.
    pub fn working(inner: E) -> Self {
        Self {
            inner,
            replays_left: Cell::new(u64::MAX),
            without_memory_for: "",
            most: Counts([u32::MAX; AXIS_COUNT]),
            refused_count: Cell::new(0),
            replay_count: Cell::new(0),
            word_count: Cell::new(0),
            falsify: |_, _| {},
        }
    }

    fn check(&self) -> Result<()> {
        match self.replays_left.get() {
            0 => Err(Error::lost(self.name(), "on purpose")),
            _ => Ok(()),
        }
    }
}

impl<E: Engine> Engine for Failing<E> {
    type Store = E::Store;
    type Plan = E::Plan;

    fn name(&self) -> String {
        self.inner.name()
    }

    fn fingerprint(&self) -> EngineFingerprint {
        self.inner.fingerprint()
    }

    fn max_binding_elements(&self) -> usize {
        self.inner.max_binding_elements()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn tuned(&self) -> Tuned {
        self.inner.tuned()
    }

    async fn trusts(&self, recording: &Recording) -> Result<bool> {
        self.inner.trusts(recording).await
    }

    async fn create_store(&self, layout: &StoreLayout) -> Result<Self::Store> {
        self.inner.create_store(layout).await
    }

    fn join(&self, stores: &[&Self::Store]) -> Self::Store {
        self.inner.join(stores)
    }

    fn write(&self, store: &Self::Store, arena: ArenaId, at: usize, values: &[f32]) -> Result<()> {
        self.check()?;
        self.inner.write(store, arena, at, values)
    }

    fn copy(&self, from: &Self::Store, to: &Self::Store, copies: &[StoreCopy]) -> Result<()> {
        self.inner.copy(from, to, copies)
    }

    async fn read(
        &self,
        store: &Self::Store,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        self.check()?;
        self.inner.read(store, arena, offset, length).await
    }

    async fn compile(&self, store: &Self::Store, recording: Recording) -> Result<Self::Plan> {
        if recording.name == self.without_memory_for || !recording.capacity.fit(&self.most) {
            self.refused_count.set(self.refused_count.get() + 1);
            return Err(Error::OutOfMemory { subject: recording.name, hint: String::new() });
        }
        self.inner.compile(store, recording).await
    }

    fn run(&self, plan: &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()> {
        self.check()?;
        self.replays_left.set(self.replays_left.get() - 1);
        self.replay_count.set(self.replay_count.get() + 1);
        self.inner.run(plan, step, inputs)
    }

    async fn output(&self, plan: &Self::Plan, name: &str, step: &Step) -> Result<Vec<f32>> {
        self.check()?;
        let mut values = self.inner.output(plan, name, step).await?;
        (self.falsify)(name, &mut values);
        self.word_count.set(self.word_count.get() + values.len());
        Ok(values)
    }
}
