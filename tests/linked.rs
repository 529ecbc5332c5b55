//! Several steps of a stream in one submission, from one to the next on the device, add what steps
//! of one add: ids, patches and entropies to the bit, and logits.

mod support;

use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::blt::config::{ModelConfig, PatchingMode};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{Added, StreamId, Streams};
use pollster::block_on;
use support::streaming::{
    POSITIONS, blt, directory, entropy, generate, greedy, ids, loaded, shapes,
};

/// Draws by every rule there is.
fn drawn() -> Sampler {
    let options = SamplingOptions {
        temperature: 0.9,
        top_k: 90,
        top_p: 0.95,
        min_p: 0.01,
        repetition_penalty: 1.2,
        allow_special: true,
        banned_ids: vec![40, 41],
    };
    Sampler::new(options, 5).unwrap()
}

fn prompts() -> [Vec<u32>; 3] {
    let mut two = ids("one");
    two.push(2);
    two.extend(ids("two, and it goes on"));
    [vec![1], ids("Hi, BLT! \u{1F600} \u{6587}\u{5B57}."), two]
}

/// What is added behind a prompt in submissions of so many bytes, text pushed on the way, and the
/// ids of it that were added several at a time.
fn added<E: Engine>(
    engine: &E,
    directory: &LoadedDirectory<E>,
    (prompt, sampler): (&[u32], &Sampler),
    bytes: usize,
    count: usize,
) -> (Vec<Added>, u64) {
    let streams = Streams::with_bytes_a_submission(engine, directory, 1, bytes);
    let mut streams = block_on(streams).unwrap();
    streams.keep_logits(true);
    let id = streams.open(prompt, sampler.clone()).unwrap();
    let mut added = generate(&mut streams, id, count / 2);
    // What was ahead is forgotten.
    streams.push(id, &[104, 2, 1, 105, 36, 107]).unwrap();
    added.extend(generate(&mut streams, id, count - count / 2));
    (added, streams.linked_id_count())
}

/// Id, whether it was pushed and starts a patch, entropy and logits, to the bit.
type Bits = (u32, bool, bool, Option<u32>, Vec<u32>);

fn bits(added: &[Added]) -> Vec<Bits> {
    let logits = |it: &Added| it.logits.iter().map(|logit| logit.to_bits()).collect();
    let entropy = |it: &Added| it.entropy.map(f32::to_bits);
    added
        .iter()
        .map(|it| (it.id, it.was_pushed, it.starts_patch, entropy(it), logits(it)))
        .collect()
}

#[track_caller]
fn check<E: Engine>(engine: &E, directory: &LoadedDirectory<E>, what: &str, counts: [usize; 2]) {
    let [bytes, count] = counts;
    for sampler in [greedy(), drawn()] {
        for prompt in prompts() {
            check_text(engine, directory, what, (&prompt, &sampler), [bytes, count]);
        }
    }
}

#[track_caller]
fn check_text<E: Engine>(
    engine: &E,
    directory: &LoadedDirectory<E>,
    what: &str,
    text: (&[u32], &Sampler),
    [bytes, count]: [usize; 2],
) {
    let (expected, alone) = added(engine, directory, text, 1, count);
    let (got, linked) = added(engine, directory, text, bytes, count);
    assert!(expected.len() > 6, "{what}: ended at once");
    // All of them, but where a window moves: every 16 ids, up to three of them.
    let least = if what == "windows of 31" { got.len() * 3 / 4 } else { got.len() };
    assert_eq!(alone, 0, "{what}");
    assert!(linked >= least as u64, "{what}: {linked} of {} ids were linked", got.len());
    let what = format!("{what}, prompt of {}, {:?}", text.0.len(), text.1.options());
    assert_eq!(got.len(), expected.len(), "{what}");
    for (place, (got, expected)) in got.iter().zip(&expected).enumerate() {
        let [got, expected] = [got, expected].map(|it| bits(std::slice::from_ref(it)));
        assert_eq!(got, expected, "{what}, {place} behind the prompt");
    }
}

