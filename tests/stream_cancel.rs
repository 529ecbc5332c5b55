//! A step of generation that is dropped before its end has changed nothing: the text goes on as if
//! nobody had begun it.

mod support;

use blt_wgpu::Result;
use blt_wgpu::blt::config::{ModelConfig, PatchingMode};
use blt_wgpu::blt::{LoadedDirectory, LoadedModel};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, EngineFingerprint, Inputs, StoreCopy};
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{Recompute, Source, Streams};
use blt_wgpu::graph::{ArenaId, Recording, StoreLayout};
use blt_wgpu::kernels::{Abilities, Step};
use pollster::block_on;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use support::{golden_blt, golden_entropy, small_blt};

type Host = HostEngine<f32>;

/// An engine whose outputs come only when they are asked for a second time, as those of a device do
/// in a browser; by then all of a step has been computed.
struct Slow<E>(E);

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

impl<E: Engine> Engine for Slow<E> {
    type Store = E::Store;
    type Plan = E::Plan;

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

    fn copy(&self, from: &Self::Store, to: &Self::Store, copies: &[StoreCopy]) -> Result<()> {
        self.0.copy(from, to, copies)
    }

    async fn read(
        &self,
        _: &Self::Store,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        panic!("{length} elements from {offset} of {arena:?} come to the host: caches grow there")
    }

    async fn trusts(&self, recording: &Recording) -> Result<bool> {
        self.0.trusts(recording).await
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

    async fn run_for(
        &self,
        plan: &Self::Plan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        let outputs = self.0.run_for(plan, step, inputs, names).await?;
        Later(false).await;
        Ok(outputs)
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

/// Generates so many ids, `bytes` a submission, leaving steps at every place where they wait before
/// each that is done.
fn with_dropped_steps<E: Engine>(
    engine: &Slow<E>,
    temperature: f32,
    bytes: usize,
    count: usize,
) -> Vec<u32> {
    let cancelled = directory(engine);
    let streams = Streams::with_bytes_a_submission(engine, &cancelled, 1, bytes);
    let mut streams = block_on(streams).unwrap();
    let id = streams.open(&PROMPT, sampler(temperature)).unwrap();
    let mut dropped = 0;
    while streams.generated(id).len() < count {
        // A step waits once, the first also for the prompt, and not at all where its id was
        // computed with the one before: the one that is not left because it waits no more adds an
        // id, and so does the one behind it.
        for polls in 1..4 {
            let mut context = Context::from_waker(Waker::noop());
            let mut step = pin!(streams.step());
            let mut poll = || step.as_mut().poll(&mut context).is_ready();
            if (0..polls).any(|_| poll()) {
                assert!(polls > 1 || bytes > 1, "it waits for something");
                break;
            }
            dropped += 1;
        }
        block_on(streams.step()).unwrap();
    }
    assert!(2 * bytes * dropped >= count, "{dropped} steps were dropped");
    streams.generated(id)[..count].to_vec()
}

fn without<E: Engine>(engine: &E, temperature: f32, count: usize) -> Vec<u32> {
    let plain = directory(engine);
    let mut streams = block_on(Streams::new(engine, &plain, 1)).unwrap();
    let id = streams.open(&PROMPT, sampler(temperature)).unwrap();
    while streams.generated(id).len() < count && !streams.has_ended(id) {
        block_on(streams.step()).unwrap();
    }
    streams.generated(id).to_vec()
}

/// The likeliest ids and drawn ones, one a submission and several. Caches grow on the way.
#[test]
fn a_step_that_is_dropped_half_way_has_not_happened() {
    let (host, slow) = (Host::default(), Slow(Host::default()));
    for temperature in [0.0, 1.0] {
        let expected = without(&host, temperature, 150);
        for bytes in [1, 4] {
            let got = with_dropped_steps(&slow, temperature, bytes, expected.len());
            assert_eq!(got, expected, "at {temperature}, {bytes} a submission");
        }
    }
}

/// The same on a GPU, which has computed what nobody waited for, and goes on.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_goes_on_behind_a_step_that_was_dropped() {
    let Some(gpu) = support::gpu_engine("stream_cancel") else { return };
    let slow = Slow(gpu);
    for temperature in [0.0, 1.0] {
        let expected = without(&slow.0, temperature, 20);
        for bytes in [1, 3] {
            let got = with_dropped_steps(&slow, temperature, bytes, expected.len());
            assert_eq!(got, expected, "at {temperature}, {bytes} a submission");
        }
    }
    slow.0.context().check().unwrap();
}

/// A prompt that is read in parts, by a reader that is left every few times that it waits.
#[test]
fn a_prompt_in_parts_goes_on_where_its_reader_was_left() {
    let prompt: Vec<u32> = (0..1000).map(|index| 1 + 79 * (index % 3)).collect();
    // The widest are 384 numbers a byte, and the largest weights twice 98,304.
    let slow = Slow(Host::with_max_binding_elements(200_000));
    let limited = directory(&slow);
    let mut streams = block_on(Streams::new(&slow, &limited, 1)).unwrap();
    let id = streams.open(&prompt, sampler(0.0)).unwrap();
    let mut left_count = 0;
    loop {
        let mut context = Context::from_waker(Waker::noop());
        let mut reader = Box::pin(streams.prefill());
        let done = (0..5).find_map(|_| match reader.as_mut().poll(&mut context) {
            Poll::Ready(unread) => Some(unread.unwrap()),
            Poll::Pending => None,
        });
        drop(reader);
        match done {
            Some(unread) => break assert!(unread.is_empty(), "{unread:?}"),
            None => left_count += 1,
        }
        assert_eq!(streams.ids(id), prompt, "whoever asks sees all of it");
        assert!(streams.generated(id).is_empty() && left_count < 1000);
    }
    assert!(left_count > 10, "it was left {left_count} times");
    let host = Host::default();
    let plain = directory(&host);
    let mut at_once = block_on(Streams::new(&host, &plain, 1)).unwrap();
    let other = at_once.open(&prompt, sampler(0.0)).unwrap();
    for _ in 0..10 {
        block_on(streams.step()).unwrap();
        block_on(at_once.step()).unwrap();
    }
    assert_eq!(streams.ids(id), at_once.ids(other));
}

/// Greedy ids behind the prompt, each read with all of the text; `drops`: a step is begun and left
/// before each.
fn recomputed<E: Engine>(engine: &E, drops: bool, count: usize) -> Vec<u32> {
    let plain = directory(engine);
    let mut source = Recompute::new(engine, &plain, sampler(0.0)).unwrap();
    source.begin(&PROMPT, 0).unwrap();
    let mut ids = Vec::new();
    while ids.len() < count {
        if drops {
            let mut step = pin!(source.step());
            let mut context = Context::from_waker(Waker::noop());
            assert!(step.as_mut().poll(&mut context).is_pending(), "it waits for something");
        }
        ids.push(block_on(source.step()).unwrap().id);
    }
    ids
}

#[test]
fn a_dropped_step_that_reads_everything_again_has_not_happened() {
    let expected = recomputed(&Host::default(), false, 12);
    assert_eq!(recomputed(&Slow(Host::default()), true, 12), expected);
}
