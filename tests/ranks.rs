//! Runs of several ranks, here threads of one process: the losses of one process with the same
//! micro-batches, whoever computes them.

mod support;

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use blt_wgpu::Result;
use blt_wgpu::blt::{GRADIENTS, LoadedModel};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::platform::{NativePlatform, StopFlag};
use blt_wgpu::train::config::RunConfig;
use blt_wgpu::train::metrics::{Metrics, parse_lines};
use blt_wgpu::train::ranks::{Link, Place, Ranks, ThreadLink};
use blt_wgpu::train::run::{Event, Run, Start, run_model};
use pollster::block_on;
use support::runs::{BLT, ENTROPY, config, sentences, texts};

type Host = HostEngine<f32>;

/// Four micro-batches an update, and gradients that are always clipped: a norm that is not the
/// whole one would show.
const SHARED: [&str; 5] =
    ["grad_acc_steps=4", "optim.clip=0.05", "optim.lr=0.004", "steps=12", "eval.every=6"];

/// How much losses, norms and scores of ranks may differ from those of one process, relatively.
const ROUNDING: f64 = 2e-4;

/// What each of several ranks makes of a run; `at` is told every rank and event, and may end it.
fn on_ranks<E: Engine, L: Link + Send + 'static>(
    links: Vec<L>,
    engine: impl Fn() -> E + Sync,
    config: &RunConfig,
    start: Start,
    at: impl Fn(usize, &Event, &StopFlag) -> bool + Sync,
) -> Vec<Result<Vec<Event>>> {
    let join = |link| Ranks::joined(move || Ok(link));
    on_joined(links, join, engine, config, start, at)
}

