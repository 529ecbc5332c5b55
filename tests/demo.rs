//! The demo on a few kilobytes: it learns, replays to the bit, and leaves models that belong
//! together.

use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::demo::{Demo, DemoEvent, DemoOptions, DemoOutcome, Record, SHAKESPEARE, Shape};
use blt_wgpu::eval::Evaluator;
use blt_wgpu::text::Part;
use pollster::block_on;

const TEXT_BYTES: usize = 40_000;

fn record() -> Record {
    let mut shape = Shape::all().remove(0);
    shape.local_size = 32;
    shape.latent_size = 64;
    shape.hash_rows_per_table = 512;
    Record {
        version: "0.1.0".into(),
        device: "cpu".into(),
        seed: 7,
        text_bytes: TEXT_BYTES as u64,
        shape,
        train_bytes: Some(30_000),
        held_out_bytes: None,
        entropy_step_count: 40,
        blt_step_count: 30,
        sample_bytes: None,
        variants: None,
    }
}

fn run(record: Record) -> (DemoOutcome<HostEngine<f32>>, Vec<DemoEvent>) {
    let engine = HostEngine::default();
    let seconds = std::cell::Cell::new(0.0);
    let clock = move || {
        seconds.set(seconds.get() + 1e-3);
        seconds.get()
    };
    let options = DemoOptions {
        text: &SHAKESPEARE[..TEXT_BYTES],
        text_name: "a little Shakespeare",
        seconds: 1.0,
        seed: record.seed,
        replay: Some(record),
    };
    let mut demo = Demo::new(&engine, &clock, options).unwrap();
    let mut events = Vec::new();
    while !demo.is_done() {
        events.push(block_on(demo.step()).unwrap());
    }
    (demo.finish(), events)
}

fn weights(outcome: &DemoOutcome<HostEngine<f32>>) -> Vec<Vec<f32>> {
    let engine = HostEngine::default();
    let mut weights = Vec::new();
    for model in [&outcome.entropy, &outcome.blt] {
        for parameter in &model.parameters {
            weights.push(block_on(model.read(&engine, &parameter.name)).unwrap());
        }
    }
    weights
}

#[test]
fn a_demo_learns_and_replays_to_the_bit() {
    let (first, events) = run(record());
    let result = &first.report.result;
    assert!(result.entropy_bpb < 5.5, "the entropy model learns: {result:?}");
    assert!(result.bpb < 6.0, "the BLT learns: {result:?}");
    assert!((3.0..7.0).contains(&result.bytes_per_patch), "calibrated to 4.5: {result:?}");
    let steps = events.iter().filter(|event| matches!(event, DemoEvent::Stepped { .. })).count();
    assert_eq!(steps, 70);
    assert_eq!(first.record, record());
    let corpus = &first.report.corpus;
    assert_eq!((corpus.train_bytes, corpus.held_out_bytes), (30_000, 4_000));
    assert!(first.config.patcher.is_some(), "the model directory carries its entropy model");
    assert!(first.report.strip.is_some() && first.report.baselines.len() == 2);
    // The same figure as that of `blt eval` on the same text.
    let engine = HostEngine::default();
    let held_out = Part::LAST_TENTH.range_in(TEXT_BYTES).unwrap();
    let bytes_per_patch = result.bytes_per_patch;
    let DemoOutcome { mut blt, entropy, config, .. } = run(record()).0;
    blt.config = ModelConfig::Blt(config);
    let directory = LoadedDirectory { model: blt, patcher: Some(entropy) };
    let mut evaluator = Evaluator::new(&engine, &directory).unwrap();
    block_on(evaluator.step(&SHAKESPEARE[held_out])).unwrap();
    assert_eq!(evaluator.evaluation().bytes_per_patch(), bytes_per_patch);
    let (second, _) = run(record());
    assert_eq!(weights(&first), weights(&second));
}

/// The first step of a replay: what it says if it is refused.
fn begin(record: Record) -> Option<String> {
    let (engine, clock) = (HostEngine::<f32>::default(), || 0.0);
    let text = &SHAKESPEARE[..TEXT_BYTES];
    let (seed, replay) = (record.seed, Some(record));
    let options = DemoOptions { text, text_name: "Shakespeare", seconds: 1.0, seed, replay };
    let mut demo = Demo::new(&engine, &clock, options).unwrap();
    block_on(demo.step()).err().map(|error| error.to_string())
}

#[test]
fn a_replay_refuses_other_variants_of_kernels_on_its_device() {
    let with = |variants: &[(&str, &str)], device: &str| {
        let of = |&(kernel, variant): &(&str, &str)| {
            (kernel.to_owned(), [variant.to_owned()].into_iter().collect())
        };
        let variants = Some(variants.iter().map(of).collect());
        Record { device: device.into(), variants, ..record() }
    };
    let refused = begin(with(&[("adamw", "matrix")], "cpu")).unwrap();
    assert!(refused.contains("matrix of kernel adamw, here it would be base"), "{refused}");
    // Another device has variants of its own and other bits; the program says so.
    assert_eq!(begin(with(&[("adamw", "matrix")], "vulkan/something")), None);
    assert_eq!(begin(record()), None);
}

#[test]
fn a_record_from_outside_is_checked() {
    let refused = |change: fn(&mut Record)| {
        let mut record = record();
        change(&mut record);
        record.check(TEXT_BYTES).unwrap_err().to_string()
    };
    assert!(record().check(TEXT_BYTES).is_ok());
    assert!(refused(|record| record.text_bytes = 5).contains("5 bytes of text"));
    assert!(refused(|record| record.held_out_bytes = Some(3)).contains("held_out_bytes"));
    assert!(refused(|record| record.blt_step_count = 0).contains("at least one step"));
    refused(|record| record.shape.local_size = 0);
    refused(|record| record.shape.local_size = 50);
    refused(|record| record.shape.row_patch_count = 1);
    refused(|record| record.shape.blt_learning_rate = f32::NAN);
}