#[test]
fn every_mode_adds_the_same() {
    let engine = HostEngine::<f32>::default();
    for mode in PatchingMode::ALL.into_iter().filter(|&mode| mode != PatchingMode::Bpe) {
        check(&engine, &directory(&engine, blt(mode)), mode.name(), [4, 90]);
    }
}

#[test]
fn every_shape_adds_the_same() {
    let engine = HostEngine::<f32>::default();
    for (name, config) in shapes() {
        check(&engine, &directory(&engine, config), name, [7, 60]);
    }
}

/// The same on a GPU, where one device word says how many patches close.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_adds_the_same() {
    let Some(engine) = support::gpu_engine("linked") else { return };
    for mode in [PatchingMode::Entropy, PatchingMode::Byte, PatchingMode::Space] {
        check(&engine, &directory(&engine, blt(mode)), mode.name(), [4, 24]);
    }
    for (name, config) in shapes() {
        check(&engine, &directory(&engine, config), name, [3, 12]);
    }
}

/// Caches that have to grow while streams are ahead, and windows of the entropy model that move.
#[test]
fn caches_grow_and_windows_move() {
    let engine = HostEngine::<f32>::default();
    let mut long = blt(PatchingMode::Static);
    long.patching.patch_size = 50;
    check(&engine, &directory(&engine, long), "patches of 50", [6, 160]);
    check(&engine, &directory(&engine, blt(PatchingMode::Byte)), "patches of 1", [5, 250]);
    check(&engine, &short_windows(&engine), "windows of 31", [4, 120]);
}

/// A model whose entropy model reads in windows of 31 ids.
fn short_windows<E: Engine>(engine: &E) -> LoadedDirectory<E> {
    let mut patcher = entropy();
    patcher.transformer.max_positions = 31;
    let mut config = blt(PatchingMode::Entropy);
    config.attach_patcher(patcher.clone());
    patcher.semantics = config.semantics;
    LoadedDirectory {
        model: loaded(engine, ModelConfig::Blt(config)),
        patcher: Some(loaded(engine, ModelConfig::Entropy(patcher))),
    }
}

/// The same on a GPU, close to where it happens: 32 byte states and 128 patches are there at first.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_goes_on_where_caches_grow_and_windows_move() {
    let Some(engine) = support::gpu_engine("linked") else { return };
    let text: Vec<u32> = (0..120).map(|index| 60 + 7 * index % 180).collect();
    let mut long = blt(PatchingMode::Static);
    long.patching.patch_size = 50;
    let long = directory(&engine, long);
    check_text(&engine, &long, "patches of 50", (&text[..24], &drawn()), [6, 18]);
    let short = directory(&engine, blt(PatchingMode::Byte));
    check_text(&engine, &short, "patches of 1", (&text[..120], &greedy()), [5, 14]);
    let windows = short_windows(&engine);
    check_text(&engine, &windows, "windows of 31", (&text[..22], &drawn()), [4, 24]);
}

/// Streams that come and go, some ahead of their texts, have the texts they have alone.
#[test]
fn streams_do_not_see_each_other() {
    let prompts = ["", "a", "several words and", "\u{1F600}", "x y z", "the last one to come"];
    come_and_go(&HostEngine::<f32>::default(), &prompts, 40);
}

#[cfg(feature = "gpu")]
#[test]
fn streams_on_a_gpu_do_not_see_each_other() {
    let Some(engine) = support::gpu_engine("linked") else { return };
    come_and_go(&engine, &["", "several words and", "\u{1F600}", "x"], 24);
}

