//! Texts that are generated with caches are those that reading everything again generates: logits
//! of every position within rounding, entropies to the bit, the same patches, the likeliest ids.
//!
//! The oracle is one full pass over the finished text, compared as an [`Agreement`] compares. Where
//! its two best logits lie close to each other either id will do: a tie.

mod support;

use blt_wgpu::bench::BenchShape;
use blt_wgpu::blt::config::{ModelConfig, PatchingMode, ReferenceEntropyKeys};
use blt_wgpu::blt::parameters::PATCHER_PREFIX;
use blt_wgpu::blt::{
    CacheShape, LoadedDirectory, Pass, WeightTypes, cache_layout, step_graph, store_layout,
};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{
    Added, Agreement, BYTES_A_SUBMISSION, Cached, Recompute, Source, StreamId, Streams,
};
#[cfg(feature = "gpu")]
use blt_wgpu::generate::{CheckForm, SelfCheck};
use blt_wgpu::graph::{CompileOptions, Precision, compile_for};
use blt_wgpu::kernels::{Abilities, Axis, Counts};
use pollster::block_on;
use support::failing::Failing;
use support::streaming::{
    POSITIONS, blt, directory, entropy, generate, greedy, ids, loaded, shapes,
};

/// A prompt, `count` ids behind it, and text pushed when half of them are there.
#[track_caller]
fn check<E: Engine>(engine: &E, directory: &LoadedDirectory<E>, what: &str, count: usize) {
    let documents = [ids("one"), vec![2], ids("two, and it goes on")].concat();
    let prompts = [
        ("empty", vec![1]),
        ("a byte", ids("a")),
        ("characters", ids("Hi, BLT! It is \u{1F600} long \u{6587}\u{5B57}.")),
        ("documents", documents),
    ];
    let mode = match &directory.model.config {
        ModelConfig::Blt(config) => config.patching.mode,
        ModelConfig::Entropy(_) => PatchingMode::Byte,
    };
    let mut found = Agreement::new(mode, BYTES_A_SUBMISSION, greedy().options());
    let mut reader = Recompute::new(engine, directory, greedy()).unwrap();
    for (name, prompt) in prompts {
        let mut streams = block_on(Streams::new(engine, directory, 1)).unwrap();
        streams.keep_logits(true);
        let id = streams.open(&prompt, greedy()).unwrap();
        let mut added = generate(&mut streams, id, count / 2);
        streams.push(id, &[104, 2, 1, 105, 36, 107]).unwrap();
        added.extend(generate(&mut streams, id, count - count / 2));
        assert!(added.len() > 6, "{what}, {name}: ended at once");
        let text = streams.ids(id);
        let pass = block_on(reader.read(&text[..text.len() - 1])).unwrap();
        let compared = found.compare(name, prompt.len(), &added, &pass);
        compared.unwrap_or_else(|problem| panic!("{what}, {name}, {problem}"));
    }
    let entropy_count = if mode.needs_entropies() { found.id_count } else { 0 };
    assert_eq!(found.entropy_count, entropy_count, "{what}");
    let (ties, chosen) = (&found.ties, found.chosen_count);
    assert!(ties.len() * 100 <= chosen, "{what}: {ties:?} of {chosen} ids");
}

#[test]
fn every_causal_mode_generates_what_a_full_pass_says() {
    let engine = HostEngine::<f32>::default();
    for mode in PatchingMode::ALL.into_iter().filter(|&mode| mode != PatchingMode::Bpe) {
        let directory = directory(&engine, blt(mode));
        check(&engine, &directory, mode.name(), 120);
    }
}

#[test]
fn every_shape_generates_what_a_full_pass_says() {
    let engine = HostEngine::<f32>::default();
    for (name, config) in shapes() {
        config.validate().expect(name);
        check(&engine, &directory(&engine, config), name, 60);
    }
}

/// The same on a GPU, where other kernels compute the steps.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_generates_what_a_full_pass_says() {
    let Some(engine) = support::gpu_engine("streams") else { return };
    for mode in [PatchingMode::Entropy, PatchingMode::Space] {
        check(&engine, &directory(&engine, blt(mode)), mode.name(), 24);
    }
    for (name, config) in shapes() {
        check(&engine, &directory(&engine, config), name, 10);
    }
}

/// As `blt devices --check` does: every rule of patching, caches that grow, entropies to the bit, a
/// byte a submission and four.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_checks_itself() {
    let Some(engine) = support::gpu_engine("streams") else { return };
    let mut own = block_on(SelfCheck::new(&engine, CheckForm::Short)).unwrap();
    for mode in SelfCheck::<blt_wgpu::gpu::GpuEngine>::modes() {
        for bytes in [1, 4] {
            let found = block_on(own.check(mode, bytes)).unwrap();
            assert!(found.id_count == 210 && found.patch_count >= 3, "{found:?}");
            assert_eq!(found.entropy_count, if mode.needs_entropies() { 210 } else { 0 });
        }
    }
}

