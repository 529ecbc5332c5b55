//! What one stream asks for and cannot have is its own error: others go on. And the limits of a
//! text are those of one full pass over it, whether it was a prompt or was generated.

mod support;

use blt_wgpu::Error;
use blt_wgpu::bench::BenchShape;
use blt_wgpu::blt::config::{BltConfig, ModelConfig, PatchingMode};
use blt_wgpu::blt::{CacheShape, LoadedDirectory, LoadedModel, cache_layout};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{Added, Cached, Recompute, Source, StreamId, Streams};
use blt_wgpu::kernels::{AXIS_COUNT, Axis, Counts};
use pollster::block_on;
use support::failing::Failing;
use support::{Session, golden_blt, golden_entropy, write_golden_weights};

/// An id that is never chosen.
const BROKEN: u32 = 99;

type Host = HostEngine<f32>;

fn loaded<E: Engine>(engine: &E, config: ModelConfig) -> LoadedModel<E> {
    let model = block_on(LoadedModel::create(engine, config, false)).unwrap();
    let session = Session { engine, model };
    write_golden_weights(&session);
    session.model
}

/// The golden model with so many positions for bytes and for patches, and an entropy model with as
/// many as it likes.
fn directory<E: Engine>(
    engine: &E,
    mode: PatchingMode,
    [bytes, patches, entropy]: [usize; 3],
) -> LoadedDirectory<E> {
    let mut config: BltConfig = golden_blt();
    (config.encoder.max_positions, config.decoder.max_positions) = (bytes, bytes);
    config.global.max_positions = patches;
    config.patching.mode = mode;
    config.patching.threshold = 5.1;
    let mut patcher = golden_entropy();
    patcher.transformer.max_positions = entropy;
    config.attach_patcher(patcher.clone());
    LoadedDirectory {
        model: loaded(engine, ModelConfig::Blt(config)),
        patcher: Some(loaded(engine, ModelConfig::Entropy(patcher))),
    }
}

fn sampler(temperature: f32) -> Sampler {
    let options =
        SamplingOptions { temperature, banned_ids: vec![2, BROKEN], ..Default::default() };
    Sampler::new(options, 7).unwrap()
}

/// BOS and so many words of a letter and a space: a patch for each by the rule of spaces.
fn words(count: usize) -> Vec<u32> {
    [vec![1], [101, 36].repeat(count)].concat()
}

/// BOS and a word of so many letters.
fn word(length: usize) -> Vec<u32> {
    [vec![1], vec![101; length]].concat()
}

type Step = Vec<(StreamId, Result<Added, Error>)>;

/// What a step says of a stream.
fn of(step: &Step, id: StreamId) -> &Result<Added, Error> {
    let found: Vec<_> = step.iter().filter(|(other, _)| *other == id).collect();
    assert_eq!(found.len(), 1, "a step says one thing of every stream");
    &found[0].1
}

/// The ids that a prompt is gone on with alone.
fn alone(
    engine: &Host,
    directory: &LoadedDirectory<Host>,
    prompt: &[u32],
    count: usize,
) -> Vec<u32> {
    let mut streams = block_on(Streams::new(engine, directory, 1)).unwrap();
    let id = streams.open(prompt, sampler(0.0)).unwrap();
    for _ in 0..count {
        assert!(of(&block_on(streams.step()).unwrap(), id).is_ok());
    }
    streams.generated(id).to_vec()
}

#[test]
fn a_prompt_of_too_many_patches_is_its_own_error() {
    let engine = Host::default();
    for mode in [PatchingMode::Space, PatchingMode::Entropy] {
        let directory = directory(&engine, mode, [200, 12, 200]);
        let mut streams = block_on(Streams::new(&engine, &directory, 1)).unwrap();
        let open =
            |streams: &mut Streams<'_, Host>, ids: &[u32]| streams.open(ids, sampler(0.0)).unwrap();
        let before = open(&mut streams, &word(2));
        let many: Vec<u32> = (0..180).map(|index| 60 + 7 * index % 180).collect();
        let many = if mode == PatchingMode::Space { words(60) } else { many };
        let too_many = open(&mut streams, &many);
        let behind = open(&mut streams, &word(3));
        for round in 1..6 {
            let step = block_on(streams.step()).unwrap();
            assert_eq!(step.len(), 3);
            let error = of(&step, too_many).as_ref().unwrap_err();
            assert!(matches!(error, Error::Positions { axis: "patches", .. }), "{error}");
            assert!(of(&step, before).is_ok() && of(&step, behind).is_ok());
            assert_eq!(streams.generated(behind).len(), round);
        }
        streams.close(too_many);
        assert_eq!(block_on(streams.step()).unwrap().len(), 2);
        assert_eq!(streams.generated(before), alone(&engine, &directory, &word(2), 6), "{mode:?}");
        assert_eq!(streams.generated(behind), alone(&engine, &directory, &word(3), 6), "{mode:?}");
    }
}

