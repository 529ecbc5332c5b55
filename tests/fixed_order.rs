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

/// Two layers, heads that share keys, sizes that fill no tile and no vector.
fn config() -> ModelConfig {
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
            max_positions: 4096,
            window: Some(WINDOW),
        },
        semantics: Semantics::Transformers,
    })
}

/// The model with weights that make logits of about ±1, unlike those it starts training with.
fn session<E: Engine>(engine: &E) -> Session<'_, E> {
    let session = Session::new(engine, config());
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

fn row(ids: &[u32]) -> Row {
    let (targets, weights) = (vec![0; ids.len()], vec![0.0; ids.len()]);
    Row { ids: ids.to_vec(), targets, weights, patch_lengths: Vec::new() }
}

/// Entropies of every position of every row, scored in one replay.
fn entropies<E: Engine>(session: &Session<'_, E>, rows: &[&[u32]], spare: usize) -> Vec<Vec<f32>> {
    let batch_rows: Vec<_> = rows.iter().map(|ids| row(ids)).collect();
    let batch = Batch::new(&session.model.config, &batch_rows).unwrap();
    let bytes = batch.counts.0[Axis::Bytes as usize] as usize + spare;
    let capacity = batch.counts.max(&Counts::default().with(Axis::Bytes, bytes));
    let graph = entropies_graph(&session.model.config).unwrap();
    let recording = compile(graph, "score", &session.model.layout, capacity).unwrap();
    let plan = block_on(session.engine.compile(&session.model.store, recording)).unwrap();
    session.run(&plan, &batch, 1.0);
    let all = block_on(session.engine.output(&plan, "entropies", &Step::of(batch.counts))).unwrap();
    let mut rest = &all[..];
    let mut cut = |ids: &&[u32]| {
        let (own, after) = rest.split_at(ids.len());
        rest = after;
        own.to_vec()
    };
    rows.iter().map(&mut cut).collect()
}

/// That two stretches of entropies are the same bits.
#[track_caller]
fn assert_same(what: &str, expected: &[f32], got: &[f32]) {
    assert_eq!(expected.len(), got.len(), "{what}: as many entropies");
    let differing: Vec<_> = (0..got.len()).filter(|&i| expected[i] != got[i]).collect();
    assert!(
        differing.is_empty(),
        "{what}: other bits at {} of {}, first at {}: {} and {}",
        differing.len(),
        got.len(),
        differing[0],
        expected[differing[0]],
        got[differing[0]]
    );
}

/// Prefixes, rows among others, larger plans.
fn check<E: Engine>(engine: &E, lengths: &[usize]) {
    let session = session(engine);
    let ids = text(200);
    let whole = entropies(&session, &[&ids], 0).remove(0);
    let spread =
        whole.iter().copied().fold(0.0, f32::max) - whole.iter().copied().fold(9.0, f32::min);
    assert!(spread > 0.2, "entropies of some use differ, by {spread}");
    for &length in lengths {
        let prefix = entropies(&session, &[&ids[..length]], 0).remove(0);
        assert_same(&format!("prefix of {length}"), &whole[..length], &prefix);
    }
    let other = text(2000);
    for (before, after) in [(1, 0), (63, 5), (64, 1), (700, 300)] {
        let rows = [&other[1000..1000 + before], &ids, &other[..after.max(1)]];
        let among = entropies(&session, &rows, 0).remove(1);
        assert_same(&format!("behind {before}, before {after}"), &whole, &among);
    }
    for spare in [1, 56, 1000] {
        let larger = entropies(&session, &[&ids], spare).remove(0);
        assert_same(&format!("{spare} positions to spare"), &whole, &larger);
    }
}

#[test]
fn entropies_do_not_depend_on_what_is_scored_beside_them() {
    let lengths: Vec<_> = (1..=200).filter(|length| length % 7 == 1 || *length < 20).collect();
    check(&HostEngine::<f32>::default(), &lengths);
}

#[cfg(feature = "gpu")]
#[test]
fn entropies_do_not_depend_on_what_is_scored_beside_them_on_the_gpu() {
    let test = "entropies_do_not_depend_on_what_is_scored_beside_them_on_the_gpu";
    let Some(engine) = support::gpu_engine(test) else { return };
    check(&engine, &[1, 2, 17, 63, 64, 65, 100, 101, 130, 199]);
}
