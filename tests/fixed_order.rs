//! What feeds a patch boundary comes out the same to the last bit, whatever is scored beside it:
//! other rows, text behind, a larger plan, more threads. On the CPU engine, and on a GPU adapter.

mod support;

use blt_wgpu::blt::config::{EntropyConfig, ModelConfig, Semantics, TransformerConfig};
use blt_wgpu::blt::patching::{Patching, PatchingMode};
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{Batch, entropies_graph, forward_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::eval::{Patcher, ScoreOptions, Scorer};
use blt_wgpu::graph::compile;
use blt_wgpu::kernels::{Axis, Counts, Step};
use pollster::block_on;
use proptest::prelude::*;
use support::{Session, write_golden_weights};

/// Keys that a byte sees, itself included: fewer than there are in the texts.
const WINDOW: usize = 100;

/// Positions of the text that most tests score.
const LENGTH: usize = 200;

/// Two layers, heads that share keys, sizes that fill no tile and no vector.
fn config(max_positions: usize) -> ModelConfig {
    ModelConfig::Entropy(EntropyConfig {
        transformer: TransformerConfig {
            hidden_size: 72,
            layer_count: 2,
            head_count: 4,
            kv_head_count: 2,
            head_dim: 20,
            intermediate_size: 152,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            max_positions,
            window: Some(WINDOW),
        },
        semantics: Semantics::Transformers,
    })
}

/// The model with weights that make logits of about ±1, unlike those it starts training with.
fn session<E: Engine>(engine: &E, max_positions: usize) -> Session<'_, E> {
    let session = Session::new(engine, config(max_positions));
    write_golden_weights(&session);
    session
}

/// The first so many ids of the demo's text.
fn text(length: usize) -> Vec<u32> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tinyshakespeare.txt");
    let mut ids = blt_wgpu::text::encode(&std::fs::read(path).unwrap(), true, true);
    ids.truncate(length);
    ids
}

fn batch(config: &ModelConfig, rows: &[&[u32]]) -> Batch {
    let row = |ids: &&[u32]| Row {
        ids: ids.to_vec(),
        targets: vec![0; ids.len()],
        weights: vec![0.0; ids.len()],
        patch_lengths: Vec::new(),
    };
    Batch::new(config, &rows.iter().map(row).collect::<Vec<_>>()).unwrap()
}

/// Entropies of every position of every row, scored in one replay of a plan with room for `spare`
/// positions more.
fn entropies<E: Engine>(session: &Session<'_, E>, rows: &[&[u32]], spare: usize) -> Vec<Vec<f32>> {
    let batch = batch(&session.model.config, rows);
    let bytes = batch.counts.0[Axis::Bytes as usize] as usize + spare;
    let capacity = batch.counts.max(&Counts::default().with(Axis::Bytes, bytes));
    let graph = entropies_graph(&session.model.config).unwrap();
    let recording = compile(graph, "score", &session.model.layout, capacity).unwrap();
    let plan = block_on(session.engine.compile(&session.model.store, recording)).unwrap();
    session.run(&plan, &batch, 1.0);
    let all = block_on(session.engine.output(&plan, "entropies", &Step::of(batch.counts))).unwrap();
    let mut rest = &all[..];
    let cut = |ids: &&[u32]| {
        let (own, after) = rest.split_at(ids.len());
        rest = after;
        own.to_vec()
    };
    rows.iter().map(cut).collect()
}

/// That two stretches of entropies are the same bits.
#[track_caller]
fn assert_same(what: &str, expected: &[f32], got: &[f32]) {
    assert_eq!(expected.len(), got.len(), "{what}: as many entropies");
    let differs = |i: &usize| expected[*i].to_bits() != got[*i].to_bits();
    let differing: Vec<_> = (0..got.len()).filter(differs).collect();
    if let Some(&first) = differing.first() {
        let (count, expected, got) = (differing.len(), expected[first], got[first]);
        panic!("{what}: other bits at {count} positions, the first {first}: {expected} and {got}");
    }
}