/// A lone entropy model is a byte language model without patches.
#[test]
fn an_entropy_model_generates_what_a_full_pass_says() {
    let engine = HostEngine::<f32>::default();
    let model = loaded(&engine, ModelConfig::Entropy(entropy()));
    check(&engine, &LoadedDirectory { model, patcher: None }, "entropy model", 60);
}

/// Caches that have to grow: long patches, many patches, more streams than there was room for.
#[test]
fn caches_grow_and_keep_what_they_hold() {
    let engine = HostEngine::<f32>::default();
    let mut config = blt(PatchingMode::Static);
    config.patching.patch_size = 50;
    check(&engine, &directory(&engine, config), "patches of 50", 160);
    check(&engine, &directory(&engine, blt(PatchingMode::Byte)), "patches of 1", 300);
}

/// Streams come and go, and each has the text it would have alone.
#[test]
fn streams_do_not_see_each_other() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let prompts = ["", "a", "several words and", "\u{1F600}", "x y z", "the last one to come"];
    let alone = |prompt: &str, count: usize| {
        let mut streams = block_on(Streams::new(&engine, &directory, 1)).unwrap();
        let id = streams.open(&ids(prompt), greedy()).unwrap();
        generate(&mut streams, id, count)
    };
    let mut streams = block_on(Streams::new(&engine, &directory, 2)).unwrap();
    let mut open: Vec<(StreamId, usize, Vec<Added>)> = Vec::new();
    let mut done = Vec::new();
    let mut waiting = (0..2 * prompts.len()).map(|index| (index, 5 + 7 * index % 30));
    for round in 0.. {
        if round % 4 == 0
            && let Some((index, length)) = waiting.next()
        {
            let id = streams.open(&ids(prompts[index % prompts.len()]), greedy()).unwrap();
            open.push((id, index % prompts.len() + 100 * length, Vec::new()));
        }
        for (id, added) in block_on(streams.step()).unwrap() {
            let stream = open.iter_mut().find(|stream| stream.0 == id).unwrap();
            stream.2.push(added.unwrap());
        }
        open.retain(|stream| {
            let (id, key, added) = stream;
            let is_done = added.len() == key / 100 || streams.has_ended(*id);
            if is_done {
                streams.close(*id);
                done.push((*key, added.clone()));
            }
            !is_done
        });
        if open.is_empty() && round > 4 * 2 * prompts.len() {
            break;
        }
    }
    assert_eq!(done.len(), 2 * prompts.len());
    for (key, added) in done {
        let expected = alone(prompts[key % 100], key / 100);
        let of =
            |added: &[Added]| added.iter().map(|it| (it.id, it.starts_patch)).collect::<Vec<_>>();
        assert_eq!(of(&added), of(&expected), "{:?}", prompts[key % 100]);
        for (a, b) in added.iter().zip(&expected) {
            assert_eq!(a.entropy.map(f32::to_bits), b.entropy.map(f32::to_bits));
        }
    }
}

/// Ids that are drawn, or chosen by what came before, are those of who reads everything again.
#[test]
fn drawn_ids_are_those_of_recomputing() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let drawn = SamplingOptions { temperature: 0.9, top_k: 40, ..SamplingOptions::default() };
    let penalised = SamplingOptions { repetition_penalty: 1.3, ..SamplingOptions::default() };
    let banned = SamplingOptions { banned_ids: (4..200).collect(), ..SamplingOptions::default() };
    for options in [drawn, penalised, banned] {
        let sampler = || Sampler::new(options.clone(), 3).unwrap();
        let prompt = ids("ab");
        let mut expected = Recompute::new(&engine, &directory, sampler()).unwrap();
        let mut cached = block_on(Cached::new(&engine, &directory, sampler())).unwrap();
        expected.begin(&prompt, 0).unwrap();
        cached.begin(&prompt, 0).unwrap();
        for _ in 0..40 {
            let (a, b) = (block_on(cached.step()).unwrap(), block_on(expected.step()).unwrap());
            assert_eq!((a.id, a.starts_patch), (b.id, b.starts_patch), "{options:?}");
        }
    }
}

/// A stream that cannot choose is told so, and stands where it stood.
#[test]
fn a_stream_that_cannot_choose_is_told_so() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let options = SamplingOptions { banned_ids: (0..260).collect(), ..SamplingOptions::default() };
    let nothing = Sampler::new(options, 0).unwrap();
    let mut streams = block_on(Streams::new(&engine, &directory, 2)).unwrap();
    let (none, some) =
        (streams.open(&ids("a"), nothing).unwrap(), streams.open(&ids("a"), greedy()).unwrap());
    for round in 1..4 {
        let step = block_on(streams.step()).unwrap();
        assert_eq!((step[0].0, step[1].0), (none, some));
        let error = step[0].1.as_ref().unwrap_err().to_string();
        assert_eq!(error, "logits: every id is banned, expected at least one choice");
        assert_eq!((streams.generated(none).len(), streams.generated(some).len()), (0, round));
    }
    let rows = directory.model.layout.require("lm_head.weight").unwrap().length();
    directory.model.write(&engine, "lm_head.weight", &vec![f32::NAN; rows]).unwrap();
    let step = block_on(streams.step()).unwrap();
    assert!(step.iter().all(|(_, added)| added.is_err()), "{step:?}");
}