/// One prompt fits a binding, and all of them together do not: they are read in several passes.
#[test]
fn prompts_that_are_too_many_at_once_are_read_in_passes() {
    // The widest are 96 numbers a byte, and where entropies are computed 260.
    for (mode, most) in [(PatchingMode::Space, 40_000), (PatchingMode::Entropy, 100_000)] {
        let engine = Host::with_max_binding_elements(most);
        let directory = directory(&engine, mode, [400, 400, 400]);
        let mut streams = block_on(Streams::new(&engine, &directory, 4)).unwrap();
        let prompts = [word(300), word(280), word(310), word(20)];
        let ids: Vec<_> =
            prompts.iter().map(|prompt| streams.open(prompt, sampler(0.0)).unwrap()).collect();
        let unread = block_on(streams.prefill()).unwrap();
        assert!(unread.is_empty(), "{unread:?}");
        for _ in 0..5 {
            for (_, added) in block_on(streams.step()).unwrap() {
                added.unwrap();
            }
        }
        for (id, prompt) in ids.into_iter().zip(&prompts) {
            assert_eq!(streams.generated(id), alone(&engine, &directory, prompt, 5), "{mode:?}");
        }
    }
    // A pass is bounded where bindings are not: three prompts of 6,000 ids take two.
    let engine = Host::default();
    let directory = directory(&engine, PatchingMode::Space, [6_001, 400, 400]);
    let dispatches = |count: usize| {
        let mut streams = block_on(Streams::new(&engine, &directory, 4)).unwrap();
        for _ in 0..count {
            streams.open(&word(6_000), sampler(0.0)).unwrap();
        }
        let unread = block_on(streams.prefill()).unwrap();
        assert!(unread.is_empty(), "{unread:?}");
        streams.dispatch_count()
    };
    assert_eq!(dispatches(3), 2 * dispatches(1));
    assert_eq!(dispatches(2), dispatches(1));
}

/// The steps of prompts that are read together, so many a submission, and the dispatches until
/// then.
fn read(
    engine: &Host,
    directory: &LoadedDirectory<Host>,
    prompts: &[Vec<u32>],
    at_once: usize,
) -> (Vec<Step>, u64) {
    let streams = Streams::with_bytes_a_submission(engine, directory, 1, at_once);
    let mut streams = block_on(streams).unwrap();
    streams.keep_logits(true);
    for prompt in prompts {
        let id = streams.open(prompt, sampler(0.0)).unwrap();
        streams.push(id, &[77, 78]).unwrap();
    }
    let unread = block_on(streams.prefill()).unwrap();
    assert!(unread.is_empty(), "{unread:?}");
    let dispatch_count = streams.dispatch_count();
    let steps: Vec<Step> = (0..6).map(|_| block_on(streams.step()).unwrap()).collect();
    for ((id, _), prompt) in steps[0].iter().zip(prompts) {
        assert_eq!(streams.ids(*id)[..prompt.len()], prompt[..]);
        assert_eq!(streams.generated(*id).len(), 6);
    }
    (steps, dispatch_count)
}

