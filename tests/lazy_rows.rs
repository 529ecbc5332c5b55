//! Lazily updated hash tables: the same bits as dense updates, however long a row is not touched.

mod support;

use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{
    Batch, LazyTable, LoadedModel, MOMENT1, MOMENT2, RECORD_COUNT, TRAIN_STATE, TableUpdates,
};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::error::Error;
use blt_wgpu::graph::{Precision, Recording};
use blt_wgpu::kernels::Abilities;
use blt_wgpu::oracle::optim::TrainState;
use blt_wgpu::random::Random;
use blt_wgpu::text;
use blt_wgpu::train::run::{RunModel, run_model};
use blt_wgpu::train::{AdamW, Trainer, catch_up_recording, settle_recording, update_recording};
use pollster::block_on;
use std::path::Path;
use support::runs::{BLT, config, sentences};

/// Rows that one update may touch.
const SLOTS: TableUpdates = TableUpdates::Lazy { slot_count: 1200 };

/// A tiny BLT whose two tables have 1201 rows each, many more than a batch touches.
fn model() -> RunModel {
    let sets = ["model.encoder_hash_byte_group_vocab=1201"];
    run_model(&config(BLT, Path::new("nowhere"), "run", &sets)).unwrap()
}

fn trainer<E: Engine>(engine: &E, precision: Precision, updates: TableUpdates) -> Trainer<'_, E> {
    let model = model();
    block_on(async {
        let config = model.config.clone();
        let loaded = LoadedModel::create_to_train(engine, config, precision, updates).await;
        let loaded = loaded.unwrap();
        model.initialise(engine, &loaded).unwrap();
        Trainer::new(engine, loaded, &AdamW::default()).await.unwrap()
    })
}

/// A sentence, and a word that nobody has seen before and hardly anybody will see again.
fn batch(config: &ModelConfig, seed: u64) -> Batch {
    let mut random = Random::new(seed, 7);
    let word: String = (0..10).map(|_| (b'a' + random.below(26) as u8) as char).collect();
    let text = format!("{} {word}", sentences(seed, 1)[0]);
    let tokens = text::encode(text.as_bytes(), true, true);
    let mut lengths = vec![1];
    let mut left = tokens.len() as u32 - 1;
    while left > 0 {
        lengths.push(left.min(4));
        left -= left.min(4);
    }
    Batch::new(config, &[Row::from_tokens(tokens, lengths)]).unwrap()
}

/// Update number `index`: one to three micro-batches, a rate of its own; now and then a gradient is
/// not finite.
fn step<E: Engine>(trainer: &mut Trainer<'_, E>, index: u64) {
    let config = trainer.config().clone();
    let micro_count = 1 + index % 3;
    let weight = if index % 13 == 5 { f32::NAN } else { 1.0 / (40 * micro_count) as f32 };
    for micro in 0..micro_count {
        block_on(trainer.micro(&batch(&config, 3 * index + micro), weight)).unwrap();
    }
    trainer.update(0.004 * (1.5 + (index as f32).cos())).unwrap();
}

fn read<E: Engine>(engine: &E, trainer: &Trainer<'_, E>, name: &str) -> Vec<f32> {
    block_on(trainer.settled().unwrap().read(engine, name)).unwrap()
}

/// Names of everything that training changes and keeps.
fn kept<E: Engine>(trainer: &Trainer<'_, E>) -> Vec<String> {
    let parameters = &trainer.settled().unwrap().parameters;
    let names = parameters.iter().map(|spec| spec.name.as_str());
    let all = names.flat_map(|name| {
        [name.to_owned(), format!("{name}.{MOMENT1}"), format!("{name}.{MOMENT2}")]
    });
    all.chain([TRAIN_STATE.to_owned()]).collect()
}

/// Most units in the last place by which two numbers differ; all bits count.
fn most_ulps(left: &[f32], right: &[f32]) -> u32 {
    let ordered = |value: &f32| {
        let bits = value.to_bits() as i32;
        i64::from(if bits < 0 { i32::MIN - bits } else { bits })
    };
    let apart = left.iter().zip(right).map(|(l, r)| ordered(l).abs_diff(ordered(r)) as u32);
    apart.max().unwrap()
}

fn most_ulps_apart<E: Engine>(
    engine: &E,
    dense: &Trainer<'_, E>,
    lazy: &Trainer<'_, E>,
) -> (u32, String) {
    let apart = |name: String| {
        let (dense, lazy) = (read(engine, dense, &name), read(engine, lazy, &name));
        assert!(dense.iter().all(|value| value.is_finite()), "{name}");
        (most_ulps(&dense, &lazy), name)
    };
    kept(dense).into_iter().map(apart).max().unwrap()
}

