//! Hash tables that no binding holds: a GPU with small bindings trains, saves and goes on with the
//! numbers of one with large ones.
#![cfg(feature = "gpu")]

mod support;

use std::fs;
use std::path::Path;

use blt_wgpu::blt::TableUpdates;
use blt_wgpu::blt::parameters::HASH_TABLE_NAME;
use blt_wgpu::engine::Engine;
use blt_wgpu::gpu::{Context, ContextOptions, GpuEngine};
use blt_wgpu::platform::NativePlatform;
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::metrics::parse_lines;
use blt_wgpu::train::run::{Event, Run, Start};
use pollster::block_on;
use support::runs::{BLT, config, texts};

/// Bytes of a binding: the tables of the run are seven times as large.
const BINDING_BYTES: u64 = 80_000;

/// The test device, with bindings of [`BINDING_BYTES`] at most.
fn small_bindings(device: &GpuEngine) -> GpuEngine {
    let options = ContextOptions {
        device: Some(device.name()),
        binding_bytes: Some(BINDING_BYTES),
        ..ContextOptions::default()
    };
    GpuEngine::new(block_on(Context::new(&options)).unwrap())
}

fn run<'e>(
    engine: &'e GpuEngine,
    config: &RunConfig,
    start: Start,
) -> Run<'e, GpuEngine, NativePlatform> {
    block_on(Run::new(engine, NativePlatform::default(), config.clone(), start)).unwrap()
}

fn finish(run: &mut Run<'_, GpuEngine, NativePlatform>) {
    while !matches!(block_on(run.step()).unwrap(), Event::Finished { .. }) {}
}

/// Losses and norms as bits.
fn losses(config: &RunConfig) -> Vec<[u32; 2]> {
    let text = fs::read_to_string(config.dump_dir.join("metrics.jsonl")).unwrap();
    let lines = parse_lines(&text).unwrap();
    lines.iter().map(|line| [line.loss.to_bits(), line.grad_norm.to_bits()]).collect()
}

fn weights(config: &RunConfig, file: &str) -> Vec<u8> {
    fs::read(config.checkpoint_dir().join("step-0000000006").join(file)).unwrap()
}

fn check(updates: &str) {
    let test = "a_table_over_many_bindings";
    let Some(whole) = support::gpu_engine(test) else { return };
    let small = small_bindings(&whole);
    assert!(small.max_binding_elements() * 4 <= BINDING_BYTES as usize);
    let dir = texts();
    // Two tables of 4001 rows, 16 columns; an update may touch 512 rows of them.
    let sets =
        ["steps=6", "data.batch_size=1", "model.encoder_hash_byte_group_vocab=4001", updates];
    let [large, cut] = ["large", "cut"].map(|name| config(BLT, dir.path(), name, &sets));
    finish(&mut run(&whole, &large, Start::Fresh));

    let half = RunConfig { max_steps: Some(3), ..cut.clone() };
    let mut first = run(&small, &half, Start::Fresh);
    let layout = &first.trainer().settled().unwrap().layout;
    let shards = layout.require(HASH_TABLE_NAME).unwrap().shards.len();
    assert!(shards > 5, "{shards} shards are more than one dispatch binds");
    finish(&mut first);
    finish(&mut run(&small, &cut, Start::Resume));
    assert_eq!(losses(&cut), losses(&large));
    for file in ["model.safetensors", "optimizer-00001.safetensors"] {
        assert!(weights(&cut, file) == weights(&large, file), "{file}");
    }
}

#[test]
fn a_table_over_many_bindings_trains_densely() {
    check("optim.table_updates=\"dense\"");
}

#[test]
fn a_table_over_many_bindings_trains_lazily() {
    check("optim.table_updates=\"lazy\"");
}

#[test]
fn gradients_of_touched_rows_that_no_binding_holds_are_an_error_that_says_so() {
    let test = "gradients_of_touched_rows_that_no_binding_holds_are_an_error_that_says_so";
    let Some(whole) = support::gpu_engine(test) else { return };
    let small = small_bindings(&whole);
    let dir = texts();
    let sets = [
        "steps=1",
        "grad_acc_steps=16",
        "data.batch_size=1",
        "model.encoder_hash_byte_group_vocab=4001",
        "optim.table_updates=\"lazy\"",
    ];
    let lazy = config(BLT, dir.path(), "lazy", &sets);
    let refused = Run::new(&small, NativePlatform::default(), lazy, Start::Fresh);
    let error = block_on(refused).err().expect("8002 rows of 16 are 512 kB");
    assert!(matches!(error, blt_wgpu::Error::Limit { .. }), "{error}");
    assert!(error.to_string().contains("binding"), "{error}");
    // Left to itself it takes the other way.
    let sets = [&sets[..4], &["optim.table_updates=\"auto\""]].concat();
    let auto = config(BLT, dir.path(), "auto", &sets);
    finish(&mut run(&small, &auto, Start::Fresh));
    let plan = plan_of(&auto.checkpoint_dir().join("step-0000000001"));
    assert_eq!(plan, serde_json::json!(TableUpdates::Dense));
}

fn plan_of(checkpoint: &Path) -> serde_json::Value {
    let text = fs::read_to_string(checkpoint.join("plan.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["table_updates"].clone()
}