/// Prompts that no binding holds are read in parts: the begin at once, and the rest an id a step.
/// What follows is what follows where bindings are large.
#[test]
fn prompts_that_are_too_long_for_a_pass_are_read_in_parts() {
    // A pass of the model holds 312 bytes of each 30,000 numbers, one for entropies 115.
    for (mode, most, counts) in [
        (Some(PatchingMode::Space), 30_000, [380, 9, 350]),
        (Some(PatchingMode::Entropy), 60_000, [390, 5, 300]),
        (None, 30_000, [200, 30, 399]),
    ] {
        // Words of nine bytes, and documents that end in the begin and in the rest.
        let text = |count: usize| {
            let id = |index: usize| match (index % 90, index % 10) {
                (88, _) => 2,
                (0 | 89, _) => 1,
                (_, 9) => 36,
                _ => 60 + (7 * index % 180) as u32,
            };
            (0..count).map(id).collect::<Vec<_>>()
        };
        let prompts = counts.map(text);
        let (small, large) = (Host::with_max_binding_elements(most), Host::default());
        let directory = |engine| match mode {
            Some(mode) => directory(engine, mode, [400, 400, 400]),
            None => {
                let mut config = golden_entropy();
                config.transformer.max_positions = 420;
                LoadedDirectory {
                    model: loaded(engine, ModelConfig::Entropy(config)),
                    patcher: None,
                }
            }
        };
        let (got, more_dispatches) = read(&small, &directory(&small), &prompts, 1);
        let (expected, dispatches) = read(&large, &directory(&large), &prompts, 1);
        // With several there is what single steps find, the rest of the prompts among it.
        let linked = read(&small, &directory(&small), &prompts, 3).0;
        let ids = |steps: &[Step]| {
            let added = steps.iter().flatten().map(|(_, added)| added.as_ref().unwrap());
            added.map(|it| (it.id, it.was_pushed, it.starts_patch)).collect::<Vec<_>>()
        };
        assert_eq!(ids(&linked), ids(&got));
        assert!(more_dispatches > 30 * dispatches, "{more_dispatches} and {dispatches}: steps");
        for (got, expected) in got.into_iter().flatten().zip(expected.into_iter().flatten()) {
            let what = format!("{mode:?}, {:?}", got.0);
            let (got, expected) = (got.1.unwrap(), expected.1.unwrap());
            let decided = |it: &Added| (it.id, it.was_pushed, it.starts_patch);
            assert_eq!(decided(&got), decided(&expected), "{what}");
            assert_eq!(got.entropy.map(f32::to_bits), expected.entropy.map(f32::to_bits), "{what}");
            let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-4;
            assert_eq!(got.logits.len(), expected.logits.len());
            assert!(!got.logits.iter().zip(&expected.logits).any(far), "{what}");
        }
    }
}

/// A device that cannot read any begin of a prompt is asked a few times, with ever shorter ones,
/// and the error says what to do.
#[test]
fn a_prompt_that_no_pass_can_begin_is_refused_soon() {
    let engine = Failing::without_memory_for(Host::default(), "seed");
    let directory = directory(&engine, PatchingMode::Space, [6_000, 400, 400]);
    let mut streams = block_on(Streams::new(&engine, &directory, 2)).unwrap();
    let long = streams.open(&word(5_000), sampler(0.0)).unwrap();
    let short = streams.open(&[1], sampler(0.0)).unwrap();
    let step = block_on(streams.step()).unwrap();
    let tries = engine.refused_count.get();
    // The first is for both prompts; each with room for more, and then for these ids alone.
    assert!((6..=24).contains(&tries), "{tries} tries");
    let error = step[0].1.as_ref().unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("of 5001 ids") && hint.contains("shorten the prompt"), "{hint}");
    // Nothing has to be read at once of a prompt of one id.
    assert_eq!((streams.generated(long).len(), streams.generated(short).len()), (0, 1));
    assert_eq!(streams.ids(long), word(5_000));
    block_on(streams.step()).unwrap();
    assert_eq!(engine.refused_count.get(), tries + 2, "it is asked once again, not from the begin");
}

/// A device that has memory for steps of two streams at a time takes four of them in halves, which
/// are smaller.
#[test]
fn half_of_a_step_takes_less_memory() {
    let two = Counts([u32::MAX; AXIS_COUNT]).with(Axis::Bytes, 2);
    let (engine, host) = (Failing::without_memory_above(Host::default(), two), Host::default());
    let small = directory(&engine, PatchingMode::Space, [64, 64, 64]);
    let large = directory(&host, PatchingMode::Space, [64, 64, 64]);
    for bytes in [1, 3] {
        let streams = Streams::with_bytes_a_submission(&engine, &small, 4, bytes);
        let mut streams = block_on(streams).unwrap();
        for letter in 80..84 {
            let id = streams.open(&[1], sampler(0.0)).unwrap();
            streams.push(id, &[letter]).unwrap();
        }
        let mut last = Vec::new();
        for _ in 0..9 {
            last = block_on(streams.step()).unwrap();
            assert!(last.iter().all(|(_, added)| added.is_ok()), "{bytes} at once: {last:?}");
        }
        assert!(engine.refused_count.replace(0) > 0);
        for ((id, _), letter) in last.iter().zip(80..) {
            let expected = alone(&host, &large, &[1, letter], 8);
            assert_eq!(streams.generated(*id)[1..], expected, "{bytes} at once");
        }
        assert_eq!(streams.linked_id_count() > 0, bytes > 1);
    }
}

