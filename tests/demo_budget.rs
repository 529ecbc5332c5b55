//! The demo keeps its seconds, on an engine whose every replay takes as long as its plan says.

use std::cell::Cell;
use std::ops::Range;

use blt_wgpu::Result;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::demo::{Demo, DemoEvent, DemoOptions, Extent, Record, SHAKESPEARE};
use blt_wgpu::engine::{Engine, EngineFingerprint, Inputs, StoreCopy};
use blt_wgpu::graph::{ArenaId, Recording, StoreLayout};
use blt_wgpu::kernels::{Abilities, Step};
use pollster::block_on;

type Host = HostEngine<f32>;

/// The CPU engine with a clock of its own.
struct Metered {
    host: Host,
    /// Floating-point operations a second.
    flops_per_second: f64,
    /// Replays, by their number, that something else keeps waiting for [`STALL`] seconds.
    stalled: Range<usize>,
    run_count: Cell<usize>,
    now: Cell<f64>,
}

const STALL: f64 = 1.0;
/// Replays before the first training: a step that compiles and ten measured ones, each of two
/// replays, of each model. Then the entropy model is trained.
const MEASURING_RUNS: usize = 2 * 2 * 11;

impl Metered {
    fn new(flops_per_second: f64) -> Self {
        let (run_count, now) = (Cell::new(0), Cell::new(0.0));
        Self { host: Host::default(), flops_per_second, stalled: 0..0, run_count, now }
    }
}

impl Engine for Metered {
    type Store = <Host as Engine>::Store;
    type Plan = (Recording, <Host as Engine>::Plan);

    fn name(&self) -> String {
        "metered".into()
    }

    fn fingerprint(&self) -> EngineFingerprint {
        self.host.fingerprint()
    }

    fn max_binding_elements(&self) -> usize {
        self.host.max_binding_elements()
    }

    fn abilities(&self) -> Abilities {
        self.host.abilities()
    }

    async fn create_store(&self, layout: &StoreLayout) -> Result<Self::Store> {
        self.host.create_store(layout).await
    }

    fn join(&self, stores: &[&Self::Store]) -> Self::Store {
        self.host.join(stores)
    }

    fn write(&self, store: &Self::Store, arena: ArenaId, at: usize, values: &[f32]) -> Result<()> {
        self.host.write(store, arena, at, values)
    }

    fn copy(&self, from: &Self::Store, to: &Self::Store, copies: &[StoreCopy]) -> Result<()> {
        self.host.copy(from, to, copies)
    }

    async fn read(
        &self,
        store: &Self::Store,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        self.host.read(store, arena, offset, length).await
    }

    async fn compile(&self, store: &Self::Store, recording: Recording) -> Result<Self::Plan> {
        let plan = self.host.compile(store, recording.clone()).await?;
        Ok((recording, plan))
    }

    fn run(&self, (recording, plan): &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()> {
        let work = recording.cost(&step.counts).flops as f64 / self.flops_per_second;
        let run_index = self.run_count.get();
        self.run_count.set(run_index + 1);
        let stall = if self.stalled.contains(&run_index) { STALL } else { 0.0 };
        self.now.set(self.now.get() + work + stall);
        self.host.run(plan, step, inputs)
    }

    async fn output(&self, (_, plan): &Self::Plan, name: &str, step: &Step) -> Result<Vec<f32>> {
        self.host.output(plan, name, step).await
    }
}

struct Finished {
    record: Record,
    elapsed: f64,
    extent: Extent,
    all: Extent,
    overrun: Option<f64>,
}

/// A fresh demo of so many seconds on a little text.
fn demo(engine: &Metered, seconds: f64) -> Finished {
    let clock = || engine.now.get();
    let options = DemoOptions {
        text: &SHAKESPEARE[..200_000],
        text_name: "a little Shakespeare",
        seconds,
        seed: 1,
        replay: None,
    };
    let mut demo = Demo::new(engine, &clock, options).unwrap();
    let mut started = None;
    while !demo.is_done() {
        if let DemoEvent::Started { extent, all, overrun, .. } = block_on(demo.step()).unwrap() {
            started = Some((extent, all, overrun));
        }
    }
    let (extent, all, overrun) = started.unwrap();
    Finished { record: demo.finish().record, elapsed: clock(), extent, all, overrun }
}

/// Slow enough that a hundred steps are a long demo.
const FLOPS_PER_SECOND: f64 = 1e10;

#[test]
fn a_demo_takes_the_seconds_it_is_given() {
    for seconds in [40.0, 70.0] {
        let found = demo(&Metered::new(FLOPS_PER_SECOND), seconds);
        assert_eq!(found.overrun, None, "{seconds} seconds are enough");
        let part = found.elapsed / seconds;
        assert!((0.75..=1.0).contains(&part), "{} of {seconds} seconds", found.elapsed);
        assert!(found.record.entropy_step_count > 10 && found.record.blt_step_count > 10);
        assert_eq!(found.record.train_bytes, Some(found.extent.train_bytes));
        assert_eq!(found.record.held_out_bytes, Some(found.extent.held_out_bytes));
        assert!(found.extent.train_bytes < found.all.train_bytes, "less is read: {seconds}");
    }
}

#[test]
fn too_few_seconds_do_the_least_and_say_how_long_that_takes() {
    let found = demo(&Metered::new(FLOPS_PER_SECOND), 2.0);
    assert_eq!((found.record.entropy_step_count, found.record.blt_step_count), (10, 10));
    let told = found.overrun.unwrap();
    assert!((0.7..=1.1).contains(&(found.elapsed / told)), "{} of {told}", found.elapsed);
}

#[test]
fn a_machine_that_is_busy_for_a_moment_does_not_shorten_the_run() {
    let calm = demo(&Metered::new(FLOPS_PER_SECOND), 110.0);
    let mut engine = Metered::new(FLOPS_PER_SECOND);
    // Three of the ten measured steps of the entropy model take several times as long.
    engine.stalled = MEASURING_RUNS + 4..MEASURING_RUNS + 10;
    let busy = demo(&engine, 110.0);
    // The lost seconds are gone, but they are not taken for the speed of the device.
    let kept = busy.record.entropy_step_count as f64 / calm.record.entropy_step_count as f64;
    assert!((0.85..1.0).contains(&kept), "{:?} {:?}", busy.record, calm.record);
    assert!(busy.elapsed <= 110.0, "{}", busy.elapsed);
}