/// The same with ranks that `join` makes of the links.
fn on_joined<E: Engine, L: Link + Send + 'static>(
    links: Vec<L>,
    join: impl Fn(L) -> Result<Ranks> + Sync,
    engine: impl Fn() -> E + Sync,
    config: &RunConfig,
    start: Start,
    at: impl Fn(usize, &Event, &StopFlag) -> bool + Sync,
) -> Vec<Result<Vec<Event>>> {
    let rank = |link: L| {
        let (engine, stop) = (engine(), StopFlag::default());
        let ranks = Arc::new(join(link)?);
        let rank = ranks.place().rank;
        let platform = NativePlatform::new(stop.clone());
        let run = Run::with_ranks(&engine, platform, config.clone(), start, Arc::clone(&ranks));
        let mut run = block_on(run)?;
        let mut events = Vec::new();
        loop {
            let event = block_on(run.step())?;
            let is_left = at(rank, &event, &stop);
            let is_over = matches!(event, Event::Finished { .. } | Event::Stopped { .. });
            events.push(event);
            if is_over {
                ranks.finish();
            }
            if is_over || is_left {
                return Ok(events);
            }
        }
    };
    thread::scope(|scope| {
        let rank = &rank;
        let threads: Vec<_> =
            links.into_iter().map(|link| scope.spawn(move || rank(link))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A run of so many ranks to its end.
fn train<E: Engine>(
    count: usize,
    engine: impl Fn() -> E + Sync,
    config: &RunConfig,
    start: Start,
) -> Vec<Vec<Event>> {
    let links = ThreadLink::joined(count);
    let events = on_ranks(links, engine, config, start, |_, _, _| false);
    events.into_iter().map(Result::unwrap).collect()
}

/// Gradients of a bucket where the gradients of a tiny model are to be many of them.
const SMALL_BUCKET: usize = 512;

/// The same with small buckets: more are on the way than are summed at once, and their sums are
/// written while a replay goes on.
fn train_in_small_buckets<E: Engine>(
    count: usize,
    engine: impl Fn() -> E + Sync,
    config: &RunConfig,
) {
    let links = ThreadLink::joined(count);
    let join = |link| Ok(Ranks::joined(move || Ok(link))?.with_bucket_elements(SMALL_BUCKET));
    let ends = on_joined(links, join, engine, config, Start::Fresh, |_, _, _| false);
    ends.into_iter().for_each(|end| drop(end.unwrap()));
    let line = &lines(config)[0];
    let bytes = (4 * SMALL_BUCKET * 2 * (count - 1) / count) as f64;
    assert!(line.sent_bytes.unwrap() > 20.0 * bytes, "{:?} in {count}", line.sent_bytes);
}

fn lines(config: &RunConfig) -> Vec<Metrics> {
    parse_lines(&fs::read_to_string(config.dump_dir.join("metrics.jsonl")).unwrap()).unwrap()
}

/// That two runs say the same but for rounding.
fn same_but_for_rounding(left: &RunConfig, right: &RunConfig) {
    let (left, right) = (lines(left), lines(right));
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left.global_step, right.global_step);
        let step = left.global_step;
        for (name, left, right) in [
            ("loss", left.loss, right.loss),
            ("interval", left.interval_loss, right.interval_loss),
            ("norm", left.grad_norm, right.grad_norm),
        ] {
            let difference = f64::from((left - right).abs() / right.abs());
            assert!(difference < ROUNDING, "step {step} {name}: {left} {right}: {difference:e}");
        }
        let counts = |line: &Metrics| {
            (line.target_count, line.patch_count, line.patch_lengths.clone(), line.skipped_count)
        };
        assert_eq!(counts(left), counts(right), "step {step}");
        let scores = [left, right].map(|line| line.eval_bits_per_byte);
        assert_eq!(scores[0].is_some(), scores[1].is_some());
        if let [Some(left), Some(right)] = scores {
            assert!((left - right).abs() < ROUNDING * right, "step {step} score: {left} {right}");
        }
    }
}

fn bits(config: &RunConfig) -> Vec<[u64; 4]> {
    let bits = |line: Metrics| {
        let score = line.eval_bits_per_byte.map_or(0, f64::to_bits);
        [line.global_step, line.loss.to_bits().into(), line.grad_norm.to_bits().into(), score]
    };
    lines(config).into_iter().map(bits).collect()
}

fn as_one_process<E: Engine>(engine: impl Fn() -> E + Sync, base: &str, sets: &[&str]) {
    let dir = texts();
    let run = |name: &str| config(base, dir.path(), name, &[&SHARED[..], sets].concat());
    let alone = run("alone");
    train(1, &engine, &alone, Start::Fresh);
    assert!(lines(&alone).iter().all(|line| line.grad_norm > 0.05), "gradients are clipped");
    assert_eq!(lines(&alone).iter().filter(|it| it.eval_bits_per_byte.is_some()).count(), 2);
    assert!(lines(&alone).iter().all(|line| line.rank_count.is_none()));
    for count in [2, 3, 4] {
        let shared = run(&format!("on-{count}"));
        let events = train(count, &engine, &shared, Start::Fresh);
        assert!(lines(&shared).iter().all(|line| line.rank_count == Some(count as u64)));
        same_but_for_rounding(&shared, &alone);
        let again = run(&format!("on-{count}-again"));
        train(count, &engine, &again, Start::Fresh);
        assert_eq!(bits(&again), bits(&shared), "the same bits on as many ranks");
        let cut = run(&format!("on-{count}-cut"));
        train_in_small_buckets(count, &engine, &cut);
        assert_eq!(bits(&cut), bits(&shared), "the same bits in small buckets");
        // All ranks do the same things; figures are the first one's.
        let seen = |events: &[Event]| -> Vec<_> { events.iter().map(kind).collect() };
        assert!(events.iter().all(|of_rank| seen(of_rank) == seen(&events[0])));
    }
}

/// What an event is, without what only the first rank is told.
fn kind(event: &Event) -> String {
    match event {
        Event::Step { step, .. } => format!("step {step}"),
        Event::Sampled { step, .. } => format!("sampled {step}"),
        Event::Evaluated { step, score, .. } => format!("evaluated {step} {score:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_entropy_model_on_several_ranks() {
    as_one_process(Host::default, ENTROPY, &[]);
}

#[test]
fn a_rank_sends_twice_its_gradients() {
    let dir = texts();
    for count in [2, 4] {
        let config = config(ENTROPY, dir.path(), &count.to_string(), &SHARED);
        train(count, Host::default, &config, Start::Fresh);
        let model = run_model(&config).unwrap();
        let engine = Host::default();
        let loaded = block_on(LoadedModel::create(&engine, model.config, true)).unwrap();
        let gradients = loaded.layout.arenas_of(GRADIENTS).into_iter();
        let length: usize = gradients.map(|arena| loaded.layout.arenas()[arena.0].length).sum();
        let others = (count - 1) as f64 / count as f64;
        let expected = 2.0 * 4.0 * length as f64 * others;
        for line in lines(&config) {
            // Behind the gradients: figures, scores, and whether to stop.
            let beside = line.sent_bytes.unwrap() - expected;
            assert!((0.0..4000.0 * count as f64).contains(&beside), "{beside} {expected}");
        }
    }
}

/// A link that takes its time over gradients.
struct Slow {
    link: ThreadLink,
}

/// How long it takes over each bucket.
const SLOWNESS: Duration = Duration::from_millis(10);

impl Link for Slow {
    fn place(&self) -> Place {
        self.link.place()
    }

    fn exchange(
        &mut self,
        words: &[u32],
        counts: &[usize],
        received: &mut [u32],
        lengths: &[usize],
    ) -> Result<()> {
        // Only gradients are exchanged in parts; figures are shared.
        thread::sleep(SLOWNESS);
        self.link.exchange(words, counts, received, lengths)
    }

    fn share(&mut self, words: &[u32], received: &mut [u32], lengths: &[usize]) -> Result<()> {
        self.link.share(words, received, lengths)
    }

    fn finish(self: Box<Self>) {}
}

#[test]
fn the_time_of_an_exchange_is_all_that_is_waited_behind_the_backward_pass() {
    let dir = texts();
    let config = config(ENTROPY, dir.path(), "run", &[&SHARED[..], &["steps=2"]].concat());
    let links = ThreadLink::joined(2).into_iter().map(|link| Slow { link }).collect();
    let join = |link| Ok(Ranks::joined(move || Ok(link))?.with_bucket_elements(256));
    let ends = on_joined(links, join, Host::default, &config, Start::Fresh, |_, _, _| false);
    ends.into_iter().for_each(|end| assert!(end.is_ok()));
    // The embedding is whole last: 260 x 32 gradients, of which 24 buckets are on their way when
    // nothing is left to compute, and not only the eight that wait at the end.
    for line in lines(&config) {
        let seconds = line.exchange_seconds.unwrap();
        assert!(seconds > 24.0 * SLOWNESS.as_secs_f64(), "{seconds}");
    }
}

#[test]
fn a_blt_on_several_ranks() {
    let sample = ["sample.every=6", "sample.prompts=[\"the\"]", "sample.bytes=3"];
    as_one_process(Host::default, BLT, &sample);
}

#[test]
fn a_lazily_updated_table_on_several_ranks() {
    let table = "model.encoder_hash_byte_group_vocab=4001";
    as_one_process(Host::default, BLT, &[table, "optim.table_updates=\"lazy\""]);
    // And the bits of a dense one: a row that only another rank has touched is stepped here too.
    let dir = texts();
    let [lazy, dense] = ["lazy", "dense"].map(|updates| {
        let updates_key = format!("optim.table_updates={updates:?}");
        let config =
            config(BLT, dir.path(), updates, &[&SHARED[..], &[table, &updates_key]].concat());
        train(2, Host::default, &config, Start::Fresh);
        let read = |name: &str| {
            fs::read(config.checkpoint_dir().join("step-0000000012").join(name)).unwrap()
        };
        (["model.safetensors", "optimizer-00001.safetensors"].map(read), bits(&config))
    });
    assert!(lazy == dense);
}

#[cfg(feature = "gpu")]
#[test]
fn ranks_on_gpus() {
    let test = "ranks_on_gpus";
    if support::gpu_engine(test).is_none() {
        return;
    }
    let engine = || support::gpu_engine(test).expect("it was there before");
    as_one_process(engine, BLT, &["optim.table_updates=\"lazy\"", "steps=6", "eval.every=3"]);
}

/// A link through which gradients do not get: of those of others it hands on zeros, and of their
/// sums too unless it hears those.
struct Deaf {
    link: ThreadLink,
    hears_sums: bool,
}

impl Deaf {
    /// Takes out what is not this rank's, where it is too much to be figures.
    fn silence(&self, received: &mut [u32], lengths: &[usize]) {
        let rank = self.place().rank;
        let begin: usize = lengths[..rank].iter().sum();
        if received.len() > 1000 {
            received[..begin].fill(0);
            received[begin + lengths[rank]..].fill(0);
        }
    }
}

impl Link for Deaf {
    fn place(&self) -> Place {
        self.link.place()
    }

    fn exchange(
        &mut self,
        words: &[u32],
        counts: &[usize],
        received: &mut [u32],
        lengths: &[usize],
    ) -> Result<()> {
        self.link.exchange(words, counts, received, lengths)?;
        self.silence(received, lengths);
        Ok(())
    }

    fn share(&mut self, words: &[u32], received: &mut [u32], lengths: &[usize]) -> Result<()> {
        self.link.share(words, received, lengths)?;
        if !self.hears_sums {
            self.silence(received, lengths);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) {}
}

#[test]
fn ranks_whose_gradients_do_not_meet_are_stopped() {
    let dir = texts();
    let run = |name| config(ENTROPY, dir.path(), name, &SHARED);
    let deaf = |config: &RunConfig, hears_sums| {
        let links = ThreadLink::joined(2).into_iter().map(|link| Deaf { link, hears_sums });
        on_ranks(links.collect(), Host::default, config, Start::Fresh, |_, _, _| false)
    };
    for end in deaf(&run("apart"), false) {
        let said = end.unwrap_err().to_string();
        assert_eq!(said, "rank 1: the state of the optimiser is not what it is on rank 0");
    }
    // Sums that lack what others have given are alike everywhere, and have other losses.
    let (alone, together) = (run("alone"), run("together"));
    train(1, Host::default, &alone, Start::Fresh);
    deaf(&together, true).into_iter().for_each(|end| assert!(end.is_ok()));
    let losses = |config: &RunConfig| lines(config).last().unwrap().interval_loss;
    let difference = (losses(&alone) - losses(&together)).abs() / losses(&alone);
    assert!(difference > 10.0 * ROUNDING as f32, "{difference}");
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    for (base, sets) in [(ENTROPY, [].as_slice()), (BLT, &["optim.table_updates=\"lazy\""])] {
        let dir = texts();
        // The parts end, and score what is held out, where the whole run scores it too.
        let sets = [&SHARED[..], &["eval.every=2"], sets].concat();
        let straight = config(base, dir.path(), "straight", &sets);
        train(1, Host::default, &straight, Start::Fresh);
        let parts = config(base, dir.path(), "parts", &sets);
        for (count, max_steps, start) in
            [(2, 4, Start::Fresh), (1, 6, Start::Resume), (4, 12, Start::Resume)]
        {
            let part = RunConfig { max_steps: Some(max_steps), ..parts.clone() };
            train(count, Host::default, &part, start);
        }
        same_but_for_rounding(&parts, &straight);
    }
}

#[test]
fn one_rank_that_is_asked_to_stop_stops_all() {
    let dir = texts();
    let run = |name| config(BLT, dir.path(), name, &[&SHARED[..], &["logging.freq=4"]].concat());
    let (straight, config) = (run("straight"), run("run"));
    train(1, Host::default, &straight, Start::Fresh);
    let at = |rank: usize, event: &Event, stop: &StopFlag| {
        if rank == 1 && matches!(event, Event::Step { step: 5, .. }) {
            stop.request();
        }
        false
    };
    let ends = on_ranks(ThreadLink::joined(3), Host::default, &config, Start::Fresh, at);
    for end in ends {
        let events = end.unwrap();
        let Some(Event::Stopped { step: 5, path }) = events.last() else { panic!("{events:?}") };
        assert!(path.join("train_state.json").is_file());
    }
    // What was counted since the last line goes on, on fewer ranks.
    train(2, Host::default, &config, Start::Resume);
    same_but_for_rounding(&config, &straight);
}

#[test]
fn ranks_hear_who_stops_them_while_held_out_text_is_scored() {
    let dir = texts();
    let line = |text: String| serde_json::json!({ "text": text }).to_string() + "\n";
    let many: String = sentences(5, 40).into_iter().map(line).collect();
    fs::write(dir.path().join("many.jsonl"), many).unwrap();
    let sets = [&SHARED[..], &["data.valid=[\"many.jsonl\"]"]].concat();
    let run = |name| config(ENTROPY, dir.path(), name, &sets);
    let (straight, config) = (run("straight"), run("run"));
    train(1, Host::default, &straight, Start::Fresh);
    let at = |rank: usize, event: &Event, stop: &StopFlag| {
        if rank == 1 && matches!(event, Event::Evaluating { step: 6, .. }) {
            stop.request();
        }
        false
    };
    for end in on_ranks(ThreadLink::joined(2), Host::default, &config, Start::Fresh, at) {
        let events = end.unwrap();
        assert!(matches!(events.last(), Some(Event::Stopped { step: 6, .. })), "{events:?}");
    }
    train(2, Host::default, &config, Start::Resume);
    same_but_for_rounding(&config, &straight);
}

#[test]
fn ranks_hear_who_stops_them_while_a_long_document_is_scored() {
    let dir = texts();
    let entropy = config(ENTROPY, dir.path(), "entropy", &["steps=2"]);
    let events = train(1, Host::default, &entropy, Start::Fresh);
    let Some(Event::Finished { path, .. }) = events[0].last() else { panic!("{events:?}") };
    fs::write(dir.path().join("long.txt"), sentences(3, 5000).join(" ")).unwrap();
    let model = format!("data.patcher_args.entropy_model_checkpoint_dir={:?}", path.display());
    let more = ["data.patcher_args.patching_mode=\"entropy\"", "data.sources=[\"long.txt\"]"];
    let config = config(BLT, dir.path(), "run", &[&SHARED[..], &more, &[model.as_str()]].concat());
    let at = |rank: usize, event: &Event, stop: &StopFlag| {
        if rank == 1 && matches!(event, Event::Scoring { step: 0, .. }) {
            stop.request();
        }
        false
    };
    for end in on_ranks(ThreadLink::joined(2), Host::default, &config, Start::Fresh, at) {
        let events = end.unwrap();
        assert!(matches!(events.last(), Some(Event::Stopped { step: 0, .. })), "{events:?}");
    }
}

#[test]
fn a_rank_that_leaves_ends_the_run_and_the_checkpoint_is_good() {
    let dir = texts();
    let sets = [&SHARED[..], &["checkpoint.dump.every=3"]].concat();
    let config = config(BLT, dir.path(), "run", &sets);
    let at = |rank: usize, event: &Event, _: &StopFlag| {
        rank == 1 && matches!(event, Event::Step { step: 5, .. })
    };
    let ends = on_ranks(ThreadLink::joined(2), Host::default, &config, Start::Fresh, at);
    let said = ends[0].as_ref().unwrap_err().to_string();
    assert_eq!(said, "rank 1: it has left the run");
    train(2, Host::default, &config, Start::Resume);
    let steps: Vec<_> = lines(&config).iter().map(|line| line.global_step).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
}

#[test]
fn ranks_without_work_or_with_another_run_are_refused() {
    let dir = texts();
    let five = config(ENTROPY, dir.path(), "run", &SHARED);
    let links = ThreadLink::joined(5);
    for end in on_ranks(links, Host::default, &five, Start::Fresh, |_, _, _| false) {
        let error = end.unwrap_err();
        let expected = "expected at least a micro-batch for each of 5 ranks, got 4";
        assert_eq!(error.to_string(), format!("grad_acc_steps: {expected}"));
    }
    // Two ranks with other rates.
    let ends = thread::scope(|scope| {
        let threads: Vec<_> = ThreadLink::joined(2)
            .into_iter()
            .zip(["optim.lr=0.01", "optim.lr=0.02"])
            .map(|(link, rate)| {
                let config = config(ENTROPY, dir.path(), "run", &[&SHARED[..], &[rate]].concat());
                scope.spawn(move || {
                    let engine = Host::default();
                    let ranks = Arc::new(Ranks::joined(move || Ok(link)).unwrap());
                    let platform = NativePlatform::default();
                    let run = Run::with_ranks(&engine, platform, config, Start::Fresh, ranks);
                    block_on(run).err().expect("they differ").to_string()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(ends.iter().all(|said| said.contains("config.toml is not what it is on rank 0")));
}
