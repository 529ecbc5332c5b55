//! Training on the CPU engine, with tiny models and a few KB of text.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{Batch, LoadedModel};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::graph::gradient_name;
use blt_wgpu::platform::{NativePlatform, StopFlag};
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::metrics::{Metrics, parse_lines};
use blt_wgpu::train::run::{Event, Run, Start, run_model};
use blt_wgpu::train::{AdamW, Trainer};
use blt_wgpu::{Error, text};
use pollster::block_on;
use support::runs::{BLT, ENTROPY, config, sentences, texts};

type CpuRun<'e> = Run<'e, HostEngine<f32>, NativePlatform>;

fn start<'e>(engine: &'e HostEngine<f32>, config: RunConfig, start: Start) -> CpuRun<'e> {
    block_on(Run::new(engine, NativePlatform::default(), config, start)).unwrap()
}

/// Runs until there is nothing left to do.
fn finish(run: &mut CpuRun<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        events.push(block_on(run.step()).unwrap());
        if let Some(Event::Finished { .. } | Event::Stopped { .. }) = events.last() {
            return events;
        }
    }
}

fn finished_path(events: &[Event]) -> PathBuf {
    match events.last() {
        Some(Event::Finished { path, .. }) => path.clone(),
        other => panic!("expected a finished run, got {other:?}"),
    }
}

fn metrics(config: &RunConfig) -> Vec<Metrics> {
    parse_lines(&fs::read_to_string(config.dump_dir.join("metrics.jsonl")).unwrap()).unwrap()
}

fn error(engine: &HostEngine<f32>, config: RunConfig, start: Start) -> Error {
    block_on(Run::new(engine, NativePlatform::default(), config, start)).err().expect("an error")
}

fn learns(base: &str, sets: &[&str], least_fall: f32, bound: f64) {
    let (engine, dir) = (HostEngine::default(), texts());
    let sets = [&["steps=60", "eval.every=30"], sets].concat();
    let config = config(base, dir.path(), "run", &sets);
    let events = finish(&mut start(&engine, config.clone(), Start::Fresh));
    let lines = metrics(&config);
    assert_eq!(lines.len(), 60);
    let mean = |lines: &[Metrics]| lines.iter().map(|it| it.loss).sum::<f32>() / lines.len() as f32;
    let (first, last) = (mean(&lines[..3]), mean(&lines[57..]));
    // Fresh weights know nothing: about ln 260 = 5.56 nats.
    assert!((first - 5.56).abs() < 0.7, "{first}");
    assert!(first - last > least_fall, "from {first} to {last}");
    let scores: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Evaluated { step, score, .. } => Some((*step, score.bits_per_byte())),
            _ => None,
        })
        .collect();
    assert_eq!(scores.iter().map(|score| score.0).collect::<Vec<_>>(), [30, 60]);
    assert!(scores[1].1 < scores[0].1 && scores[1].1 < bound, "{scores:?}");
    assert_eq!(lines[59].eval_bits_per_byte, Some(scores[1].1));
    assert!(lines.iter().all(|line| line.grad_norm > 0.0 && line.target_count > 0));
}

#[test]
fn the_entropy_model_learns() {
    learns(ENTROPY, &[], 2.2, 4.2);
}

#[test]
fn blt_learns() {
    learns(BLT, &[], 2.2, 4.2);
}

/// Rows of a model's kind.
fn rows(config: &ModelConfig, count: usize) -> Vec<Row> {
    let row = |(index, text): (usize, String)| {
        let tokens = text::encode(text.as_bytes(), true, true);
        let patches = match config {
            ModelConfig::Entropy(_) => Vec::new(),
            ModelConfig::Blt(_) => {
                let size = 3 + index as u32;
                let mut left = tokens.len() as u32 - 1;
                let mut lengths = vec![1];
                while left > 0 {
                    lengths.push(left.min(size));
                    left -= left.min(size);
                }
                lengths
            }
        };
        Row::from_tokens(tokens, patches)
    };
    sentences(3, count).into_iter().enumerate().map(row).collect()
}

fn trainer<'e>(engine: &'e HostEngine<f32>, base: &str) -> Trainer<'e, HostEngine<f32>> {
    let dir = tempfile::tempdir().unwrap();
    let model = run_model(&config(base, dir.path(), "run", &[])).unwrap();
    block_on(async {
        let loaded = LoadedModel::create(engine, model.config.clone(), true).await.unwrap();
        model.initialise(engine, &loaded).unwrap();
        Trainer::new(engine, loaded, &AdamW::default()).await.unwrap()
    })
}

fn relative(left: &[f32], right: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|it| it * it).sum::<f64>().sqrt();
    let pairs = left.iter().zip(right);
    let difference = norm(&mut pairs.map(|(l, r)| f64::from(*l) - f64::from(*r)));
    difference / norm(&mut right.iter().map(|it| f64::from(*it))).max(1e-30)
}

