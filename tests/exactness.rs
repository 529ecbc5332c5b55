//! Long texts generated with caches against one full pass over each of them: that one pass equals
//! reading every prefix, for causal rules, is checked on prefixes too.
//!
//! The long form takes minutes and any model directory:
//!
//!     BLT_EXACT_MODEL=blt-demo/model \
//!         cargo test --release --test exactness -- --ignored --nocapture

mod support;

use blt_wgpu::blt::config::{ModelConfig, PatchingMode};
use blt_wgpu::blt::{LoadedDirectory, LoadedModel};
use blt_wgpu::checkpoint::ModelDirectory;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{
    Added, Agreement, BYTES_A_SUBMISSION, Cached, OnLimit, Recompute, Source, Stops, TextStream,
};
use blt_wgpu::text::{BOS_ID, EOS_ID, encode};
use pollster::block_on;
use std::path::Path;
use support::{Session, golden_blt, golden_entropy, write_golden_weights};

/// Largest difference of logits between a text and its prefix.
const TOLERANCE: f32 = 1e-4;
const POSITIONS: usize = 6000;

/// English, code, CJK, emoji, nothing, one byte, a text longer than any window, one with an EOS
/// inside, one that is no UTF-8, one that repeats itself.
fn prompts() -> Vec<(&'static str, Vec<u32>)> {
    let text = |text: &str| encode(text.as_bytes(), true, false);
    let sentence = "The quick brown fox jumps over the lazy dog, and the dog lets it. ";
    let documents = [encode(b"The first document.", true, true), text("The second goes on")];
    vec![
        ("English", text("It is a truth universally acknowledged, that a single man")),
        ("code", text("fn main() {\n    let x: Vec<u32> = (0..9).map(|i| i * i).collect();\n")),
        ("CJK", text("吾輩は猫である。名前はまだ無い。")),
        ("emoji", text("🎉🎊 👩‍👩‍👧‍👦 🇪🇺 ")),
        ("empty", vec![BOS_ID]),
        ("one byte", text("x")),
        ("long", text(&sentence.repeat(24))),
        ("EOS inside", documents.concat()),
        ("no UTF-8", encode(b"\xff\xfe\x80abc\xe6\x97 \x00\x00", true, false)),
        ("repeats", text(&"ab".repeat(40))),
    ]
}

/// The golden BLT and its entropy model, with so many positions of bytes.
fn golden<E: Engine>(engine: &E, positions: usize) -> LoadedDirectory<E> {
    let load = |config| {
        let model = block_on(LoadedModel::create(engine, config, false)).unwrap();
        let session = Session { engine, model };
        write_golden_weights(&session);
        session.model
    };
    let mut config = golden_blt();
    for stack in [&mut config.encoder, &mut config.global, &mut config.decoder] {
        stack.max_positions = positions;
    }
    config.patching.threshold = 5.1;
    let mut entropy = golden_entropy();
    entropy.transformer.max_positions = POSITIONS;
    config.attach_patcher(entropy.clone());
    entropy.semantics = config.semantics;
    let patcher = Some(load(ModelConfig::Entropy(entropy)));
    LoadedDirectory { model: load(ModelConfig::Blt(config)), patcher }
}

/// The same model, cut by another rule.
fn cut_by<E: Engine>(directory: &mut LoadedDirectory<E>, mode: PatchingMode, is_golden: bool) {
    let ModelConfig::Blt(config) = &mut directory.model.config else { panic!("it is a BLT") };
    config.patching.mode = mode;
    config.patching.patch_size = 3;
    let is_entropy = mode == PatchingMode::Entropy;
    if is_golden {
        config.patching.threshold = if is_entropy { 5.1 } else { 0.02 };
    } else if !is_entropy {
        config.patching.threshold = 0.5;
    }
    config.patching.threshold_add = (mode == PatchingMode::Combined).then_some(0.01);
}

fn modes() -> impl Iterator<Item = PatchingMode> {
    PatchingMode::ALL.into_iter().filter(|&mode| mode != PatchingMode::Bpe)
}

/// Likeliest bytes, and no end: the text is as long as is asked for.
fn endless() -> Sampler {
    let banned_ids = vec![EOS_ID];
    Sampler::new(SamplingOptions { banned_ids, ..SamplingOptions::default() }, 0).unwrap()
}

