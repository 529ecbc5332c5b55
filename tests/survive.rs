//! Runs on devices that fail, in directories that others want, under clocks that jump.

mod support;

use std::cell::Cell;
use std::fs;
use std::path::Path;

use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::platform::{NativePlatform, Platform};
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::metrics::{Metrics, parse_lines};
use blt_wgpu::train::run::{Event, Run, Start};
use blt_wgpu::{Error, Result};
use pollster::block_on;
use support::failing::Failing;
use support::runs::{BLT, ENTROPY, config, texts};

type Host = HostEngine<f32>;

/// Runs to the end, or to what goes wrong.
fn train<E: Engine>(engine: &E, config: &RunConfig, start: Start) -> Result<Vec<Event>> {
    let mut run = block_on(Run::new(engine, NativePlatform::default(), config.clone(), start))?;
    let mut events = Vec::new();
    loop {
        events.push(block_on(run.step())?);
        if let Some(Event::Finished { .. }) = events.last() {
            return Ok(events);
        }
    }
}

fn lines(config: &RunConfig) -> Vec<Metrics> {
    parse_lines(&fs::read_to_string(config.dump_dir.join("metrics.jsonl")).unwrap()).unwrap()
}

/// Every loss and norm as bits.
fn losses(config: &RunConfig) -> Vec<[u64; 3]> {
    let bits = |line: &Metrics| {
        [line.global_step, line.loss.to_bits().into(), line.grad_norm.to_bits().into()]
    };
    lines(config).iter().map(bits).collect()
}

/// What a run that loses its device again and again leaves, told by `losing`, which makes an engine
/// that is lost after so many replays.
fn restarts<E: Engine>(losing: impl Fn(u64) -> E, whole: impl Fn() -> E) {
    let dir = texts();
    let sets = ["steps=12", "checkpoint.dump.every=3"];
    let straight = config(BLT, dir.path(), "straight", &sets);
    train(&whole(), &straight, Start::Fresh).unwrap();
    let lossy = config(BLT, dir.path(), "lossy", &sets);
    let mut start = Start::Fresh;
    // Three replays an update at most: before the first checkpoint, then behind it.
    for replays in [2, 11, 7] {
        let error = train(&losing(replays), &lossy, start).unwrap_err();
        assert!(error.is_loss(), "{error}");
        assert!(error.hint().unwrap().contains("--restart-on-loss"), "{error}");
        start = start.after_loss(&lossy).unwrap();
    }
    assert_eq!(start, Start::Resume, "it has left a checkpoint");
    train(&whole(), &lossy, start).unwrap();
    assert_eq!(losses(&lossy), losses(&straight));
    assert_eq!(losses(&lossy).len(), 12);
}