/// A trainer that goes on where another one stands, as from a checkpoint.
fn resumed<'e, E: Engine>(
    engine: &'e E,
    precision: Precision,
    updates: TableUpdates,
    from: &Trainer<'_, E>,
) -> Trainer<'e, E> {
    let config = from.config().clone();
    block_on(async {
        let model = LoadedModel::create_to_train(engine, config, precision, updates).await.unwrap();
        for name in kept(from) {
            model.write(engine, &name, &read(engine, from, &name)).unwrap();
        }
        Trainer::new(engine, model, &AdamW::default()).await.unwrap()
    })
}

/// Trains both ways and looks at them every now and then, on the way through a resumed run, an
/// evaluation, and steps that are left out.
fn check<E: Engine>(engine: &E, precision: Precision, step_count: u64, ulps: u32) {
    let mut dense = trainer(engine, precision, TableUpdates::Dense);
    let mut lazy = trainer(engine, precision, SLOTS);
    let table = LazyTable::of(&lazy.settled().unwrap().layout).expect("it is updated lazily");
    assert_eq!(table.slot_count(), 1200);
    assert!(LazyTable::of(&dense.settled().unwrap().layout).is_none());
    let looks = [1, 2, 20, RECORD_COUNT as u64 + 1, step_count / 2, step_count];
    for index in 0..step_count {
        step(&mut dense, index);
        step(&mut lazy, index);
        if index == 9 {
            let batch = batch(dense.config(), 4);
            let nats = [&mut dense, &mut lazy].map(|it| block_on(it.evaluate(&batch)).unwrap());
            assert!(most_ulps(&nats[0], &nats[1]) <= ulps);
        }
        if looks.contains(&(index + 1)) {
            let (apart, name) = most_ulps_apart(engine, &dense, &lazy);
            assert!(apart <= ulps, "{apart} ulps in {name} after {} steps", index + 1);
        }
        if index == step_count / 2 {
            lazy = resumed(engine, precision, SLOTS, &lazy);
        }
    }
    let state = TrainState::read(&read(engine, &lazy, TRAIN_STATE));
    assert!(state.skipped_steps >= 2.0 && state.applied_steps > 0.8 * step_count as f32);
}

#[test]
fn three_hundred_steps_have_the_bits_of_dense_updates() {
    check(&HostEngine::<f32>::default(), Precision::F32, 300, 0);
}

#[test]
fn so_have_those_of_mixed_precision() {
    check(&HostEngine::<f32>::default(), Precision::Mixed, 150, 0);
}

#[test]
fn and_those_of_a_table_in_shards() {
    // 2402 rows of 16; the second shard is shorter than the first.
    let engine = HostEngine::<f32>::with_max_binding_elements(20_000);
    let trainer = trainer(&engine, Precision::F32, SLOTS);
    let table = LazyTable::of(&trainer.settled().unwrap().layout).unwrap();
    assert_eq!(table.weight.shards.iter().map(|it| it.rows).collect::<Vec<_>>(), [1248, 1154]);
    check(&engine, Precision::F32, 100, 0);
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_is_within_two_ulps() {
    let Some(engine) = support::gpu_engine("a_gpu_is_within_two_ulps") else { return };
    // The software driver has the same bits: one text of the step, compiled alike.
    check(&engine, Precision::F32, 100, 2);
}

#[test]
fn it_adds_few_dispatches() {
    let engine = HostEngine::<f32>::default();
    let trainer = trainer(&engine, Precision::F32, SLOTS);
    let (adamw, model) = (AdamW::default(), trainer.into_model().unwrap());
    let table = LazyTable::of(&model.layout).unwrap();
    let names = |recording: Recording| -> Vec<_> {
        recording.dispatches.iter().map(|dispatch| dispatch.kernel.name).collect()
    };
    assert_eq!(
        names(update_recording(&model.layout, &adamw, &Abilities::CORE)),
        [
            "grad_norm",
            "grad_norm_rows",
            "update_decision",
            "adamw",
            "step_record",
            "adamw_rows",
            "sweep_rows"
        ]
    );
    assert_eq!(names(catch_up_recording(&model.layout, &table, &adamw)), ["catch_up_rows"]);
    assert_eq!(names(settle_recording(&model.layout, &table, &adamw)), ["sweep_rows"]);
}

#[test]
fn an_update_that_touches_more_rows_than_there_are_slots_is_an_error() {
    let engine = HostEngine::<f32>::default();
    let mut trainer = trainer(&engine, Precision::F32, TableUpdates::Lazy { slot_count: 100 });
    let batches = [1, 2].map(|seed| batch(trainer.config(), seed));
    block_on(trainer.micro(&batches[0], 0.1)).unwrap();
    let error = block_on(trainer.micro(&batches[1], 0.1)).unwrap_err();
    assert!(matches!(error, Error::Limit { available: 100, .. }), "{error}");
    // After the update there is room again.
    trainer.update(0.01).unwrap();
    block_on(trainer.micro(&batches[1], 0.1)).unwrap();
}
