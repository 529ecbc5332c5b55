//! One of the engines, with its Stores and plans, as an engine itself.

use crate::cpu::{HostEngine, HostPlan, HostStore};
use crate::engine::{EarlyRead, Engine, EngineFingerprint, Inputs, Reading, StoreCopy, TakeRead};
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::gpu::{GpuEngine, GpuPlan, GpuStore};
use crate::graph::{ArenaId, Recording, StoreLayout};
use crate::kernels::{Abilities, Step, Tuned};

/// One of the engines.
pub enum Device {
    Cpu(HostEngine<f32>),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuEngine>),
}

/// Its Stores.
pub enum DeviceStore {
    Cpu(HostStore<f32>),
    #[cfg(feature = "gpu")]
    Gpu(GpuStore),
}

/// Its plans.
pub enum DevicePlan {
    Cpu(Box<HostPlan<f32>>),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuPlan>),
}

impl Device {
    /// Waits until all work submitted so far is done. The CPU engine has always done it.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn wait(&self) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.wait().await,
        }
    }

    /// Models loaded from now on take these variants, where they run. The CPU engine has no choice.
    #[must_use]
    pub fn with_tuned(self, tuned: Tuned) -> Self {
        match self {
            Self::Cpu(engine) => {
                let _ = tuned;
                Self::Cpu(engine)
            }
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => Self::Gpu(Box::new(engine.with_tuned(tuned))),
        }
    }

    /// Why variants of kernels are not used here, a sentence each. Base variants take their place.
    pub fn distrusted_variants(&self) -> Vec<String> {
        match self {
            Self::Cpu(_) => Vec::new(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.distrusted_variants(),
        }
    }
}

/// Calls the method of whichever engine it is, with the store or plan that belongs to it.
macro_rules! dispatch {
    ($self:ident, $handle:ident: $kind:ident, |$engine:ident, $inner:ident| $body:expr) => {
        match ($self, $handle) {
            (Device::Cpu($engine), $kind::Cpu($inner)) => $body,
            #[cfg(feature = "gpu")]
            (Device::Gpu($engine), $kind::Gpu($inner)) => $body,
            #[cfg(feature = "gpu")]
            _ => unreachable!("a store or plan is used with the device that made it"),
        }
    };
}

impl Engine for Device {
    type Store = DeviceStore;
    type Plan = DevicePlan;