/// Keys and values of all patches lie in one binding, however the prompt is read.
#[test]
fn a_prompt_whose_caches_no_binding_holds_is_its_own_error() {
    let engine = Host::with_max_binding_elements(30_000);
    let directory = directory(&engine, PatchingMode::Space, [1200, 600, 400]);
    let mut streams = block_on(Streams::new(&engine, &directory, 2)).unwrap();
    let long = streams.open(&words(500), sampler(0.0)).unwrap();
    let short = streams.open(&word(3), sampler(0.0)).unwrap();
    for round in 1..4 {
        let step = block_on(streams.step()).unwrap();
        let error = of(&step, long).as_ref().unwrap_err();
        assert!(matches!(error, Error::Limit { .. }) && error.hint().is_some(), "{error}");
        assert!(error.to_string().contains("one storage binding, for cache.model.global"));
        assert!(of(&step, short).is_ok());
        assert_eq!((streams.generated(long).len(), streams.generated(short).len()), (0, round));
    }
}

/// Keys and values of patches lie in one binding for all streams: where one needs more than its
/// share it is told so, and goes on once others have gone.
#[test]
fn a_stream_that_outgrows_the_caches_is_its_own_error() {
    // Four streams have 156 patches each, of 64 numbers; the first is at 153.
    let engine = Host::with_max_binding_elements(40_000);
    let directory = directory(&engine, PatchingMode::Space, [400, 400, 400]);
    let mut streams = block_on(Streams::new(&engine, &directory, 4)).unwrap();
    let long = streams.open(&words(152), sampler(0.0)).unwrap();
    let short: Vec<_> =
        (3..6).map(|length| streams.open(&word(length), sampler(0.0)).unwrap()).collect();
    streams.push(long, &[101, 36].repeat(8)).unwrap();
    let mut rounds = 0;
    let error = loop {
        let step = block_on(streams.step()).unwrap();
        rounds += 1;
        for (id, length) in short.iter().zip(3..) {
            assert!(of(&step, *id).is_ok(), "the stream of {length}");
            assert_eq!(streams.generated(*id).len(), rounds);
        }
        match of(&step, long) {
            Ok(added) => assert!(added.was_pushed && rounds < 16),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("one storage binding, for cache.model.global"), "{error}");
    assert_eq!(streams.ids(long), words(156));
    for (&id, length) in short.iter().zip(3..) {
        assert_eq!(streams.generated(id), alone(&engine, &directory, &word(length), rounds));
        streams.close(id);
    }
    let fresh = streams.open(&word(9), sampler(0.0)).unwrap();
    while streams.ids(long).len() < words(160).len() + 4 {
        let step = block_on(streams.step()).unwrap();
        assert!(of(&step, long).is_ok() && of(&step, fresh).is_ok());
    }
    let expected = alone(&engine, &directory, &words(160), 4);
    assert_eq!(streams.ids(long), [words(160), expected].concat());
}

/// Every stream has the room for patches of the one that needs the most: the figures of
/// docs/generation.md.
#[test]
fn room_for_patches_is_that_of_the_longest_text() {
    let config = BenchShape::named("s").unwrap().unwrap().model.config;
    let bytes = |streams: usize, patches: usize| {
        let shape = CacheShape { streams, patches, states: 32, rewind: 0 };
        cache_layout(&config, None, &shape, usize::MAX).unwrap().size_bytes()
    };
    // Keys and values of 1,024 numbers in eight layers.
    let patch = 8 * 2 * 1024 * size_of::<f32>();
    assert_eq!(patch, 64 << 10);
    assert_eq!(bytes(64, 512) - bytes(64, 128), 64 * (512 - 128) * patch);
    let (taken, used) = (64 * 512 * patch, (512 + 63 * 128) * patch);
    assert_eq!((taken >> 20, used >> 20, 100 * used / taken), (2048, 536, 26));
}

/// Whether a text of so many words can be gone on with: as a prompt, pushed, read again for every
/// id, and as one pass over it.
#[test]
fn a_text_has_the_same_limits_however_it_came() {
    let engine = Host::default();
    let directory = directory(&engine, PatchingMode::Space, [25, 9, 400]);
    let text = words(20);
    let goes_on = |source: &mut dyn FnMut() -> Result<Added, Error>| match source() {
        Ok(_) => true,
        Err(Error::Positions { .. }) => false,
        Err(error) => panic!("{error}"),
    };
    // BOS, a patch a word, and the open one: 7 words, and a letter that closes nothing.
    for count in 1..=text.len() {
        let prompt = &text[..count];
        let mut cached = block_on(Cached::new(&engine, &directory, sampler(0.0))).unwrap();
        let mut pushed = block_on(Cached::new(&engine, &directory, sampler(0.0))).unwrap();
        let mut again = Recompute::new(&engine, &directory, sampler(0.0)).unwrap();
        pushed.begin(&text[..1], 0).unwrap();
        for id in &prompt[1..] {
            pushed.push(&[*id]).unwrap();
        }
        let mut all_pushed = || loop {
            match block_on(pushed.step())? {
                added if added.was_pushed => {}
                added => return Ok(added),
            }
        };
        let mut as_prompt = || {
            cached.begin(prompt, 0)?;
            block_on(cached.step())
        };
        let mut read_again = || {
            again.begin(prompt, 0)?;
            block_on(again.step())
        };
        let verdicts =
            [goes_on(&mut as_prompt), goes_on(&mut all_pushed), goes_on(&mut read_again)];
        assert_eq!(verdicts, [count < words(8).len(); 3], "{count} ids");
    }
}

/// A text that cannot begin leaves the one before it as it was, to be gone on with.
#[test]
fn a_begin_that_is_refused_changes_nothing() {
    let engine = Host::default();
    let directory = directory(&engine, PatchingMode::Space, [30, 30, 400]);
    let mut cached = block_on(Cached::new(&engine, &directory, sampler(1.0))).unwrap();
    cached.begin(&word(5), 3).unwrap();
    block_on(cached.step()).unwrap();
    assert!(cached.begin(&word(30), 9).is_err());
    assert!(cached.begin(&[260], 9).is_err());
    cached.push(&[101]).unwrap();
    let rest = [0, 1].map(|_| block_on(cached.step()).unwrap().id);
    let mut again = Recompute::new(&engine, &directory, sampler(1.0)).unwrap();
    again.begin(&word(5), 3).unwrap();
    block_on(again.step()).unwrap();
    again.push(&[101]).unwrap();
    assert_eq!(rest, [101, block_on(again.step()).unwrap().id]);
}

/// The entropy model has fewer positions than the text has ids: it goes on in windows, as one full
/// pass over the text has them, to the bit.
#[test]
fn texts_outgrow_the_entropy_model() {
    let engine = Host::default();
    for (entropy, temperature, prompt) in
        [(24, 0.0, 3), (24, 1.0, 3), (25, 0.0, 70), (24, 1.0, 24), (24, 0.0, 35), (1, 0.0, 2)]
    {
        let directory = directory(&engine, PatchingMode::Entropy, [200, 200, entropy]);
        let mut cached = block_on(Cached::new(&engine, &directory, sampler(temperature))).unwrap();
        let mut again = Recompute::new(&engine, &directory, sampler(temperature)).unwrap();
        let mut ids: Vec<u32> = (0..prompt).map(|index| 60 + 7 * index % 180).collect();
        // A document ends within the windows.
        ids[1] = 2;
        cached.begin(&ids, 0).unwrap();
        again.begin(&ids, 0).unwrap();
        for step in 0..80 {
            let (a, b) = (block_on(cached.step()).unwrap(), block_on(again.step()).unwrap());
            let what = format!("{entropy} positions, prompt of {prompt}, step {step}");
            assert_eq!((a.id, a.starts_patch), (b.id, b.starts_patch), "{what}");
            assert_eq!(a.entropy.map(f32::to_bits), b.entropy.map(f32::to_bits), "{what}");
        }
    }
}

/// An entropy model with one weight that is no number: streams that do not read it go on.
#[test]
fn an_entropy_that_is_no_number_is_the_error_of_its_stream() {
    let engine = Host::default();
    let directory = directory(&engine, PatchingMode::Entropy, [200, 200, 200]);
    let patcher = directory.patcher.as_ref().unwrap();
    let hidden = golden_entropy().transformer.hidden_size;
    let row = vec![f32::NAN; hidden];
    patcher.write_rows(&engine, "embed_tokens.weight", BROKEN as usize, &row).unwrap();
    for temperature in [0.0, 1.0] {
        let mut streams = block_on(Streams::new(&engine, &directory, 4)).unwrap();
        let mut open = |prompt: &[u32]| streams.open(prompt, sampler(temperature)).unwrap();
        let first = open(&word(4));
        let broken = open(&word(5));
        let broken_prompt = open(&[1, BROKEN, 101]);
        let last = open(&word(6));
        streams.push(broken, &[BROKEN]).unwrap();
        for round in 1..4 {
            let step = block_on(streams.step()).unwrap();
            for id in [broken, broken_prompt] {
                let error = of(&step, id).as_ref().unwrap_err().to_string();
                assert!(error.starts_with("entropies: expected finite"), "{error}");
                assert!(streams.generated(id).is_empty());
            }
            for id in [first, last] {
                let what = format!("at {temperature}, round {round}, {id:?}");
                let added = of(&step, id).as_ref().expect(&what);
                assert_eq!(streams.generated(id).len(), round);
                assert_eq!(streams.generated(id).last(), Some(&added.id));
            }
        }
    }
}