/// Prefixes, rows among others, larger plans.
fn check_batches<E: Engine>(engine: &E, lengths: &[usize]) {
    let session = session(engine, 4096);
    let ids = text(LENGTH);
    let whole = entropies(&session, &[&ids], 0).remove(0);
    let largest = whole.iter().copied().fold(0.0, f32::max);
    assert!(whole.iter().any(|&it| it < largest - 0.2), "entropies that say something");
    for &length in lengths {
        let prefix = entropies(&session, &[&ids[..length]], 0).remove(0);
        assert_same(&format!("prefix of {length}"), &whole[..length], &prefix);
    }
    let other = text(2000);
    for (before, behind) in [(1, 1), (63, 5), (64, 1), (700, 300)] {
        let rows = [&other[1000..1000 + before], &ids, &other[..behind]];
        let among = entropies(&session, &rows, 0).remove(1);
        assert_same(&format!("{before} positions before, {behind} behind"), &whole, &among);
    }
    for spare in [1, 56, 1000] {
        let larger = entropies(&session, &[&ids], spare).remove(0);
        assert_same(&format!("{spare} positions to spare"), &whole, &larger);
    }
    let batch = batch(&session.model.config, &[&ids]);
    let forward = forward_graph(&session.model.config).unwrap();
    let forward = session.outputs(forward, &batch, &["entropies"]).remove(0);
    assert_same("with logits", &whole, &forward);
}

#[test]
fn entropies_do_not_depend_on_what_is_scored_beside_them() {
    let lengths: Vec<_> = (1..=LENGTH).filter(|length| length % 7 == 1 || *length < 20).collect();
    check_batches(&HostEngine::<f32>::default(), &lengths);
}

#[cfg(feature = "gpu")]
#[test]
fn entropies_do_not_depend_on_what_is_scored_beside_them_on_the_gpu() {
    let test = "entropies_do_not_depend_on_what_is_scored_beside_them_on_the_gpu";
    let Some(engine) = support::gpu_engine(test) else { return };
    check_batches(&engine, &[1, 2, 17, 63, 64, 65, 100, 101, 130, 199]);
}

#[test]
fn threads_change_no_bit_of_the_entropies() {
    let engine = HostEngine::<f32>::default();
    let session = session(&engine, 4096);
    let ids = text(1200);
    let with = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(|| entropies(&session, &[&ids[..500], &ids], 0).concat())
    };
    let one = with(1);
    for count in [2, 3] {
        assert_same(&format!("{count} threads"), &one, &with(count));
    }
}

/// Documents of several windows: every prefix, and whatever windows share a replay.
fn check_scorer<E: Engine>(engine: &E, lengths: &[usize]) {
    let session = session(engine, 4096);
    let ids = text(400);
    let score = |context: usize, batch_bytes: usize, length: usize| {
        let mut scorer = Scorer::new(ScoreOptions { context, batch_bytes });
        block_on(scorer.entropies(engine, &session.model, &ids[..length])).unwrap()
    };
    for context in [48, 150] {
        let whole = score(context, 10_000, ids.len());
        assert_eq!(whole.len(), ids.len());
        for batch_bytes in [1, 100] {
            let what = format!("context {context}, about {batch_bytes} positions a replay");
            assert_same(&what, &whole, &score(context, batch_bytes, ids.len()));
        }
        for &length in lengths {
            let what = format!("context {context}, prefix of {length}");
            assert_same(&what, &whole[..length], &score(context, 10_000, length));
        }
    }
}

#[test]
fn an_entropy_of_a_long_document_depends_on_what_is_before_it_alone() {
    let lengths: Vec<_> = (1..400).step_by(13).chain([48, 49, 72, 73, 150, 151, 225]).collect();
    check_scorer(&HostEngine::<f32>::default(), &lengths);
}