#[test]
fn two_micro_batches_are_one_large_batch() {
    let engine = HostEngine::default();
    for base in [ENTROPY, BLT] {
        let (mut parts, mut whole) = (trainer(&engine, base), trainer(&engine, base));
        let config = whole.config().clone();
        let rows = rows(&config, 5);
        let large = Batch::new(&config, &rows).unwrap();
        let small = [&rows[..2], &rows[2..]].map(|rows| Batch::new(&config, rows).unwrap());
        let targets: f64 = small.iter().map(|batch| batch.target_count).sum();
        assert_eq!(targets, large.target_count);
        let weight = (1.0 / targets) as f32;
        block_on(async {
            whole.micro(&large, weight).await.unwrap();
            for batch in &small {
                parts.micro(batch, weight).await.unwrap();
            }
            let (sum, all) = (parts.take_nats().await.unwrap(), whole.take_nats().await.unwrap());
            assert!((sum - all).abs() < 1e-5 * all && all > 0.0, "{sum} {all}");
            let [whole, parts] = [&whole, &parts].map(|it| it.settled().unwrap());
            for spec in &whole.parameters {
                let name = gradient_name(&spec.name);
                let expected = whole.read(&engine, &name).await.unwrap();
                let got = parts.read(&engine, &name).await.unwrap();
                assert!(expected.iter().any(|value| *value != 0.0), "{name} is zero");
                assert!(relative(&got, &expected) < 1e-5, "{name}");
            }
        });
    }
}

#[test]
fn evaluation_sees_the_weights_that_training_changes() {
    let engine = HostEngine::default();
    for base in [ENTROPY, BLT] {
        let mut trainer = trainer(&engine, base);
        let config = trainer.config().clone();
        let batch = Batch::new(&config, &rows(&config, 4)).unwrap();
        block_on(async {
            let mut scores = Vec::new();
            for _ in 0..4 {
                let nats = trainer.evaluate(&batch).await.unwrap();
                scores.push(nats.iter().sum::<f32>());
                trainer.micro(&batch, (1.0 / batch.target_count) as f32).await.unwrap();
                trainer.update(0.01).unwrap();
            }
            assert!(scores.windows(2).all(|pair| pair[1] < pair[0]), "{scores:?}");
        });
    }
}

/// Losses, norms and rates of lines, as bits.
fn figures(lines: &[Metrics]) -> Vec<[u64; 5]> {
    let of = |line: &Metrics| {
        [
            line.global_step,
            u64::from(line.loss.to_bits()),
            u64::from(line.interval_loss.to_bits()),
            u64::from(line.grad_norm.to_bits()),
            line.learning_rate.to_bits(),
        ]
    };
    lines.iter().map(of).collect()
}

fn same_files(left: &Path, right: &Path) {
    for name in ["model.safetensors", "optimizer-00001.safetensors", "train_state.json"] {
        let read = |path: &Path| fs::read(path.join(name)).unwrap();
        assert!(read(left) == read(right), "{name}");
    }
}

fn resumes(base: &str, sets: &[&str]) {
    let (engine, dir) = (HostEngine::default(), texts());
    let sets = [&["grad_acc_steps=2", "checkpoint.dump.every=6", "eval.every=4"], sets].concat();
    let straight = config(base, dir.path(), "straight", &sets);
    let end = finished_path(&finish(&mut start(&engine, straight.clone(), Start::Fresh)));

    let parts = config(base, dir.path(), "parts", &sets);
    let half = RunConfig { max_steps: Some(6), ..parts.clone() };
    finish(&mut start(&engine, half, Start::Fresh));
    let resumed = finished_path(&finish(&mut start(&engine, parts.clone(), Start::Resume)));
    assert_eq!(figures(&metrics(&parts)), figures(&metrics(&straight)));
    same_files(&end, &resumed);
    // The run that was cut in two has scored its sixth update as well, its last at that time.
    let scored = |config: &RunConfig| -> Vec<_> {
        let lines = metrics(config).into_iter().filter(|line| line.global_step != 6);
        lines.filter_map(|line| line.eval_bits_per_byte.map(f64::to_bits)).collect()
    };
    assert_eq!(scored(&parts), scored(&straight));
    assert_eq!(scored(&parts).len(), 3);
}

#[test]
fn a_resumed_entropy_model_is_the_same_to_the_bit() {
    resumes(ENTROPY, &[]);
}

#[test]
fn a_resumed_blt_is_the_same_to_the_bit() {
    resumes(BLT, &[]);
}

