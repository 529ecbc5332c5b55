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

/// What is added behind a prompt in submissions of so many bytes, text pushed on the way.
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
    (added, streams.dispatch_count())
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
            let text = (&prompt[..], &sampler);
            let (expected, alone) = added(engine, directory, text, 1, count);
            let (got, linked) = added(engine, directory, text, bytes, count);
            assert!(expected.len() > 6, "{what}: ended at once");
            assert_ne!(alone, linked, "{what}: steps are linked");
            let what = format!("{what}, prompt of {}, {:?}", prompt.len(), sampler.options());
            assert_eq!(got.len(), expected.len(), "{what}");
            for (place, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let [got, expected] = [got, expected].map(|it| bits(std::slice::from_ref(it)));
                assert_eq!(got, expected, "{what}, {place} behind the prompt");
            }
        }
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
    let mut short = directory(&engine, blt(PatchingMode::Entropy));
    let mut patcher = entropy();
    patcher.transformer.max_positions = 31;
    let mut config = blt(PatchingMode::Entropy);
    config.attach_patcher(patcher.clone());
    patcher.semantics = config.semantics;
    short.patcher = Some(loaded(&engine, ModelConfig::Entropy(patcher)));
    short.model = loaded(&engine, ModelConfig::Blt(config));
    check(&engine, &short, "windows of 31", [4, 120]);
}

/// Streams that come and go, some ahead of their texts, have the texts they have alone.
#[test]
fn streams_do_not_see_each_other() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let prompts = ["", "a", "several words and", "\u{1F600}", "x y z", "the last one to come"];
    let alone = |prompt: &str, count: usize| {
        let mut streams = block_on(Streams::new(&engine, &directory, 1)).unwrap();
        let id = streams.open(&ids(prompt), drawn()).unwrap();
        generate(&mut streams, id, count)
    };
    let streams = Streams::with_bytes_a_submission(&engine, &directory, 2, 3);
    let mut streams = block_on(streams).unwrap();
    let mut open: Vec<(StreamId, &str, Vec<Added>)> = Vec::new();
    for round in 0..40 {
        if round % 3 == 0 && round / 3 < prompts.len() {
            let prompt = prompts[round / 3];
            open.push((streams.open(&ids(prompt), drawn()).unwrap(), prompt, Vec::new()));
        }
        for (id, added) in block_on(streams.step()).unwrap() {
            let stream = open.iter_mut().find(|stream| stream.0 == id).unwrap();
            stream.2.push(added.unwrap());
        }
        if round == 30 {
            streams.close(open[2].0);
        }
    }
    for (_, prompt, added) in open {
        assert!(added.len() > 10, "{prompt:?}");
        assert_eq!(bits(&added), bits(&alone(prompt, added.len())), "{prompt:?}");
    }
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

/// What cannot go on is told so, and stands where it stood.
#[test]
fn a_stream_that_cannot_choose_is_told_so() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let options = SamplingOptions { banned_ids: (0..260).collect(), ..SamplingOptions::default() };
    let nothing = Sampler::new(options, 0).unwrap();
    let streams = Streams::with_bytes_a_submission(&engine, &directory, 2, 4);
    let mut streams = block_on(streams).unwrap();
    let none = streams.open(&ids("a"), nothing).unwrap();
    let some = streams.open(&ids("a"), drawn()).unwrap();
    for round in 1..8 {
        let step = block_on(streams.step()).unwrap();
        let error = step[0].1.as_ref().unwrap_err().to_string();
        assert_eq!(error, "logits: every id is banned, expected at least one choice");
        assert_eq!((streams.generated(none).len(), streams.generated(some).len()), (0, round));
    }
    // Forced ids are read all the same.
    streams.push(none, &[80, 81]).unwrap();
    for pushed in [80, 81] {
        let step = block_on(streams.step()).unwrap();
        assert_eq!(step[0].1.as_ref().unwrap().id, pushed);
    }
    assert!(block_on(streams.step()).unwrap()[0].1.is_err());
}
