//! A plan of a model that grows with what it is asked to do.

use super::LoadedModel;
use super::config::ModelConfig;
use super::memory::PlanBytes;
use crate::engine::Engine;
use crate::error::Result;
use crate::graph::{ArenaWrite, Graph};
use crate::kernels::Counts;

/// A plan that grows: compiled for the largest counts it has met, rounded up to buckets.
pub struct PlanSlot<E: Engine> {
    name: &'static str,
    build: fn(&ModelConfig) -> Result<Graph>,
    capacity: Counts,
    plan: Option<E::Plan>,
    bytes: PlanBytes,
    writes: Vec<ArenaWrite>,
}

impl<E: Engine> PlanSlot<E> {
    /// A plan of this graph, not compiled yet.
    pub fn new(name: &'static str, build: fn(&ModelConfig) -> Result<Graph>) -> Self {
        let (capacity, bytes) = (Counts::default(), PlanBytes::default());
        Self { name, build, capacity, plan: None, bytes, writes: Vec::new() }
    }

    /// What the plan is compiled for, or will be at the least.
    pub fn capacity(&self) -> &Counts {
        &self.capacity
    }

    /// What the plan adds to the Store; nothing before it is compiled.
    pub fn bytes(&self) -> PlanBytes {
        self.bytes
    }

    /// Makes room for counts that are known to come, so that it is compiled once for all of them.
    pub fn reserve(&mut self, capacity: &Counts) {
        if !capacity.fit(&self.capacity) {
            self.capacity = self.capacity.max(capacity);
            self.plan = None;
        }
    }

    /// The plan, compiled anew if these counts do not fit it.
    ///
    /// # Errors
    /// If the device has not the memory or refuses a shader.
    pub async fn get(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        counts: &Counts,
    ) -> Result<&E::Plan> {
        self.get_with_writes(engine, model, counts).await.map(|(plan, _)| plan)
    }

    /// The same, and what it writes in the Store.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_with_writes(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        counts: &Counts,
    ) -> Result<(&E::Plan, &[ArenaWrite])> {
        if !counts.fit(&self.capacity) {
            self.reserve(&counts.bucketed());
        }
        if self.plan.is_none() {
            let recording = model.compile(engine, self.build, self.name, self.capacity).await?;
            self.bytes = PlanBytes::of(&recording);
            self.writes = recording.arena_writes();
            self.plan = Some(engine.compile(&model.store, recording).await?);
        }
        let plan = self.plan.as_ref().expect("the plan was compiled above");
        Ok((plan, &self.writes))
    }
}