#[test]
fn a_lazily_updated_blt_is_resumed_and_leaves_the_files_of_a_dense_one() {
    let lazy = ["optim.table_updates=\"lazy\"", "grad_acc_steps=2", "eval.every=5"];
    resumes(BLT, &lazy);
    let (engine, dir) = (HostEngine::default(), texts());
    let [dense, lazy] = [lazy[0].replace("lazy", "dense"), lazy[0].to_owned()].map(|updates| {
        let sets = ["model.encoder_hash_byte_group_vocab=4001", &updates, lazy[1], lazy[2]];
        let config = config(BLT, dir.path(), &updates[21..25], &sets);
        let path = finished_path(&finish(&mut start(&engine, config.clone(), Start::Fresh)));
        let read = |name: &str| fs::read(path.join(name)).unwrap();
        let files = ["model.safetensors", "optimizer-00001.safetensors"].map(read);
        (files, figures(&metrics(&config)), String::from_utf8(read("plan.json")).unwrap())
    });
    assert!(dense.0 == lazy.0, "weights and moments are the same to the bit");
    assert_eq!(dense.1, lazy.1);
    assert!(lazy.2.contains("adamw_rows") && !dense.2.contains("adamw_rows"));
}

#[test]
fn a_resumed_blt_over_an_entropy_model_needs_only_its_checkpoint() {
    let (engine, dir) = (HostEngine::default(), texts());
    let entropy = config(ENTROPY, dir.path(), "entropy", &["steps=6"]);
    let model = finished_path(&finish(&mut start(&engine, entropy, Start::Fresh)));
    let patching = format!("data.patcher_args.entropy_model_checkpoint_dir={:?}", model.display());
    let mode = "data.patcher_args.patching_mode=\"entropy\"";
    let sets = [mode, &patching, "data.patcher_args.threshold=5.3", "steps=8"];
    let straight = config(BLT, dir.path(), "straight", &sets);
    let end = finished_path(&finish(&mut start(&engine, straight.clone(), Start::Fresh)));

    let stop = StopFlag::default();
    let parts = config(BLT, dir.path(), "parts", &sets);
    let platform = NativePlatform::new(stop.clone());
    let mut run = block_on(Run::new(&engine, platform, parts.clone(), Start::Fresh)).unwrap();
    for step in 1..=3 {
        let event = block_on(run.step()).unwrap();
        assert!(matches!(event, Event::Step { step: done, .. } if done == step), "{event:?}");
    }
    stop.request();
    let event = block_on(run.step()).unwrap();
    let Event::Stopped { step: 3, path } = &event else { panic!("{event:?}") };
    assert!(path.join("train_state.json").is_file());
    assert_eq!(block_on(run.step()).unwrap(), event, "it stays stopped");
    fs::remove_dir_all(&model).unwrap();
    drop(run);
    let resumed = finished_path(&finish(&mut start(&engine, parts.clone(), Start::Resume)));
    assert_eq!(figures(&metrics(&parts)), figures(&metrics(&straight)));
    same_files(&end, &resumed);
    // Some patches are longer than a byte, and some are not: the threshold does something.
    let mean = metrics(&parts).last().unwrap().bytes_per_patch.unwrap();
    assert!(mean > 1.0 && mean < 20.0, "{mean}");
}

#[test]
fn every_way_of_packing_trains() {
    let (engine, dir) = (HostEngine::default(), texts());
    let cases: [&[&str]; 6] = [
        &["data.reference_packing=true"],
        &["data.patcher_args.patching_mode=\"static\"", "data.patcher_args.patch_size=4"],
        &["data.patcher_args.patching_mode=\"byte\""],
        &["data.patcher_args.patching_mode=\"bpe\"", "data.patcher_args.max_patch_length=5"],
        &["data.patcher_args.max_patch_length=3", "data.shuffle_buffer=1"],
        &["data.add_bos=false", "data.add_eos=false", "data.max_encoder_seq_length=24"],
    ];
    for (index, sets) in cases.into_iter().enumerate() {
        let sets = [sets, &["steps=3"]].concat();
        let config = config(BLT, dir.path(), &format!("run{index}"), &sets);
        let path = finished_path(&finish(&mut start(&engine, config.clone(), Start::Fresh)));
        let lines = metrics(&config);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.loss.is_finite() && line.grad_norm > 0.0), "{sets:?}");
        let saved = blt_wgpu::checkpoint::ModelDirectory::open(path).unwrap();
        let ModelConfig::Blt(model) = saved.config() else { panic!("a BLT was trained") };
        assert_eq!(model.patching.mode.name(), run_mode(&config));
    }
}

