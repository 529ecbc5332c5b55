//! Patching on the fly: the entropy model works behind the updates of the run, and a run that has
//! to wait for it hears who wants it to stop.

mod support;

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};

use blt_wgpu::Result;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, EngineFingerprint, Inputs, Reading, StoreCopy};
use blt_wgpu::graph::{ArenaId, Recording, StoreLayout};
use blt_wgpu::kernels::{Abilities, Step, Tuned};
use blt_wgpu::platform::{NativePlatform, Platform, StopFlag};
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::metrics::parse_lines;
use blt_wgpu::train::run::{Event, Run, Start};
use pollster::block_on;
use support::gpu_engine;
use support::runs::{BLT, ENTROPY, config, sentences, texts};

/// An engine that writes down what is begun and what is waited for, in their order.
struct Logged<E> {
    inner: E,
    log: RefCell<Vec<&'static str>>,
}

struct LoggedPlan<P> {
    is_micro: bool,
    plan: P,
}

impl<E: Engine> Engine for Logged<E> {
    type Store = E::Store;
    type Plan = LoggedPlan<E::Plan>;

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

    async fn create_store(&self, layout: &StoreLayout) -> Result<E::Store> {
        self.inner.create_store(layout).await
    }

    fn join(&self, stores: &[&E::Store]) -> E::Store {
        self.inner.join(stores)
    }

    fn write(&self, store: &E::Store, arena: ArenaId, at: usize, values: &[f32]) -> Result<()> {
        self.inner.write(store, arena, at, values)
    }

    fn copy(&self, from: &E::Store, to: &E::Store, copies: &[StoreCopy]) -> Result<()> {
        self.inner.copy(from, to, copies)
    }

    async fn read(
        &self,
        store: &E::Store,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        self.inner.read(store, arena, offset, length).await
    }

    async fn compile(&self, store: &E::Store, recording: Recording) -> Result<Self::Plan> {
        let is_micro = recording.name == "micro";
        Ok(LoggedPlan { is_micro, plan: self.inner.compile(store, recording).await? })
    }

    fn run(&self, plan: &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()> {
        if plan.is_micro {
            self.log.borrow_mut().push("micro");
        }
        self.inner.run(&plan.plan, step, inputs)
    }

    async fn output(&self, plan: &Self::Plan, name: &str, step: &Step) -> Result<Vec<f32>> {
        self.inner.output(&plan.plan, name, step).await
    }

    async fn begin<'e>(
        &'e self,
        plan: &Self::Plan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Reading<'e>> {
        self.log.borrow_mut().push("begin");
        let reading = self.inner.begin(&plan.plan, step, inputs, names).await?;
        Ok(Reading::new(async move {
            self.log.borrow_mut().push("finish");
            reading.finish().await
        }))
    }
}

/// A clock that goes a second further whenever somebody looks at it.
struct Slow {
    seconds: Cell<u64>,
    stop: StopFlag,
}

impl Platform for Slow {
    fn monotonic_seconds(&self) -> f64 {
        self.seconds.set(self.seconds.get() + 1);
        self.seconds.get() as f64
    }

    fn unix_seconds(&self) -> u64 {
        0
    }

    fn is_stop_requested(&self) -> bool {
        self.stop.is_requested()
    }
}

fn train<E: Engine>(engine: &E, config: &RunConfig, start: Start) -> PathBuf {
    let run = Run::new(engine, NativePlatform::default(), config.clone(), start);
    let mut run = block_on(run).unwrap();
    loop {
        if let Event::Finished { path, .. } = block_on(run.step()).unwrap() {
            return path;
        }
    }
}

/// An entropy model in `dir`, and what cuts text by it.
fn entropy_patching(dir: &Path) -> [String; 3] {
    let entropy = config(ENTROPY, dir, "entropy", &["steps=6"]);
    let model = train(&HostEngine::<f32>::default(), &entropy, Start::Fresh);
    [
        "data.patcher_args.patching_mode=\"entropy\"".to_owned(),
        format!("data.patcher_args.entropy_model_checkpoint_dir={:?}", model.display()),
        "data.patcher_args.threshold=5.3".to_owned(),
    ]
}

/// Step, loss and bits of held-out text of every line.
fn figures(config: &RunConfig) -> Vec<(u64, u32, Option<f64>)> {
    let text = fs::read_to_string(config.dump_dir.join("metrics.jsonl")).unwrap();
    let lines = parse_lines(&text).unwrap().into_iter();
    lines.map(|line| (line.global_step, line.loss.to_bits(), line.eval_bits_per_byte)).collect()
}