#[test]
fn a_run_goes_on_after_its_device_was_lost() {
    restarts(
        |count| Failing::lost_after(Host::default(), count),
        || Failing::lost_after(Host::default(), u64::MAX),
    );
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_that_is_destroyed_is_opened_again() {
    let test = "a_gpu_that_is_destroyed_is_opened_again";
    let Some(engine) = support::gpu_engine(test) else { return };
    let dir = texts();
    let sets = ["steps=6", "checkpoint.dump.every=2"];
    let straight = config(BLT, dir.path(), "straight", &sets);
    train(&engine, &straight, Start::Fresh).unwrap();
    let lossy = config(BLT, dir.path(), "lossy", &sets);
    let platform = NativePlatform::default();
    let mut run = block_on(Run::new(&engine, platform, lossy.clone(), Start::Fresh)).unwrap();
    let error = loop {
        match block_on(run.step()) {
            Ok(Event::Step { step: 3, .. }) => engine.context().device().destroy(),
            Ok(event) => assert!(!matches!(event, Event::Finished { .. }), "it is gone"),
            Err(error) => break error,
        }
    };
    assert!(error.is_loss(), "{error:?}");
    assert!(error.hint().unwrap().contains("step-0000000002"), "{:?}", error.hint());
    drop(run);
    let again = support::gpu_engine(test).expect("it was there before");
    let start = Start::Fresh.after_loss(&lossy).unwrap();
    train(&again, &lossy, start).unwrap();
    assert_eq!(losses(&lossy), losses(&straight));
}

#[test]
fn without_memory_it_is_said_what_to_lower() {
    let dir = texts();
    let config = config(ENTROPY, dir.path(), "run", &["steps=2"]);
    let error =
        train(&Failing::without_memory_for(Host::default(), "micro"), &config, Start::Fresh);
    let error = error.unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert!(error.hint().unwrap().contains("lower data.batch_size"), "{:?}", error.hint());
}

#[test]
fn a_directory_belongs_to_one_run() {
    let (engine, dir) = (Host::default(), texts());
    let config = config(ENTROPY, dir.path(), "run", &["steps=2", "checkpoint.dump.every=1"]);
    let begin =
        |start| block_on(Run::new(&engine, NativePlatform::default(), config.clone(), start));
    let mut first = begin(Start::Fresh).unwrap();
    for start in [Start::Fresh, Start::Resume] {
        let error = begin(start).err().expect("it is taken");
        assert!(error.to_string().contains("another run, process"), "{error}");
    }
    while !matches!(block_on(first.step()).unwrap(), Event::Finished { .. }) {}
    // It has ended, though it is still there.
    let error = begin(Start::Fresh).err().expect("it has checkpoints");
    assert!(error.to_string().contains("checkpoints here"), "{error}");
    begin(Start::Resume).unwrap();
    // Checkpoints in one place, everything else in two.
    let place = format!("checkpoint.path={:?}", dir.path().join("shared").to_str().unwrap());
    let [one, two] = ["one", "two"]
        .map(|name| support::runs::config(ENTROPY, dir.path(), name, &["steps=2", &place]));
    let _first = block_on(Run::new(&engine, NativePlatform::default(), one, Start::Fresh)).unwrap();
    let error = block_on(Run::new(&engine, NativePlatform::default(), two, Start::Fresh));
    let error = error.err().expect("checkpoints would mix").to_string();
    assert!(error.contains("shared"), "{error}");
}

/// Clocks that go to and fro: the one of the day as it likes, the other never back but by days.
struct JumpingClocks(Cell<u64>);

impl Platform for JumpingClocks {
    fn monotonic_seconds(&self) -> f64 {
        self.0.set(self.0.get() + 1);
        self.0.get() as f64 * 86_400.0
    }

    fn unix_seconds(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        [1_800_000_000, 0, 4_000_000_000, 1_000_000_000][self.0.get() as usize % 4]
    }

    fn is_stop_requested(&self) -> bool {
        false
    }
}

#[test]
fn clocks_that_jump_change_time_stamps_and_speeds_and_nothing_else() {
    let (engine, dir) = (Host::default(), texts());
    let sets = ["steps=8", "checkpoint.dump.every=3", "eval.every=4"];
    let calm = config(ENTROPY, dir.path(), "calm", &sets);
    train(&engine, &calm, Start::Fresh).unwrap();
    let jumping = config(ENTROPY, dir.path(), "jumping", &sets);
    let half = RunConfig { max_steps: Some(4), ..jumping.clone() };
    for (config, start) in [(half, Start::Fresh), (jumping.clone(), Start::Resume)] {
        let clocks = JumpingClocks(Cell::new(0));
        let mut run = block_on(Run::new(&engine, clocks, config, start)).unwrap();
        while !matches!(block_on(run.step()).unwrap(), Event::Finished { .. }) {}
    }
    assert_eq!(losses(&jumping), losses(&calm));
    let stamps: Vec<_> = lines(&jumping).into_iter().map(|line| line.created_at).collect();
    assert!(stamps.windows(2).any(|pair| pair[1] < pair[0]), "the clock did jump: {stamps:?}");
    assert!(lines(&jumping).iter().all(|line| line.bytes_per_second.is_finite()));
}

/// Names of checkpoints and pointers.
fn kept(config: &RunConfig) -> Vec<String> {
    let entries = fs::read_dir(config.checkpoint_dir()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_finished_run_that_is_scored_later_keeps_its_score() {
    let (engine, dir) = (Host::default(), texts());
    let unscored = config(ENTROPY, dir.path(), "run", &["steps=3"]);
    train(&engine, &unscored, Start::Fresh).unwrap();
    assert_eq!(lines(&unscored).last().unwrap().eval_bits_per_byte, None);
    let scored = config(ENTROPY, dir.path(), "run", &["steps=3", "eval.every=3"]);
    let events = train(&engine, &scored, Start::Resume).unwrap();
    let Event::Evaluated { score, .. } = &events[0] else { panic!("{events:?}") };
    let last = lines(&scored).pop().unwrap();
    assert_eq!((last.global_step, last.eval_bits_per_byte), (3, Some(score.bits_per_byte())));
    assert!(kept(&scored).contains(&"best".to_owned()), "{:?}", kept(&scored));
    // It is known from then on.
    let events = train(&engine, &scored, Start::Resume).unwrap();
    assert!(matches!(events[..], [Event::Finished { .. }]), "{events:?}");
    assert_eq!(lines(&scored).len(), 3);
}

#[test]
fn the_best_checkpoint_is_kept_and_a_hopeless_run_ends() {
    let (engine, dir) = (Host::default(), texts());
    // Without a rate no score is better than the first.
    let sets = [
        "steps=40",
        "eval.every=2",
        "eval.patience=3",
        "checkpoint.dump={every=3, keep=1}",
        "optim.lr=0",
    ];
    let still = config(ENTROPY, dir.path(), "run", &sets);
    let events = train(&engine, &still, Start::Fresh).unwrap();
    let scores: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Evaluated { step, score, .. } => Some((*step, score.bits_per_byte())),
            _ => None,
        })
        .collect();
    let Some(&Event::Finished { step, .. }) = events.last() else { panic!("it ends") };
    let best = 2;
    assert_eq!(step, best + 6, "three evaluations behind the best: {scores:?}");
    let named = fs::read_to_string(still.checkpoint_dir().join("best")).unwrap();
    assert_eq!(named.trim(), format!("step-{best:010}"));
    let expected = [format!("step-{best:010}"), format!("step-{step:010}")];
    assert_eq!(kept(&still), [&["best".to_owned(), "latest".to_owned()][..], &expected].concat());
    // Hopeless it stays, until somebody has more patience.
    let again = train(&engine, &still, Start::Resume).unwrap();
    assert_eq!(again, events[events.len() - 1..]);
    let mut patient = still.clone();
    patient.eval.patience = Some(4);
    let more = train(&engine, &patient, Start::Resume).unwrap();
    assert!(matches!(more.last(), Some(Event::Finished { step: last, .. }) if *last > step));
}

#[test]
fn a_checkpoint_of_another_program_is_refused_by_its_version() {
    let (engine, dir) = (Host::default(), texts());
    let whole = config(ENTROPY, dir.path(), "run", &["steps=2"]);
    let half = RunConfig { max_steps: Some(1), ..whole.clone() };
    train(&engine, &half, Start::Fresh).unwrap();
    let path = whole.checkpoint_dir().join("step-0000000001/train_state.json");
    let mut state: serde_json::Value = read_json(&path);
    state["program"] = "77.0.0".into();
    state["what_77_knows"] = 1.into();
    fs::write(&path, state.to_string()).unwrap();
    let error = train(&engine, &whole, Start::Resume).unwrap_err();
    assert!(error.to_string().contains("train_state.json"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("77.0.0") && hint.contains(env!("CARGO_PKG_VERSION")), "{hint}");
}

#[test]
fn a_checkpoint_in_many_files_is_resumed() {
    let (engine, dir) = (Host::default(), texts());
    let straight = config(BLT, dir.path(), "straight", &["steps=4"]);
    train(&engine, &straight, Start::Fresh).unwrap();
    // A tensor a file.
    let whole = config(BLT, dir.path(), "run", &["steps=4", "checkpoint.shard_bytes=1"]);
    let half = RunConfig { max_steps: Some(2), ..whole.clone() };
    train(&engine, &half, Start::Fresh).unwrap();
    let checkpoint = whole.checkpoint_dir().join("step-0000000002");
    assert!(checkpoint.join("optimizer-00020.safetensors").is_file());
    assert!(!checkpoint.join("model.safetensors").is_file());
    train(&engine, &whole, Start::Resume).unwrap();
    assert_eq!(losses(&whole), losses(&straight));
    fs::remove_file(checkpoint.join("optimizer-00004.safetensors")).unwrap();
    fs::write(whole.checkpoint_dir().join("latest"), "step-0000000002").unwrap();
    let error = train(&engine, &whole, Start::Resume).unwrap_err().to_string();
    assert!(error.contains("optimizer-00003.safetensors"), "the last that is there: {error}");
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