/// A stream comes every third round, and the third goes near the end.
fn come_and_go<E: Engine>(engine: &E, prompts: &[&'static str], rounds: usize) {
    let directory = directory(engine, blt(PatchingMode::Entropy));
    let alone = |prompt: &str, count: usize| {
        let mut streams = block_on(Streams::new(engine, &directory, 1)).unwrap();
        let id = streams.open(&ids(prompt), drawn()).unwrap();
        generate(&mut streams, id, count)
    };
    let streams = Streams::with_bytes_a_submission(engine, &directory, 2, 3);
    let mut streams = block_on(streams).unwrap();
    let mut open: Vec<(StreamId, &str, Vec<Added>)> = Vec::new();
    for round in 0..rounds {
        if round % 3 == 0 && round / 3 < prompts.len() {
            let prompt = prompts[round / 3];
            open.push((streams.open(&ids(prompt), drawn()).unwrap(), prompt, Vec::new()));
        }
        for (id, added) in block_on(streams.step()).unwrap() {
            let stream = open.iter_mut().find(|stream| stream.0 == id).unwrap();
            stream.2.push(added.unwrap());
        }
        if round == rounds - 10 {
            streams.close(open[2].0);
        }
    }
    assert!(streams.linked_id_count() > 0);
    for (_, prompt, added) in open {
        assert!(added.len() > 6, "{prompt:?}");
        assert_eq!(bits(&added), bits(&alone(prompt, added.len())), "{prompt:?}");
    }
}

/// One of three ids, the end of the text among them, whatever the logits say.
fn ending(seed: u64) -> Sampler {
    let banned_ids = (0..260).filter(|id| ![2, 80, 101].contains(id)).collect();
    let options = SamplingOptions { temperature: 1e3, banned_ids, ..SamplingOptions::default() };
    Sampler::new(options, seed).unwrap()
}

/// What is added until the text ends, and behind what begins another.
fn added_to_the_end<E: Engine>(
    engine: &E,
    directory: &LoadedDirectory<E>,
    sampler: &Sampler,
    bytes: usize,
) -> [Vec<Added>; 2] {
    let streams = Streams::with_bytes_a_submission(engine, directory, 1, bytes);
    let mut streams = block_on(streams).unwrap();
    streams.keep_logits(true);
    let id = streams.open(&ids("An end"), sampler.clone()).unwrap();
    let first = generate(&mut streams, id, 100);
    streams.push(id, &[1, 80]).unwrap();
    let second = generate(&mut streams, id, 5);
    assert_eq!(streams.linked_id_count() > 0, bytes > 1);
    [first, second]
}

/// A text ends in the middle of a submission, and another begins behind it.
fn ends_in_the_middle<E: Engine>(engine: &E, modes: &[PatchingMode]) {
    let host = HostEngine::<f32>::default();
    for &mode in modes {
        let own = directory(&host, blt(mode));
        let ends_second = |seed: &u64| {
            let [first, _] = added_to_the_end(&host, &own, &ending(*seed), 1);
            first.len() % 4 == 2 && first.len() > 4
        };
        let sampler = ending((0..).find(ends_second).unwrap());
        let directory = directory(engine, blt(mode));
        let expected = added_to_the_end(engine, &directory, &sampler, 1);
        let got = added_to_the_end(engine, &directory, &sampler, 4);
        assert_eq!(expected[0].last().unwrap().id, 2);
        assert!(expected[0].len() % 4 == 2, "{} ids", expected[0].len());
        assert_eq!(got.each_ref().map(|it| bits(it)), expected.each_ref().map(|it| bits(it)));
    }
}

#[test]
fn a_text_ends_in_the_middle_of_a_submission() {
    let engine = HostEngine::<f32>::default();
    ends_in_the_middle(&engine, &[PatchingMode::Entropy, PatchingMode::Space]);
}

#[cfg(feature = "gpu")]
#[test]
fn a_text_on_a_gpu_ends_in_the_middle_of_a_submission() {
    let Some(engine) = support::gpu_engine("linked") else { return };
    ends_in_the_middle(&engine, &[PatchingMode::Entropy]);
}

/// What steps of a stream say, one that reads an id whose weights are no numbers behind its third
/// one, and one beside it; `bytes` a submission.
fn broken<E: Engine>(
    engine: &E,
    directory: &LoadedDirectory<E>,
    bytes: usize,
) -> [Vec<Result<Added, String>>; 2] {
    let streams = Streams::with_bytes_a_submission(engine, directory, 2, bytes);
    let mut streams = block_on(streams).unwrap();
    let options = SamplingOptions { banned_ids: vec![2, BROKEN], ..SamplingOptions::default() };
    let sampler = Sampler::new(options, 0).unwrap();
    let sound = streams.open(&ids("sound"), sampler.clone()).unwrap();
    let broken = streams.open(&ids("broken"), sampler).unwrap();
    streams.push(broken, &[104, 105, BROKEN, 106]).unwrap();
    let mut said = [Vec::new(), Vec::new()];
    for _ in 0..10 {
        for (id, added) in block_on(streams.step()).unwrap() {
            let added = added.map_err(|error| error.to_string());
            said[usize::from(id == broken)].push(added);
        }
    }
    assert_eq!(streams.linked_id_count() > 0, bytes > 1);
    assert_eq!(streams.generated(sound).len(), 10, "{bytes} a submission: {:?}", said[0]);
    said
}

const BROKEN: u32 = 99;

/// Numbers that are none behind the first step of a submission: the ids in front of them are added,
/// then the stream has its error, and others go on.
fn breaks_in_the_middle<E: Engine>(engine: &E, modes: &[PatchingMode]) {
    for &mode in modes {
        let directory = directory(engine, blt(mode));
        let nothing = |width: usize| vec![f32::NAN; width];
        // The entropy model reads an id before it is added, the model behind.
        let (good, error) = match mode {
            PatchingMode::Entropy => {
                let patcher = directory.patcher.as_ref().unwrap();
                let width = entropy().transformer.hidden_size;
                let row = nothing(width);
                patcher.write_rows(engine, "embed_tokens.weight", BROKEN as usize, &row).unwrap();
                (2, "entropies: expected finite")
            }
            _ => {
                let width = blt(mode).encoder.hidden_size;
                let name = "model.local_encoder.embed_tokens.weight";
                let row = nothing(width);
                directory.model.write_rows(engine, name, BROKEN as usize, &row).unwrap();
                (4, "logits: expected finite")
            }
        };
        let expected = broken(engine, &directory, 1);
        // Five: where the numbers break is neither the first step nor the last.
        let got = broken(engine, &directory, 5);
        let what = mode.name();
        assert!(expected[1][..good].iter().all(Result::is_ok), "{what}");
        assert!(expected[1][good..].iter().all(|it| it.as_ref().unwrap_err().starts_with(error)));
        let plain = |said: &[Result<Added, String>]| {
            let one = |it: &Result<Added, String>| {
                it.as_ref().map(|it| bits(std::slice::from_ref(it))).map_err(Clone::clone)
            };
            said.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(plain(&got[0]), plain(&expected[0]), "{what}, the stream beside it");
        assert_eq!(plain(&got[1]), plain(&expected[1]), "{what}");
    }
}

#[test]
fn numbers_break_in_the_middle_of_a_submission() {
    let engine = HostEngine::<f32>::default();
    breaks_in_the_middle(&engine, &[PatchingMode::Entropy, PatchingMode::Byte]);
}

#[cfg(feature = "gpu")]
#[test]
fn numbers_on_a_gpu_break_in_the_middle_of_a_submission() {
    let Some(engine) = support::gpu_engine("linked") else { return };
    breaks_in_the_middle(&engine, &[PatchingMode::Entropy, PatchingMode::Byte]);
    engine.context().check().unwrap();
}

/// A text reaches its last position, by single steps at the end, and then has an error of its own.
#[test]
fn a_text_reaches_its_last_position() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Space));
    let options = SamplingOptions { banned_ids: vec![2], ..SamplingOptions::default() };
    let endless = Sampler::new(options, 0).unwrap();
    let texts = [1, 4].map(|bytes| {
        let streams = Streams::with_bytes_a_submission(&engine, &directory, 1, bytes);
        let mut streams = block_on(streams).unwrap();
        let id = streams.open(&[101; POSITIONS - 9], endless.clone()).unwrap();
        let error = loop {
            if let Err(error) = block_on(streams.step()).unwrap().remove(0).1 {
                break error;
            }
        };
        assert!(matches!(error, blt_wgpu::Error::Positions { .. }), "{error}");
        streams.ids(id).to_vec()
    });
    assert_eq!(texts[0].len(), POSITIONS + 1);
    assert_eq!(texts[0], texts[1]);
}