/// Generates behind a prompt and compares.
fn check<E: Engine>(
    engine: &E,
    directory: &LoadedDirectory<E>,
    agreement: &mut Agreement,
    (name, prompt): (&'static str, &[u32]),
    [count, prefix_count]: [usize; 2],
) {
    let what = format!("{}, {name}", agreement.mode.name());
    let mut source = block_on(Cached::new(engine, directory, endless())).unwrap();
    source.keep_logits(true);
    source.begin(prompt, 0).unwrap();
    // As long as the model has positions for.
    let count = count.min(source.positions().bytes - prompt.len());
    let added: Vec<Added> = (0..count).map(|_| block_on(source.step()).unwrap()).collect();
    let generated = added.iter().map(|it| it.id);
    let ids: Vec<u32> = prompt.iter().copied().chain(generated).collect();
    let mut reader = Recompute::new(engine, directory, endless()).unwrap();
    let pass = block_on(reader.read(&ids[..ids.len() - 1])).unwrap();
    let compared = agreement.compare(name, prompt.len(), &added, &pass);
    compared.unwrap_or_else(|problem| panic!("{what}: {problem}"));
    // Every prefix by itself is the definition; that the full pass equals it is checked on some.
    let mut prefixes = Recompute::new(engine, directory, endless()).unwrap();
    prefixes.begin(prompt, 0).unwrap();
    for (index, added) in added.iter().take(prefix_count).enumerate() {
        prefixes.begin(&ids[..prompt.len() + index], 0).unwrap();
        let alone = block_on(prefixes.step()).unwrap();
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE;
        assert!(alone.logits.iter().zip(&added.logits).all(close), "{what}: prefix {index}");
        assert_eq!(alone.entropy.map(f32::to_bits), added.entropy.map(f32::to_bits), "{what}");
        assert_eq!(alone.starts_patch, added.starts_patch, "{what}: prefix {index}");
    }
}

/// All modes and prompts; at most one id in a hundred may be a tie.
fn check_all(directory: &mut LoadedDirectory<HostEngine<f32>>, is_golden: bool, form: [usize; 2]) {
    let engine = HostEngine::<f32>::default();
    let (mut tie_count, mut total) = (0, 0);
    for mode in modes() {
        cut_by(directory, mode, is_golden);
        let mut found = Agreement::new(mode, BYTES_A_SUBMISSION, endless().options());
        for (name, prompt) in prompts() {
            check(&engine, directory, &mut found, (name, &prompt), form);
        }
        assert_eq!(found.entropy_count, if mode.needs_entropies() { found.id_count } else { 0 });
        println!(
            "{}: {} ids behind {} prompts, logits within {:e}, ties {:?}",
            mode.name(),
            found.id_count,
            prompts().len(),
            found.largest_difference,
            found.ties
        );
        tie_count += found.ties.len();
        total += found.chosen_count;
    }
    println!("{tie_count} ties of {total} ids");
    assert!(total > 0 && tie_count * 100 <= total, "{tie_count} ties of {total} ids");
}

#[test]
fn texts_of_every_mode_equal_a_full_pass() {
    let mut directory = golden(&HostEngine::<f32>::default(), POSITIONS);
    check_all(&mut directory, true, [50, 2]);
}

/// The definition itself, for the first 200 bytes: every prefix read by itself.
#[test]
fn each_of_the_first_200_bytes_is_what_its_prefix_says() {
    let engine = HostEngine::<f32>::default();
    let mut directory = golden(&engine, POSITIONS);
    for mode in [PatchingMode::Entropy, PatchingMode::Space] {
        cut_by(&mut directory, mode, true);
        let (name, prompt) = prompts().swap_remove(7);
        let mut found = Agreement::new(mode, BYTES_A_SUBMISSION, endless().options());
        check(&engine, &directory, &mut found, (name, &prompt), [200, 200]);
        assert_eq!(found.id_count, 200);
    }
}

#[test]
#[ignore = "the long form: minutes"]
fn long_texts_of_every_mode_equal_a_full_pass() {
    let engine = HostEngine::<f32>::default();
    let form = [4000, 200];
    match std::env::var_os("BLT_EXACT_MODEL") {
        None => check_all(&mut golden(&engine, POSITIONS), true, form),
        Some(path) => {
            let opened = ModelDirectory::open(Path::new(&path)).unwrap();
            let mut directory = block_on(LoadedDirectory::load(&engine, &opened, false)).unwrap();
            check_all(&mut directory, false, form);
        }
    }
}

/// A window that slides, and a conversation in which lines are pushed one by one or many at once,
/// have the text that reading everything again gives.
#[test]
fn a_text_that_slides_and_is_pushed_to_is_that_of_recomputing() {
    let engine = HostEngine::<f32>::default();
    let mut directory = golden(&engine, 64);
    cut_by(&mut directory, PatchingMode::Space, true);
    let options = SamplingOptions { temperature: 1.0, top_p: 0.9, ..SamplingOptions::default() };
    let sampler = Sampler::new(options, 5).unwrap();
    let cached = block_on(Cached::new(&engine, &directory, sampler.clone())).unwrap();
    let recompute = Recompute::new(&engine, &directory, sampler).unwrap();
    let (by_caches, by_recomputing) = (talk(cached), talk(recompute));
    assert!(by_caches.0 > 0, "it slid");
    assert_eq!(by_caches, by_recomputing);
}

/// Where the window began in the end, and the text.
fn talk(source: impl Source) -> (usize, Vec<u32>) {
    let stops = Stops { count: Some(40), strings: Vec::new() };
    let mut stream = TextStream::new(source, &stops, OnLimit::Slide).unwrap();
    for line in ["one", "two two", "", &"many words ".repeat(4), "three"] {
        stream.push(line.as_bytes());
        for piece in stream.pieces() {
            piece.unwrap();
        }
    }
    (stream.window_start(), stream.ids().to_vec())
}