#[cfg(feature = "gpu")]
#[test]
fn an_entropy_of_a_long_document_depends_on_what_is_before_it_alone_on_the_gpu() {
    let test = "an_entropy_of_a_long_document_depends_on_what_is_before_it_alone_on_the_gpu";
    let Some(engine) = support::gpu_engine(test) else { return };
    check_scorer(&engine, &[1, 48, 49, 72, 73, 151, 226, 399]);
}

/// Where patches start, the one that the next byte joins included.
fn starts(patch_lengths: &[u32]) -> Vec<u32> {
    let start = |sum: &mut u32, length: &u32| Some(std::mem::replace(sum, *sum + length));
    patch_lengths.iter().scan(0, start).collect()
}

/// Through the patcher, of a model with fewer positions than the text. Thresholds are entropies of
/// the text, and rises of them: a last bit decides on which side of them a position lies.
fn check_patcher<E: Engine>(engine: &E, lengths: &[usize]) {
    let session = session(engine, 160);
    let ids = text(400);
    let patcher = |patching| Patcher::new(engine, patching, Some(&session.model)).unwrap();
    let mut scorer = patcher(Patching::new(PatchingMode::Entropy { threshold: 0.0 }));
    let whole = block_on(scorer.entropies(&ids)).unwrap();
    let prefixes: Vec<_> =
        lengths.iter().map(|&length| block_on(scorer.entropies(&ids[..length])).unwrap()).collect();
    let rises = (1..ids.len()).filter(|&i| whole[i] > whole[i - 1]);
    for (index, position) in rises.enumerate() {
        let (threshold, rise) = (whole[position], whole[position] - whole[position - 1]);
        for mode in [
            PatchingMode::Entropy { threshold },
            PatchingMode::Monotonic { threshold: rise },
            PatchingMode::Combined { threshold, threshold_add: rise },
        ] {
            let max_patch_length = [None, Some(6)][index % 2];
            let patching = Patching { max_patch_length, ..Patching::new(mode) };
            let all = starts(&patching.patch_lengths(&ids, &whole).unwrap());
            let expected = |end: usize| {
                let before = all.iter().copied().filter(|&start| start as usize <= end);
                before.collect::<Vec<_>>()
            };
            for prefix in &prefixes {
                let end = prefix.len();
                let got = starts(&patching.patch_lengths(&ids[..end], prefix).unwrap());
                assert_eq!(got, expected(end), "{patching:?}, prefix of {end}");
            }
            if index % 40 == 0 {
                let end = lengths[index % lengths.len()];
                let cut = block_on(patcher(patching).cut(&ids[..end])).unwrap();
                assert_eq!(starts(&cut.patch_lengths), expected(end), "{patching:?}, {end}, cut");
            }
        }
    }
}

#[test]
fn boundaries_of_a_prefix_are_those_of_the_text() {
    let lengths: Vec<_> = (1..20).chain((20..400).step_by(17)).chain([160, 161, 240]).collect();
    check_patcher(&HostEngine::<f32>::default(), &lengths);
}

#[cfg(feature = "gpu")]
#[test]
fn boundaries_of_a_prefix_are_those_of_the_text_on_the_gpu() {
    let test = "boundaries_of_a_prefix_are_those_of_the_text_on_the_gpu";
    let Some(engine) = support::gpu_engine(test) else { return };
    check_patcher(&engine, &[1, 33, 160, 161, 399]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rows_of_any_length_do_not_see_each_other(
        rows in prop::collection::vec(prop::collection::vec(0u32..260, 1..260), 1..6),
        chosen in any::<prop::sample::Index>(),
        kept in any::<prop::sample::Index>(),
    ) {
        let engine = HostEngine::<f32>::default();
        let session = session(&engine, 4096);
        let chosen = chosen.index(rows.len());
        let kept = 1 + kept.index(rows[chosen].len());
        let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
        let among = entropies(&session, &rows, 0).remove(chosen);
        let alone = entropies(&session, &[&rows[chosen][..kept]], 0).remove(0);
        assert_same("a prefix alone", &among[..kept], &alone);
    }
}
