//! An engine that fails on purpose.

use std::cell::Cell;

use blt_wgpu::engine::{Engine, EngineFingerprint, Inputs, StoreCopy};
use blt_wgpu::graph::{ArenaId, Recording, StoreLayout};
use blt_wgpu::kernels::{Abilities, Step, Tuned};
use blt_wgpu::{Error, Result};

/// An engine that is lost after so many replays, or has no memory for plans of some name.
pub struct Failing<E> {
    pub inner: E,
    replays_left: Cell<u64>,
    without_memory_for: &'static str,
}

impl<E: Engine> Failing<E> {
    /// One whose device is lost at replay number `count`, from 0.
    pub fn lost_after(inner: E, count: u64) -> Self {
        Self { inner, replays_left: Cell::new(count), without_memory_for: "" }
    }

    /// One that has no memory for plans of this name.
    pub fn without_memory_for(inner: E, name: &'static str) -> Self {
        Self { inner, replays_left: Cell::new(u64::MAX), without_memory_for: name }
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
        if recording.name == self.without_memory_for {
            return Err(Error::OutOfMemory { subject: recording.name, hint: String::new() });
        }
        self.inner.compile(store, recording).await
    }

    fn run(&self, plan: &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()> {
        self.check()?;
        self.replays_left.set(self.replays_left.get() - 1);
        self.inner.run(plan, step, inputs)
    }

    async fn output(&self, plan: &Self::Plan, name: &str, step: &Step) -> Result<Vec<f32>> {
        self.check()?;
        self.inner.output(plan, name, step).await
    }
}