/// A stream ends at an EOS, and at the last position with an error of its own.
#[test]
fn a_stream_without_room_is_told_so_and_others_go_on() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Space));
    let mut streams = block_on(Streams::new(&engine, &directory, 2)).unwrap();
    let long = streams.open(&[101; POSITIONS], greedy()).unwrap();
    let short = streams.open(&[1, 101], greedy()).unwrap();
    assert_eq!((streams.room(long), streams.room(short)), (1, POSITIONS - 1));
    let first = block_on(streams.step()).unwrap();
    assert!(first.iter().all(|(_, added)| added.is_ok()));
    let second = block_on(streams.step()).unwrap();
    let of = |id| second.iter().find(|(other, _)| *other == id).map(|(_, added)| added);
    let error = of(long).unwrap().as_ref().unwrap_err();
    assert!(matches!(error, blt_wgpu::Error::Positions { .. }), "{error}");
    assert!(of(short).unwrap().is_ok());
    assert!(streams.open(&[101; POSITIONS + 1], greedy()).is_err());
    streams.close(long);
    assert!(streams.push(long, &[7]).is_err(), "it is closed");
    assert!(block_on(streams.step()).unwrap().iter().all(|(id, _)| *id == short));
}

/// What a GPU waits for: dispatches of a byte, and of a byte with which a patch closes.
#[test]
fn a_byte_of_s_takes_few_dispatches() {
    let bench = BenchShape::named("s").unwrap().unwrap();
    let entropy = ReferenceEntropyKeys::from_table(bench.run.entropy_model.clone()).unwrap();
    let entropy = entropy.into_config().unwrap().config;
    let (config, most) = (bench.model.config.clone(), 1 << 29);
    let patcher = Some((&entropy, PATCHER_PREFIX));
    let shape = CacheShape { streams: 1, patches: 128, states: 32, rewind: 0 };
    let layout_of =
        |config| store_layout(config, None, Precision::F32, &WeightTypes::default(), most).unwrap();
    let mut layout = layout_of(&config);
    layout.append(PATCHER_PREFIX, &layout_of(&ModelConfig::Entropy(entropy.clone())));
    layout.append("", &cache_layout(&config, patcher, &shape, most).unwrap());
    let abilities = Abilities { hardware: true, ..Abilities::CORE };
    let options = CompileOptions { abilities, ..CompileOptions::BASE };
    let counts =
        Counts::default().with(Axis::Bytes, 1).with(Axis::Patches, 1).with(Axis::SeenBytes, 8);
    let dispatches = |pass| {
        let graph = step_graph(&config, patcher, shape, pass).unwrap();
        let recording = compile_for(graph, "step", &layout, counts, &options).unwrap();
        recording.dispatches.len()
    };
    // 3 to embed; 5 a block, of which there are 1 and 4; 3 a cross-attention, of which there are 4;
    // 1 for the states, 1 for the logits, 1 for the id; of the entropy model 1, 2 x 5, 1 and 1.
    // Where a patch closes besides: 7 to make it, 8 x 5 to take it through the latent transformer,
    // 1 to project it, 4 for what the decoder reads of it.
    assert_eq!([dispatches(Pass::Open), dispatches(Pass::Close)], [55, 55 + 52]);
}

/// A step of all streams is one replay, of which three words a stream are read: id, status and
/// entropy. With several bytes a submission it is one replay for all of them.
#[test]
fn a_byte_is_one_replay_and_a_few_words() {
    let engine = Failing::working(HostEngine::<f32>::default());
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    for (bytes, words) in [(1, 3), (4, 4)] {
        let streams = Streams::with_bytes_a_submission(&engine, &directory, 3, bytes);
        let mut streams = block_on(streams).unwrap();
        let options = SamplingOptions { banned_ids: vec![2], ..SamplingOptions::default() };
        for prompt in ["one", "two words", ""] {
            let sampler = Sampler::new(options.clone(), 0).unwrap();
            streams.open(&ids(prompt), sampler).unwrap();
        }
        assert!(block_on(streams.prefill()).unwrap().is_empty());
        let before = (engine.replay_count.get(), engine.word_count.get());
        for _ in 0..24 {
            assert_eq!(block_on(streams.step()).unwrap().len(), 3);
        }
        assert_eq!(engine.replay_count.get() - before.0, 24 / bytes);
        assert_eq!(engine.word_count.get() - before.1, 24 * 3 * words);
    }
}
