//! A step of generation that is dropped before its end has changed nothing: the text goes on as if
//! nobody had begun it.

mod support;

use blt_wgpu::Result;
use blt_wgpu::blt::config::{ModelConfig, PatchingMode};
use blt_wgpu::blt::{LoadedDirectory, LoadedModel};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, EngineFingerprint, Inputs};
use blt_wgpu::generate::Streams;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::graph::{ArenaId, Recording, StoreLayout};
use blt_wgpu::kernels::{Abilities, Step};
use pollster::block_on;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use support::{golden_blt, golden_entropy, small_blt};

type Host = HostEngine<f32>;

/// The CPU engine, whose outputs come only when they are asked for a second time, as from a device.
#[derive(Default)]
struct Slow(Host);

/// Ready when it is polled a second time.
struct Later(bool);

impl Future for Later {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Engine for Slow {
    type Store = <Host as Engine>::Store;
    type Plan = <Host as Engine>::Plan;

    fn name(&self) -> String {
        self.0.name()
    }

    fn fingerprint(&self) -> EngineFingerprint {
        self.0.fingerprint()
    }

    fn max_binding_elements(&self) -> usize {
        self.0.max_binding_elements()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    async fn create_store(&self, layout: &StoreLayout) -> Result<Self::Store> {
        self.0.create_store(layout).await
    }

    fn join(&self, stores: &[&Self::Store]) -> Self::Store {
        self.0.join(stores)
    }

    fn write(&self, store: &Self::Store, arena: ArenaId, at: usize, values: &[f32]) -> Result<()> {
        self.0.write(store, arena, at, values)
    }

    async fn read(
        &self,
        store: &Self::Store,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        Later(false).await;
        self.0.read(store, arena, offset, length).await
    }

    async fn compile(&self, store: &Self::Store, recording: Recording) -> Result<Self::Plan> {
        self.0.compile(store, recording).await
    }

    fn run(&self, plan: &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()> {
        self.0.run(plan, step, inputs)
    }

    async fn output(&self, plan: &Self::Plan, name: &str, step: &Step) -> Result<Vec<f32>> {
        Later(false).await;
        self.0.output(plan, name, step).await
    }
}

fn loaded<E: Engine>(engine: &E, config: ModelConfig) -> LoadedModel<E> {
    let model = block_on(LoadedModel::create(engine, config, false)).unwrap();
    model.initialise(engine, 5).unwrap();
    model
}

fn directory<E: Engine>(engine: &E) -> LoadedDirectory<E> {
    let ModelConfig::Blt(mut config) = small_blt() else { unreachable!("it is a BLT") };
    let mut entropy = golden_entropy();
    entropy.transformer.max_positions = 4096;
    config.patching.mode = PatchingMode::Entropy;
    config.patching.threshold = 5.5;
    config.semantics = golden_blt().semantics;
    config.attach_patcher(entropy.clone());
    LoadedDirectory {
        model: loaded(engine, ModelConfig::Blt(config)),
        patcher: Some(loaded(engine, ModelConfig::Entropy(entropy))),
    }
}

fn sampler(temperature: f32) -> Sampler {
    let options = SamplingOptions { temperature, ..SamplingOptions::default() };
    Sampler::new(options, 1).unwrap()
}

const PROMPT: [u32; 5] = [1, 80, 101, 36, 90];

/// Both ways of a step: the device chooses, and the host draws. Caches grow on the way.
#[test]
fn a_step_that_is_dropped_half_way_has_not_happened() {
    let (host, slow) = (Host::default(), Slow::default());
    let (plain, cancelled) = (directory(&host), directory(&slow));
    for temperature in [0.0, 1.0] {
        let mut whole = block_on(Streams::new(&host, &plain, 1)).unwrap();
        let expected = whole.open(&PROMPT, sampler(temperature)).unwrap();
        for _ in 0..150 {
            block_on(whole.step()).unwrap();
        }
        let expected = whole.generated(expected).to_vec();
        let mut streams = block_on(Streams::new(&slow, &cancelled, 1)).unwrap();
        let id = streams.open(&PROMPT, sampler(temperature)).unwrap();
        let mut dropped = 0;
        while streams.generated(id).len() < expected.len() {
            // A step waits once or twice, the first also for the prompt: it is left at each place.
            for polls in 1..4 {
                let mut context = Context::from_waker(Waker::noop());
                let mut step = pin!(streams.step());
                let mut poll = || step.as_mut().poll(&mut context).is_ready();
                if (0..polls).any(|_| poll()) {
                    assert!(polls > 1, "it waits for something");
                    break;
                }
                dropped += 1;
            }
            block_on(streams.step()).unwrap();
        }
        assert!(dropped >= expected.len(), "{dropped} steps were dropped");
        assert_eq!(&streams.generated(id)[..expected.len()], expected, "at {temperature}");
    }
}