#[test]
fn a_run_that_waits_for_a_long_document_says_so_and_stops_when_it_is_asked_to() {
    let dir = texts();
    let long = sentences(3, 2500).join(" ");
    assert!(long.len() > 60_000);
    fs::write(dir.path().join("long.txt"), long).unwrap();
    let patching = entropy_patching(dir.path());
    let engine = HostEngine::<f32>::default();
    let run = |name: &str| {
        let long = ["data.sources=[\"long.txt\"]", "data.valid=[\"long.txt\"]"];
        let sets = [&long[..], &["steps=3", "eval.every=3", "eval.max_bytes=20000"]].concat();
        let sets: Vec<_> = sets.into_iter().chain(patching.iter().map(String::as_str)).collect();
        config(BLT, dir.path(), name, &sets)
    };
    let straight = run("straight");
    train(&engine, &straight, Start::Fresh);

    let parts = run("parts");
    let slow = || Slow { seconds: Cell::new(0), stop: StopFlag::default() };
    let platform = slow();
    let mut waiting = block_on(Run::new(&engine, &platform, parts.clone(), Start::Fresh)).unwrap();
    let mut scored = Vec::new();
    for _ in 0..3 {
        let event = block_on(waiting.step()).unwrap();
        let Event::Scoring { step: 0, progress: Some(progress) } = event else {
            panic!("{event:?}")
        };
        assert!(progress.document.contains("long.txt") && progress.bytes > 60_000);
        scored.push(progress.scored_bytes);
    }
    assert!(scored.is_sorted() && scored[0] < scored[2] && scored[2] < 60_000, "{scored:?}");
    platform.stop.request();
    let event = block_on(waiting.step()).unwrap();
    assert!(matches!(event, Event::Stopped { step: 0, .. }), "{event:?}");
    drop(waiting);
    // What it goes on with are the numbers of a run that nobody has stopped; held-out text is
    // waited for like any other.
    let mut run = block_on(Run::new(&engine, slow(), parts.clone(), Start::Resume)).unwrap();
    let mut last_scoring = 0;
    loop {
        match block_on(run.step()).unwrap() {
            Event::Scoring { step, .. } => last_scoring = step,
            Event::Finished { .. } => break,
            _ => {}
        }
    }
    assert_eq!(last_scoring, 3, "held-out text is cut in front of its evaluation");
    assert_eq!(figures(&parts), figures(&straight));
}

#[test]
fn the_entropy_model_works_ahead_and_is_waited_for_behind_an_update() {
    let dir = texts();
    let patching = entropy_patching(dir.path());
    let line = |text: String| serde_json::json!({ "text": text }).to_string() + "\n";
    let lines: String = sentences(4, 2000).into_iter().map(line).collect();
    fs::write(dir.path().join("lines.jsonl"), lines).unwrap();
    let sets = ["steps=30", "data.batch_size=16", "data.shuffle_buffer=32"];
    let sets = [&sets[..], &["data.sources=[\"lines.jsonl\"]"]].concat();
    let sets: Vec<_> = sets.into_iter().chain(patching.iter().map(String::as_str)).collect();
    let plain = config(BLT, dir.path(), "plain", &sets);
    train(&HostEngine::<f32>::default(), &plain, Start::Fresh);
    let engine = Logged { inner: HostEngine::<f32>::default(), log: RefCell::default() };
    let logged = config(BLT, dir.path(), "logged", &sets);
    train(&engine, &logged, Start::Fresh);
    assert_eq!(figures(&logged), figures(&plain));
    let text = fs::read_to_string(plain.dump_dir.join("metrics.jsonl")).unwrap();
    for line in parse_lines(&text).unwrap() {
        assert!(line.data_seconds.unwrap() <= line.update_seconds, "a wait is in its update");
    }
    let log = engine.log.into_inner();
    let first = log.iter().position(|what| *what == "micro").unwrap();
    // Slices are waited for in the order in which they were begun.
    let places = |what| log.iter().enumerate().filter(move |it| *it.1 == what).map(|it| it.0);
    let slices = places("begin").zip(places("finish")).filter(|(began, _)| *began > first);
    let between: Vec<_> = slices.map(|(began, finished)| &log[began..finished]).collect();
    assert!(between.len() >= 2, "{log:?}");
    for slice in between {
        assert!(slice.contains(&"micro"), "the device has an update to do meanwhile: {log:?}");
    }
}

#[test]
fn readings_on_a_gpu_wait_for_nothing_and_find_what_was_theirs() {
    let Some(engine) = gpu_engine("on_the_fly") else { return };
    let dir = texts();
    let patching = entropy_patching(dir.path());
    let sets: Vec<_> = ["steps=6"].into_iter().chain(patching.iter().map(String::as_str)).collect();
    let overlapped = config(BLT, dir.path(), "overlapped", &sets);
    train(&engine, &overlapped, Start::Fresh);
    // The default of the trait waits for every slice at once.
    let waiting = support::failing::Failing::lost_after(engine, u64::MAX);
    let one_by_one = config(BLT, dir.path(), "one-by-one", &sets);
    train(&waiting, &one_by_one, Start::Fresh);
    assert_eq!(figures(&overlapped), figures(&one_by_one));
}
