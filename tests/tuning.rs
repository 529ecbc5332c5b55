//! Tuned variants on a GPU: measured, kept, taken, and part of what a run records.

#![cfg(feature = "gpu")]

mod support;

use std::collections::BTreeMap;
use std::fs;

use blt_wgpu::bench::{BenchShape, TuneEvent, TunedFile, Tuner};
use blt_wgpu::blt::{LoadedModel, training_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::{Precision, Recording};
use blt_wgpu::kernels::{Axis, Counts, Tuned, shape_class};
use blt_wgpu::platform::{NativePlatform, StopFlag};
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::run::{Event, Run, Start};
use pollster::block_on;
use serde_json::Value;
use support::runs::{BLT, config, texts};
use support::small_blt;

/// A shape whose calls a software driver times in seconds.
fn tiny() -> BenchShape {
    BenchShape::from_toml("tiny", include_str!("support/tiny.toml")).unwrap()
}

/// Base variants for every class of a recording that has another.
fn base_choices(recording: &Recording) -> BTreeMap<String, String> {
    let dispatches = recording.dispatches.iter();
    let classes = dispatches.filter_map(|it| shape_class(it.kernel, &it.params, it.halves));
    classes.map(|class| (class, "base".to_owned())).collect()
}

/// The plan of micro-batches of a small model, under the choices of the engine.
fn micro<E: Engine>(engine: &E, byte_count: usize) -> Recording {
    let model = block_on(LoadedModel::create(engine, small_blt(), true)).unwrap();
    let capacity = Counts::default().with(Axis::Bytes, byte_count).with(Axis::Patches, byte_count);
    block_on(model.compile(engine, training_graph, "micro", capacity)).unwrap()
}

fn variants(recording: &Recording) -> Vec<String> {
    recording.dispatches.iter().map(|it| it.variant_name()).collect()
}

#[test]
fn a_tuner_checks_times_and_keeps_what_a_device_then_takes() {
    let Some(engine) = support::gpu_engine("a_tuner_checks_times_and_keeps") else { return };
    let device = Device::Gpu(Box::new(engine));
    let (platform, shapes) = (NativePlatform::default(), [tiny()]);
    let mut tuner = Tuner::new(&device, platform, &shapes, &[Precision::F32], 1).unwrap();
    assert!(tuner.task_count() > 10, "{} classes", tuner.task_count());
    let mut chosen = Vec::new();
    loop {
        match block_on(tuner.step()).unwrap() {
            TuneEvent::Chosen { class, choice, .. } => chosen.push((class, choice)),
            TuneEvent::Finished => break,
            TuneEvent::Began(_) | TuneEvent::Rejected(_) => {}
        }
    }
    assert!(!chosen.is_empty());
    for (class, choice) in &chosen {
        assert!(choice.median_ms.len() > 1, "{class}: nothing was compared");
        let ms = choice.median_ms[&choice.variant];
        let fastest = choice.median_ms.values().copied().fold(f64::INFINITY, f64::min);
        assert!(ms > 0.0 && ms <= fastest / 0.97, "{class}: {choice:?}");
    }
    let text = tuner.file().to_text().unwrap();
    let (tuned, warnings) = TunedFile::choices_for(&text, "tuned.json", &device).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(tuned.choices().len(), chosen.len());
    drop(tuner);
    let device = device.with_tuned(tuned.clone());
    assert_eq!(device.tuned(), tuned);

    // The same file elsewhere.
    let cpu = Device::Cpu(HostEngine::default());
    let error = TunedFile::choices_for(&text, "tuned.json", &cpu).unwrap_err();
    assert!(error.to_string().contains("made for the device"), "{error}");
}

#[test]
fn choices_are_taken_alike_by_a_larger_plan() {
    let name = "choices_are_taken_alike_by_a_larger_plan";
    let Some(engine) = support::gpu_engine(name) else { return };
    let rules = micro(&engine, 256);
    let tuned = Tuned::new(base_choices(&rules));
    let engine = engine.with_tuned(tuned);
    let (small, large) = (micro(&engine, 256), micro(&engine, 3 * 1024));
    let choices = small.dispatches.iter();
    let choices = choices.filter(|it| shape_class(it.kernel, &it.params, it.halves).is_some());
    let taken: Vec<_> = choices.map(|it| it.variant_name()).collect();
    assert!(taken.iter().all(|name| name.ends_with(".base")), "{taken:?}");
    assert_eq!(variants(&small), variants(&large));
    let special = |recording: &Recording| {
        variants(recording).iter().filter(|name| !name.ends_with(".base")).count()
    };
    assert!(special(&rules) > 0, "the rules choose other variants here, or nothing was shown");
}

#[test]
fn a_resumed_run_takes_the_variants_that_it_began_with() {
    let name = "a_resumed_run_takes_the_variants_that_it_began_with";
    let Some(plain) = support::gpu_engine(name) else { return };
    let dir = texts();
    let whole = config(BLT, dir.path(), "run", &["steps=3"]);
    let plan = |step: u64| -> Value {
        let path = format!("run/checkpoints/step-{step:010}/plan.json");
        serde_json::from_str(&fs::read_to_string(dir.path().join(path)).unwrap()).unwrap()
    };
    // Every product by its base variant, which no rule takes on a software driver.
    let shape = blt_wgpu::train::run::run_model(&whole).unwrap();
    let model = block_on(LoadedModel::create(&plain, shape.config, true)).unwrap();
    let recording =
        block_on(model.compile(&plain, training_graph, "micro", Counts::default())).unwrap();
    let choices = base_choices(&recording);
    let tuned = support::gpu_engine(name).unwrap().with_tuned(Tuned::new(choices.clone()));
    finish(&tuned, RunConfig { max_steps: Some(2), ..whole.clone() }, Start::Fresh);
    assert_eq!(plan(2)["tuned"], serde_json::to_value(&choices).unwrap());

    finish(&plain, whole, Start::Resume);
    assert_eq!(plan(3), plan(2), "the choices of the run, though this engine has none");
}

#[test]
fn the_cpu_engine_has_nothing_to_tune_and_a_tuner_stops_when_it_is_asked_to() {
    let cpu = Device::Cpu(HostEngine::default());
    let tuner = Tuner::new(&cpu, NativePlatform::default(), &[tiny()], &[Precision::F32], 1);
    let error = tuner.err().expect("nothing to choose from");
    assert!(error.to_string().contains("one variant of every kernel"), "{error}");

    let name = "the_cpu_engine_has_nothing_to_tune";
    let Some(engine) = support::gpu_engine(name) else { return };
    let device = Device::Gpu(Box::new(engine));
    let stop = StopFlag::default();
    stop.request();
    let platform = NativePlatform::new(stop);
    let mut tuner = Tuner::new(&device, platform, &[tiny()], &[Precision::F32], 1).unwrap();
    assert!(matches!(block_on(tuner.step()), Err(blt_wgpu::Error::Cancelled)));
}

#[test]
fn a_tuner_that_is_stopped_loses_nothing_that_it_chose() {
    let name = "a_tuner_that_is_stopped_loses_nothing";
    let Some(engine) = support::gpu_engine(name) else { return };
    let device = Device::Gpu(Box::new(engine));
    let stop = StopFlag::default();
    let platform = NativePlatform::new(stop.clone());
    let mut tuner = Tuner::new(&device, platform, &[tiny()], &[Precision::F32], 1).unwrap();
    let covered: usize = tuner.coverage().classes.values().sum();
    assert_eq!(covered, tuner.task_count());
    assert!(tuner.coverage().by_rules.contains("rms_norm"), "{}", tuner.coverage());
    let chosen = loop {
        match block_on(tuner.step()).unwrap() {
            TuneEvent::Chosen { class, .. } => break class,
            TuneEvent::Finished => panic!("nothing was chosen"),
            TuneEvent::Began(_) | TuneEvent::Rejected(_) => {}
        }
    };
    stop.request();
    while block_on(tuner.step()).is_ok() {}
    assert_eq!(tuner.file().choices.keys().collect::<Vec<_>>(), [&chosen]);
}

fn finish<E: Engine>(engine: &E, config: RunConfig, start: Start) {
    let mut run = block_on(Run::new(engine, NativePlatform::default(), config, start)).unwrap();
    while !matches!(block_on(run.step()).unwrap(), Event::Finished { .. }) {}
}