    fn name(&self) -> String {
        match self {
            Self::Cpu(engine) => engine.name(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.name(),
        }
    }

    fn fingerprint(&self) -> EngineFingerprint {
        match self {
            Self::Cpu(engine) => engine.fingerprint(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.fingerprint(),
        }
    }

    fn max_binding_elements(&self) -> usize {
        match self {
            Self::Cpu(engine) => engine.max_binding_elements(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.max_binding_elements(),
        }
    }

    fn abilities(&self) -> Abilities {
        match self {
            Self::Cpu(engine) => engine.abilities(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.abilities(),
        }
    }

    fn tuned(&self) -> Tuned {
        match self {
            Self::Cpu(engine) => engine.tuned(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.tuned(),
        }
    }

    async fn create_store(&self, layout: &StoreLayout) -> Result<DeviceStore> {
        Ok(match self {
            Self::Cpu(engine) => DeviceStore::Cpu(engine.create_store(layout).await?),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => DeviceStore::Gpu(engine.create_store(layout).await?),
        })
    }

    fn join(&self, stores: &[&DeviceStore]) -> DeviceStore {
        match self {
            Self::Cpu(engine) => {
                let own = |store: &&'_ DeviceStore| match store {
                    DeviceStore::Cpu(store) => store.clone(),
                    #[cfg(feature = "gpu")]
                    DeviceStore::Gpu(_) => unreachable!("a store is used with its device"),
                };
                let stores: Vec<_> = stores.iter().map(own).collect();
                DeviceStore::Cpu(engine.join(&stores.iter().collect::<Vec<_>>()))
            }
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => {
                let own = |store: &&DeviceStore| match store {
                    DeviceStore::Gpu(store) => store.clone(),
                    DeviceStore::Cpu(_) => unreachable!("a store is used with its device"),
                };
                let stores: Vec<_> = stores.iter().map(own).collect();
                DeviceStore::Gpu(engine.join(&stores.iter().collect::<Vec<_>>()))
            }
        }
    }

    fn write(
        &self,
        store: &DeviceStore,
        arena: ArenaId,
        offset: usize,
        values: &[f32],
    ) -> Result<()> {
        dispatch!(self, store: DeviceStore, |engine, store| {
            engine.write(store, arena, offset, values)
        })
    }

    async fn read(
        &self,
        store: &DeviceStore,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        dispatch!(self, store: DeviceStore, |engine, store| {
            engine.read(store, arena, offset, length).await
        })
    }

    fn copy(&self, from: &DeviceStore, to: &DeviceStore, copies: &[StoreCopy]) -> Result<()> {
        match (self, from, to) {
            (Self::Cpu(engine), DeviceStore::Cpu(from), DeviceStore::Cpu(to)) => {
                engine.copy(from, to, copies)
            }
            #[cfg(feature = "gpu")]
            (Self::Gpu(engine), DeviceStore::Gpu(from), DeviceStore::Gpu(to)) => {
                engine.copy(from, to, copies)
            }
            #[cfg(feature = "gpu")]
            _ => unreachable!("a store is used with the device that made it"),
        }
    }

    async fn trusts(&self, recording: &Recording) -> Result<bool> {
        match self {
            Self::Cpu(engine) => engine.trusts(recording).await,
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.trusts(recording).await,
        }
    }

    async fn compile(&self, store: &DeviceStore, recording: Recording) -> Result<DevicePlan> {
        Ok(match (self, store) {
            (Self::Cpu(engine), DeviceStore::Cpu(store)) => {
                DevicePlan::Cpu(Box::new(engine.compile(store, recording).await?))
            }
            #[cfg(feature = "gpu")]
            (Self::Gpu(engine), DeviceStore::Gpu(store)) => {
                DevicePlan::Gpu(Box::new(engine.compile(store, recording).await?))
            }
            #[cfg(feature = "gpu")]
            _ => unreachable!("a store is used with the device that made it"),
        })
    }

    fn run(&self, plan: &DevicePlan, step: &Step, inputs: &Inputs) -> Result<()> {
        dispatch!(self, plan: DevicePlan, |engine, plan| engine.run(plan, step, inputs))
    }

    async fn run_in_turns(&self, plan: &DevicePlan, step: &Step, inputs: &Inputs) -> Result<()> {
        dispatch!(self, plan: DevicePlan, |engine, plan| {
            engine.run_in_turns(plan, step, inputs).await
        })
    }

    async fn run_for(
        &self,
        plan: &DevicePlan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        dispatch!(self, plan: DevicePlan, |engine, plan| {
            engine.run_for(plan, step, inputs, names).await
        })
    }

    async fn begin<'e>(
        &'e self,
        plan: &DevicePlan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Reading<'e>> {
        dispatch!(self, plan: DevicePlan, |engine, plan| {
            engine.begin(plan, step, inputs, names).await
        })
    }

    async fn run_reading(
        &self,
        plan: &DevicePlan,
        store: &DeviceStore,
        with: (&Step, &Inputs),
        reads: &[EarlyRead],
        take: &mut TakeRead<'_>,
    ) -> Result<()> {
        match (self, plan, store) {
            (Self::Cpu(engine), DevicePlan::Cpu(plan), DeviceStore::Cpu(store)) => {
                engine.run_reading(plan, store, with, reads, take).await
            }
            #[cfg(feature = "gpu")]
            (Self::Gpu(engine), DevicePlan::Gpu(plan), DeviceStore::Gpu(store)) => {
                engine.run_reading(plan, store, with, reads, take).await
            }
            #[cfg(feature = "gpu")]
            _ => unreachable!("plan and store are used with the device that made them"),
        }
    }

    async fn output(&self, plan: &DevicePlan, name: &str, step: &Step) -> Result<Vec<f32>> {
        dispatch!(self, plan: DevicePlan, |engine, plan| engine.output(plan, name, step).await)
    }
}
