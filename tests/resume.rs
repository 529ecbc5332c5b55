//! A run that goes on compiles its plan once, for what the run had needed before.

mod support;

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;

use blt_wgpu::Result;
use blt_wgpu::checkpoint::PIECE_ELEMENTS;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, EngineFingerprint, Inputs, StoreCopy};
use blt_wgpu::graph::{ArenaId, Recording, StoreLayout};
use blt_wgpu::kernels::{Abilities, Counts, Step};
use blt_wgpu::platform::NativePlatform;
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::run::{Event, Run, Start};
use pollster::block_on;
use support::runs::{BLT, config, texts};

type Host = HostEngine<f32>;

/// The CPU engine, and what it was asked to compile.
#[derive(Default)]
struct Observed {
    host: Host,
    compiled: RefCell<Vec<(String, Counts)>>,
    /// Most elements that it was given at once.
    largest_write: Cell<usize>,
}

impl Observed {
    /// Capacities of the plans of micro-batches, in their order.
    fn micro(&self) -> Vec<Counts> {
        let compiled = self.compiled.borrow();
        compiled.iter().filter(|(name, _)| name == "micro").map(|(_, counts)| *counts).collect()
    }
}

impl Engine for Observed {
    type Store = <Host as Engine>::Store;
    type Plan = <Host as Engine>::Plan;

    fn name(&self) -> String {
        self.host.name()
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
        self.largest_write.set(self.largest_write.get().max(values.len()));
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
        self.compiled.borrow_mut().push((recording.name.clone(), recording.capacity));
        self.host.compile(store, recording).await
    }

    fn run(&self, plan: &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()> {
        self.host.run(plan, step, inputs)
    }

    async fn output(&self, plan: &Self::Plan, name: &str, step: &Step) -> Result<Vec<f32>> {
        self.host.output(plan, name, step).await
    }
}

/// Runs to the end, with the capacities that were compiled on the way.
fn finish(config: RunConfig, start: Start) -> Vec<Counts> {
    let engine = Observed::default();
    let mut run = block_on(Run::new(&engine, NativePlatform::default(), config, start)).unwrap();
    while !matches!(block_on(run.step()).unwrap(), Event::Finished { .. }) {}
    engine.micro()
}

#[test]
fn a_resumed_run_compiles_at_once_for_what_it_needed_before() {
    let dir = texts();
    let whole = config(BLT, dir.path(), "run", &["steps=14", "data.batch_size=1"]);
    let first = RunConfig { max_steps: Some(12), ..whole.clone() };
    let grown = finish(first, Start::Fresh);
    assert!(grown.len() > 1, "the rows of this text differ in size: {grown:?}");
    let resumed = finish(whole, Start::Resume);
    assert_eq!(resumed, grown[grown.len() - 1..], "one plan, as large as the last before");
}

#[test]
fn a_plan_that_no_batch_can_have_needed_is_refused() {
    let dir = texts();
    let whole = config(BLT, dir.path(), "run", &["steps=2"]);
    finish(RunConfig { max_steps: Some(1), ..whole.clone() }, Start::Fresh);
    let path = dir.path().join("run/checkpoints/step-0000000001/plan.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut plan: serde_json::Value = serde_json::from_str(&text).unwrap();
    plan["programs"]["micro"]["capacity"][1] = 4_000_000_000_u32.into();
    fs::write(&path, plan.to_string()).unwrap();
    let engine = Host::default();
    let run = block_on(Run::new(&engine, NativePlatform::default(), whole, Start::Resume));
    let error = run.err().expect("a plan of 16 GB a column").to_string();
    assert!(error.contains("plan.json") && error.contains("4000000000"), "{error}");
}

#[test]
fn a_large_table_and_its_moments_come_back_in_pieces() {
    let dir = texts();
    let table = "model.encoder_hash_byte_group_vocab=140001";
    let whole = config(BLT, dir.path(), "run", &["steps=2", table]);
    finish(RunConfig { max_steps: Some(1), ..whole.clone() }, Start::Fresh);
    let engine = Observed::default();
    let run = block_on(Run::new(&engine, NativePlatform::default(), whole, Start::Resume)).unwrap();
    assert_eq!(run.step_count(), 1);
    let (largest, table) = (engine.largest_write.get(), 2 * 140_001 * 16);
    assert!(largest <= PIECE_ELEMENTS && PIECE_ELEMENTS < table, "{largest} of {table}");
}

/// The plan of the first checkpoint, changed and written back.
fn change_plan(dir: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.join("run/checkpoints/step-0000000001/plan.json");
    let mut plan = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut plan);
    fs::write(&path, plan.to_string()).unwrap();
}

#[test]
fn a_run_goes_on_elsewhere_only_when_it_is_told_to() {
    let dir = texts();
    let whole = config(BLT, dir.path(), "run", &["steps=2"]);
    finish(RunConfig { max_steps: Some(1), ..whole.clone() }, Start::Fresh);
    let engine = Host::default();
    let run = |start| block_on(Run::new(&engine, NativePlatform::default(), whole.clone(), start));
    let refused = || {
        let error = run(Start::Resume).err().expect("other bits");
        assert!(error.hint().unwrap().contains("--elsewhere"), "{error}");
        error.to_string()
    };
    let here = engine.fingerprint();
    change_plan(dir.path(), |plan| plan["engine"]["kernels"] = "0".into());
    let expected = format!("the set of kernels was 0 and is {}", here.kernels);
    assert_eq!(refused(), format!("plan.json: engine: {expected}"));
    let warnings = run(Start::ResumeElsewhere).unwrap().warnings().to_vec();
    assert!(warnings.iter().any(|warning| warning.starts_with(&expected)), "{warnings:?}");

    change_plan(dir.path(), |plan| {
        plan["engine"]["kernels"] = here.kernels.clone().into();
        plan["programs"]["update"]["dispatch_count"] = 77.into();
    });
    assert!(refused().contains("plan.json: update: the run made 77 dispatches"), "{}", refused());
    let warnings = run(Start::ResumeElsewhere).unwrap().warnings().to_vec();
    assert!(warnings.iter().all(|warning| !warning.contains("last bits")), "{warnings:?}");
}

#[test]
fn what_is_computed_again_may_change() {
    let dir = texts();
    let whole = config(BLT, dir.path(), "run", &["steps=2"]);
    finish(RunConfig { max_steps: Some(1), ..whole }, Start::Fresh);
    finish(config(BLT, dir.path(), "run", &["steps=2", "recompute=\"blocks\""]), Start::Resume);
}

#[test]
fn other_updates_of_hash_tables_are_refused_by_the_name_of_their_key() {
    let dir = texts();
    let with = |updates: &str| {
        let updates = format!("optim.table_updates=\"{updates}\"");
        config(BLT, dir.path(), "run", &["steps=2", &updates])
    };
    finish(RunConfig { max_steps: Some(1), ..with("lazy") }, Start::Fresh);
    let engine = Host::default();
    let run = |start| block_on(Run::new(&engine, NativePlatform::default(), with("dense"), start));
    let error = run(Start::Resume).err().expect("other kernels");
    let expected = "optim.table_updates: the updates of the run are lazy with ";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.hint(), Some("set optim.table_updates = \"lazy\""));
    run(Start::ResumeElsewhere).map(|_| ()).unwrap();
}
