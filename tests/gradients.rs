//! Gradients, op by op and for whole models.
//!
//! On the oracles in double precision every gradient agrees with finite differences; the CPU
//! engine's gradients agree with the oracles'.

mod support;

use blt_wgpu::blt::config::{BltConfig, ModelConfig, PatchingConfig, Pooling};
use blt_wgpu::blt::hash::HashConfig;
use blt_wgpu::blt::tables::{CsrRows, Row};
use blt_wgpu::blt::{Batch, TRAIN_NATS, training_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::graph::{AttentionShape, PoolKind, Reach, differentiate};
use support::{
    FUNCTIONAL, Fixture, Problem, STEP, Session, golden_blt, golden_entropy, golden_row,
    relative_distance, worst, write_golden_weights,
};

#[test]
fn matmul() {
    let [m, k, n] = [5, 4, 3];
    for transposes in 0..4 {
        let (ta, tb) = (transposes & 1 == 1, transposes >> 1 == 1);
        let a_shape = if ta { [k, m] } else { [m, k] };
        let b_shape = if tb { [n, k] } else { [k, n] };
        for weight_is_left in [false, true] {
            let mut problem = Problem::default();
            let (a, b) = if weight_is_left {
                (
                    problem.parameter(a_shape[0], a_shape[1]),
                    problem.computed(b_shape[0], b_shape[1]),
                )
            } else {
                (
                    problem.computed(a_shape[0], a_shape[1]),
                    problem.parameter(b_shape[0], b_shape[1]),
                )
            };
            let out = problem.graph.matmul(a, b, ta, tb).unwrap();
            problem.check(&format!("matmul transposes {ta} {tb}"), out);
        }
    }
}

#[test]
fn add() {
    let mut problem = Problem::default();
    let (a, b) = (problem.computed(4, 3), problem.computed(4, 3));
    let sum = problem.graph.add(a, 2.0, b, -0.5).unwrap();
    // Its inputs are used again, and one of them twice in one node.
    let sum = problem.graph.add(sum, 1.0, a, 3.0).unwrap();
    let out = problem.graph.add(sum, 1.5, sum, -0.25).unwrap();
    problem.check("add", out);
}

#[test]
fn reshape() {
    let mut problem = Problem::default();
    let x = problem.computed(6, 4);
    let tall = problem.graph.reshape(x, 2).unwrap();
    let weight = problem.parameter(3, 2);
    let projected = problem.graph.linear(tall, weight).unwrap();
    let out = problem.graph.reshape(projected, 18).unwrap();
    problem.check("reshape", out);
}

#[test]
fn rms_norm() {
    let mut problem = Problem::default();
    let (x, gain) = (problem.computed(7, 10), problem.parameter(1, 10));
    let out = problem.graph.rms_norm(x, gain, 1e-5).unwrap();
    problem.check("rms_norm", out);
}

#[test]
fn rope() {
    let mut problem = Problem::default();
    let x = problem.computed(6, 14);
    let position = problem.input_u(6, 1, vec![0, 1, 2, 0, 1, 5]);
    let angles = (0..6 * 2).map(|index| index as f32 * 0.37);
    let table = angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect();
    let table = problem.constant(6, 4, table);
    let out = problem.graph.rope(x, position, table, 12).unwrap();
    problem.check("rope", out);
}

#[test]
fn self_attention_in_windows_of_two_segments_with_grouped_heads() {
    let mut problem = Problem::default();
    let (heads, kv_heads, head_dim) = (4, 2, 6);
    let qkv = problem.computed(8, (heads + 2 * kv_heads) * head_dim);
    // Five positions, then three; a window of three.
    let keys = [[0, 1], [0, 2], [0, 3], [1, 4], [2, 5], [5, 6], [5, 7], [5, 8]];
    let [key_range, query_range] = problem.ranges(&keys, 8);
    let shape = AttentionShape {
        head_count: heads,
        kv_head_count: kv_heads,
        head_dim,
        query_factor: 1,
        key_factor: 1,
        query_offset: 0,
        key_offset: heads * head_dim,
        value_offset: (heads + kv_heads) * head_dim,
        reach: Reach::Keys(Some(3)),
    };
    let out = problem.graph.attention(qkv, qkv, key_range, query_range, shape).unwrap();
    problem.check("self-attention", out);
}

#[test]
fn cross_attention_with_several_rows_a_patch() {
    for (query_factor, key_factor) in [(3, 1), (1, 2), (2, 3)] {
        let mut problem = Problem::default();
        let (heads, head_dim) = (2, 4);
        // The second entry sees nothing.
        let keys = [[0, 1], [1, 1], [1, 4], [4, 5]];
        let [key_range, query_range] = problem.ranges(&keys, 5);
        let q = problem.computed(keys.len() * query_factor, heads * head_dim);
        let kv = problem.computed(5 * key_factor, 2 * heads * head_dim);
        let shape = AttentionShape {
            head_count: heads,
            kv_head_count: heads,
            head_dim,
            query_factor,
            key_factor,
            query_offset: 0,
            key_offset: 0,
            value_offset: heads * head_dim,
            reach: Reach::Shares(1),
        };
        let out = problem.graph.attention(q, kv, key_range, query_range, shape).unwrap();
        problem.check(&format!("cross-attention {query_factor} {key_factor}"), out);
    }
}

#[test]
fn swiglu() {
    let mut problem = Problem::default();
    let gate_up = problem.computed(5, 14);
    let out = problem.graph.swiglu(gate_up).unwrap();
    problem.check("swiglu", out);
}

#[test]
fn byte_embedding() {
    let mut problem = Problem::default();
    let ids = [3, 0, 3, 4, 3, 1];
    let lists = problem.lists(&CsrRows::new(&ids));
    let ids = problem.input_u(6, 1, ids.to_vec());
    let table = problem.parameter(5, 4);
    let out = problem.graph.byte_embedding(ids, table, lists);
    problem.check("byte_embedding", out);
}

#[test]
fn hash_embedding() {
    let mut problem = Problem::default();
    let two_tables = HashConfig { group_sizes: vec![3, 4], function_count: 1, rows_per_table: 4 };
    let hash_ids = [1, 0, 3, 3, 1, 0, 2, 2, 1, 3];
    let lists = problem.lists(&CsrRows::of_hash_tables(&hash_ids, &two_tables));
    let x = problem.computed(5, 3);
    let hash_ids = problem.input_u(5, 2, hash_ids.to_vec());
    let table = problem.parameter(8, 3);
    let out = problem.graph.hash_embedding(x, hash_ids, table, lists).unwrap();
    problem.check("hash_embedding", out);
}

#[test]
fn gather_rows() {
    let mut problem = Problem::default();
    let index = [2, 2, 0, 5, 2];
    let lists = problem.lists(&CsrRows::new(&index));
    let index = problem.input_u(5, 1, index.to_vec());
    let x = problem.computed(6, 4);
    let out = problem.graph.gather_rows(x, index, lists);
    problem.check("gather_rows", out);
}

#[test]
fn patch_pool() {
    for kinds in [&[PoolKind::Max][..], &[PoolKind::Mean, PoolKind::Min, PoolKind::Max]] {
        let mut problem = Problem::default();
        let x = problem.computed(9, 5);
        let range = problem.input_u(4, 2, vec![0, 1, 1, 5, 5, 7, 7, 9]);
        let out = problem.graph.patch_pool(x, range, kinds);
        problem.check("patch_pool", out);
    }
}

#[test]
fn cross_entropy() {
    let mut problem = Problem::default();
    let logits = problem.computed(6, 9);
    let targets = problem.input_u(6, 1, vec![0, 8, 3, 3, 5, 1]);
    let weights = problem.input_f(6, 1, vec![1.0, 0.5, 0.0, 2.0, 1.0, 1.0]);
    let loss_scale = 4.0;
    let mut state = vec![0.0; 16];
    state[0] = loss_scale;
    let state = problem.constant(1, 16, state);
    let nats = problem.graph.cross_entropy(logits, targets, weights, state);
    problem.graph.accumulate_sum(nats, FUNCTIONAL);
    let forward = problem.graph.clone();
    let seed = problem.graph.cross_entropy_seed(nats);
    differentiate(&mut problem.graph, &[seed], &[]).unwrap();
    problem.compare("cross_entropy", forward, loss_scale.into());
}

#[test]
fn an_entropy_has_no_gradient() {
    let mut problem = Problem::default();
    let logits = problem.computed(3, 4);
    let entropies = problem.graph.entropy(logits);
    let seed = problem.input_f(3, 1, vec![1.0; 3]);
    let error = differentiate(&mut problem.graph, &[(entropies, seed)], &[]).unwrap_err();
    assert!(error.to_string().contains("entropy"), "{error}");
}

/// A model with random weights and a batch of two rows.
struct Whole {
    name: &'static str,
    config: ModelConfig,
    rows: Vec<Row>,
}

/// The golden models, and what they leave out: no cross-attention, with the last byte states of a
/// patch side by side or with three ways of pooling, windows of patches, several hash functions.
fn whole_models() -> Vec<Whole> {
    let golden = golden_blt();
    let concatenated = BltConfig {
        encoder_cross_attention: None,
        decoder_cross_attention: None,
        pooling: Vec::new(),
        patching: PatchingConfig { patch_size: 2, ..PatchingConfig::default() },
        ..golden.clone()
    };
    let pooled = BltConfig {
        encoder_cross_attention: None,
        pooling: vec![Pooling::Mean, Pooling::Min, Pooling::Max],
        ..golden.clone()
    };
    let mut windowed = golden.clone();
    windowed.hash.function_count = 2;
    windowed.decoder.window = Some(7);
    for cross in [&mut windowed.encoder_cross_attention, &mut windowed.decoder_cross_attention] {
        cross.as_mut().unwrap().window = Some(2);
    }
    // Each of three encoder layers refines the patches of the one before (spec §7).
    let mut chained = golden.clone();
    chained.encoder.layer_count = 3;
    chained.encoder_cross_attention.as_mut().unwrap().all_layers = true;
    let blt = |name, config: BltConfig| Whole {
        name,
        config: ModelConfig::Blt(config),
        rows: vec![golden_row(true), golden_row(true)],
    };
    vec![
        blt("golden", golden),
        blt("concatenated", concatenated),
        blt("pooled", pooled),
        blt("windowed", windowed),
        blt("chained", chained),
        Whole {
            name: "entropy",
            config: ModelConfig::Entropy(golden_entropy()),
            rows: vec![golden_row(false)],
        },
    ]
}

#[test]
fn whole_models_on_the_oracles_agree_with_finite_differences() {
    for Whole { name, config, rows } in whole_models() {
        let batch = Batch::new(&config, &rows).unwrap();
        let engine = HostEngine::<f64>::default();
        let session = Session::new(&engine, config);
        write_golden_weights(&session);
        let graph = training_graph(&session.model.config).unwrap();
        let plan = session.compile(graph, &batch);
        session.run(&plan, &batch, 1.0);
        let base = session.read(TRAIN_NATS)[0];
        let parameters = &session.model.parameters;
        let gradients: Vec<_> = parameters.iter().map(|it| session.gradient(&it.name)).collect();
        let mut count = 0;
        for (spec, gradient) in parameters.iter().zip(&gradients) {
            let start = session.read(&spec.name);
            let size = |at: usize| gradient[at].abs();
            let largest = (0..gradient.len()).max_by(|&a, &b| size(a).total_cmp(&size(b)));
            let largest = largest.expect("tensors are not empty");
            assert!(size(largest) > 0.0, "{name}: {} has no gradient", spec.name);
            for at in [largest, 7919 % gradient.len(), 104_729 % gradient.len()] {
                let nats = |value: f32| {
                    let mut values = start.clone();
                    values[at] = value;
                    session.write(&spec.name, &values);
                    session.write(TRAIN_NATS, &[-base]);
                    session.run(&plan, &batch, 1.0);
                    f64::from(session.read(TRAIN_NATS)[0])
                };
                let (above, below) = (start[at] + STEP, start[at] - STEP);
                let slope = (nats(above) - nats(below)) / f64::from(above - below);
                let off = (slope - f64::from(gradient[at])).abs();
                let allowed = 1e-3 * f64::from(size(largest)).max(1e-3);
                assert!(
                    off < allowed,
                    "{name}: {}[{at}] has the slope {slope}, but the gradient {}",
                    spec.name,
                    gradient[at]
                );
                count += 1;
            }
            session.write(&spec.name, &start);
        }
        assert_eq!(count, 3 * parameters.len());
    }
}

/// Runs one micro-batch on both host engines and compares all gradients.
fn compare_engines(
    name: &str,
    config: &ModelConfig,
    rows: &[Row],
    fill: impl Fn(&Session<'_, HostEngine<f32>>),
) {
    let batch = Batch::new(config, rows).unwrap();
    let (fast, exact) = (HostEngine::<f32>::default(), HostEngine::<f64>::default());
    let session = Session::new(&fast, config.clone());
    fill(&session);
    let oracle = Session::new(&exact, config.clone());
    for spec in &session.model.parameters {
        oracle.write(&spec.name, &session.read(&spec.name));
    }
    let off = (session.train_once(&batch) - oracle.train_once(&batch)).abs();
    assert!(off < 2e-6, "{name}: the losses are {off:.1e} apart");
    for spec in &session.model.parameters {
        let (expected, got) = (oracle.gradient(&spec.name), session.gradient(&spec.name));
        let off = relative_distance(&expected, &got);
        let zeros = vec![0.0; expected.len()];
        // A single key has no gradient; what there is of it is rounding.
        let rounding = worst(&zeros, &expected).1 < 1e-7 && worst(&zeros, &got).1 < 1e-6;
        assert!(off < 2e-5 || rounding, "{name}: gradient of {} is {off:.1e} off", spec.name);
    }
}

#[test]
fn the_cpu_engine_agrees_with_the_oracles() {
    for Whole { name, config, rows } in whole_models() {
        compare_engines(name, &config, &rows, write_golden_weights);
    }
    for name in ["all_layers_gqa", "mixed_heads", "k4_window"] {
        let fixture = Fixture::open(name);
        let config = ModelConfig::Blt(fixture.config.clone());
        let rows = [fixture.row(fixture.patch_lengths())];
        compare_engines(name, &config, &rows, |session| fixture.write_weights(session));
    }
}

#[test]
fn shards_of_a_table_change_no_bit() {
    let mut config = golden_blt();
    config.hash.rows_per_table = 1009;
    let config = ModelConfig::Blt(config);
    let batch = Batch::new(&config, &[golden_row(true)]).unwrap();
    let train = |engine: HostEngine<f32>| {
        let session = Session::new(&engine, config.clone());
        write_golden_weights(&session);
        let table = session.model.layout.require("model.encoder_hash_tok_embedding.weight");
        let shard_count = table.unwrap().shards.len();
        session.train_once(&batch);
        let parameters = session.model.parameters.iter();
        let gradients: Vec<_> = parameters.map(|it| session.gradient(&it.name)).collect();
        (shard_count, session.read(TRAIN_NATS), gradients)
    };
    let (one, nats, gradients) = train(HostEngine::default());
    let (many, nats_of_many, gradients_of_many) =
        train(HostEngine::with_max_binding_elements(5632));
    assert_eq!(one, 1);
    assert!(many > 5, "{many} shards are more than one dispatch binds");
    assert_eq!(nats, nats_of_many);
    assert!(gradients == gradients_of_many, "a gradient differs");
}