fn run_mode(config: &RunConfig) -> String {
    let mode = config.data.patcher_args.patching_mode;
    serde_json::to_value(mode).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_directory_with_checkpoints_is_not_begun_again() {
    let (engine, dir) = (HostEngine::default(), texts());
    let config = config(ENTROPY, dir.path(), "run", &["steps=2"]);
    let none = error(&engine, config.clone(), Start::Resume);
    assert!(none.to_string().contains("no checkpoint to resume from"), "{none}");
    finish(&mut start(&engine, config.clone(), Start::Fresh));
    let again = error(&engine, config.clone(), Start::Fresh);
    assert!(again.to_string().contains("the last after update 2"), "{again}");
    assert!(again.hint().unwrap().contains("--resume"));

    let other = RunConfig { seed: 7, ..config.clone() };
    let changed = error(&engine, other, Start::Resume);
    assert_eq!(changed.to_string(), "seed: the run to resume has 42, the configuration 7");
    let checkpoint = config.dump_dir.join("checkpoints/step-0000000002");
    fs::write(checkpoint.join("optimizer-00001.safetensors"), b"12345678").unwrap();
    let damaged = error(&engine, config.clone(), Start::Resume).to_string();
    assert!(damaged.contains("optimizer-00001.safetensors"), "{damaged}");
}

#[test]
fn a_run_that_explodes_ends_and_says_where_to_go_back_to() {
    let (engine, dir) = (HostEngine::default(), texts());
    let sets = ["steps=60", "checkpoint.dump.every=4", "optim.scheduler=\"constant\""];
    let calm = config(ENTROPY, dir.path(), "run", &[&sets[..], &["max_steps=4"]].concat());
    finish(&mut start(&engine, calm.clone(), Start::Fresh));
    let wild = config(ENTROPY, dir.path(), "run", &[&sets[..], &["optim.lr=1e30"]].concat());
    let mut run = start(&engine, wild.clone(), Start::Resume);
    let error = loop {
        match block_on(run.step()) {
            Ok(Event::Finished { .. }) => panic!("it cannot have survived"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("the last 20 updates up to"), "{error}");
    assert!(error.hint().unwrap().contains("step-0000000004"), "{:?}", error.hint());
    let lines = metrics(&wild);
    let (applied, skipped) = lines.split_at(lines.len() - 20);
    assert!(skipped.iter().all(|line| line.grad_norm.is_nan()), "skipped updates are marked");
    assert!(applied.iter().all(|line| line.grad_norm.is_finite()) && applied.len() >= 5);
}

#[test]
fn what_is_wrong_with_texts_is_named() {
    let (engine, dir) = (HostEngine::default(), texts());
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("empty.txt", "");
    write("broken.jsonl", "{\"text\": \"good enough\"}\n{\"text\": \n");
    write("latin.txt", "x");
    write("train.pdf", "x");
    fs::create_dir(dir.path().join("no-texts")).unwrap();
    let message = |key: &str, file: &str| {
        let set = format!("{key}=[{file:?}]");
        let config = config(ENTROPY, dir.path(), "run", &[&set, "eval.every=1"]);
        error(&engine, config, Start::Fresh).to_string()
    };
    assert!(message("data.sources", "missing.txt").contains("missing.txt"));
    assert!(message("data.sources", "empty.txt").contains("there is no text in it"));
    // A line that is no JSON ends a strict run alone.
    let sets = ["data.sources=[\"broken.jsonl\"]", "data.strict=true"];
    let strict = config(ENTROPY, dir.path(), "run", &sets);
    let broken = error(&engine, strict, Start::Fresh).to_string();
    assert!(broken.contains("broken.jsonl") && broken.contains('2'), "{broken}");
    let none = message("data.sources", "no-texts");
    assert!(none.contains("no-texts") && none.contains(".jsonl"), "{none}");
    assert!(message("data.sources", "train.pdf").contains("expected a name ending in"));
    assert!(message("data.valid", "empty.txt").contains("data.valid"));
    assert!(message("data.valid", "gone.txt").contains("gone.txt"));
    assert!(!dir.path().join("run").exists(), "nothing was begun");
}

#[test]
fn single_bytes_and_texts_shorter_than_a_row_train() {
    let (engine, dir) = (HostEngine::default(), texts());
    fs::write(dir.path().join("bytes.jsonl"), "{\"text\":\"a\"}\n{\"text\":\"b\"}\n").unwrap();
    fs::write(dir.path().join("short.txt"), b"caf\xc3\xa9 \x80\xff").unwrap();
    for (index, base) in [ENTROPY, BLT, ENTROPY, BLT].into_iter().enumerate() {
        let source = ["bytes.jsonl", "short.txt"][index % 2];
        let source = format!("data.sources=[{source:?}]");
        let bare: &[&str] =
            if index < 2 { &[] } else { &["data.add_bos=false", "data.add_eos=false"] };
        let sets = [&[source.as_str(), "steps=3"], bare].concat();
        let config = config(base, dir.path(), &format!("run{index}"), &sets);
        finish(&mut start(&engine, config.clone(), Start::Fresh));
        assert!(metrics(&config).iter().all(|line| line.loss.is_finite()));
    }
}
