//! Parity: the models of this crate compute what other implementations compute.
//!
//! The golden numbers come from the paper's reference implementation, run over weights that a rule
//! makes (`tests/golden/tiny_blt.json`, `tiny_grads.json`); the fixtures come from Hugging Face
//! `transformers` (`tests/fixtures/`). Everything is compared on the CPU engine, and what engines
//! differ in on the GPU that is there.

mod support;

use blt_wgpu::blt::config::{BltConfig, ModelConfig, Pooling, Semantics};
use blt_wgpu::blt::parameters::reference_layout;
use blt_wgpu::blt::{Batch, TRAIN_STATE, forward_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::train::{AdamW, Trainer};
use pollster::block_on;
use serde_json::Value;
use support::{
    FIXTURES, Fixture, Session, assert_close, golden_blt, golden_entropy, golden_row,
    relative_distance, worst, write_golden_weights,
};

/// Where the norm of all gradients stands in the training state.
const GRAD_NORM: usize = 6;

/// How far an engine may be off.
#[derive(Clone, Copy)]
struct Tolerance {
    logits: f64,
    /// Entropies and mean losses, in nats.
    nats: f64,
    /// Gradients, relative to the norm of the tensor.
    gradient: f64,
    /// Weights after ten steps of AdamW at a learning rate of 1e-3.
    weights: f64,
}

const CPU: Tolerance = Tolerance { logits: 2e-5, nats: 5e-6, gradient: 3e-5, weights: 5e-5 };
#[cfg(feature = "gpu")]
const GPU: Tolerance = Tolerance { logits: 1e-4, nats: 2e-5, gradient: 3e-4, weights: 1e-4 };

fn golden(file: &str) -> Value {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
}

/// All numbers inside nested lists, in order.
fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

fn golden_session<E: Engine>(engine: &E, config: ModelConfig) -> (Session<'_, E>, Batch) {
    let row = golden_row(matches!(config, ModelConfig::Blt(_)));
    let batch = Batch::new(&config, &[row]).unwrap();
    let session = Session::new(engine, config);
    write_golden_weights(&session);
    (session, batch)
}

fn cpu() -> HostEngine<f32> {
    HostEngine::default()
}

#[test]
fn tensors_have_the_names_and_shapes_of_the_reference() {
    let expected = golden("tiny_blt.json");
    let engine = cpu();
    for (key, config) in
        [("A", ModelConfig::Blt(golden_blt())), ("entropy", ModelConfig::Entropy(golden_entropy()))]
    {
        let session = Session::new(&engine, config);
        let tensors = reference_layout(&session.model.parameters, 53);
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.reference_name.as_str()).collect();
        assert_eq!(serde_json::json!(names), expected[key]["names"], "{key}");
        let shape = |rows: usize, cols, vector| if vector { vec![cols] } else { vec![rows, cols] };
        let shapes = tensors.iter().map(|it| shape(it.rows, it.cols, it.one_dimensional));
        assert_eq!(serde_json::json!(shapes.collect::<Vec<_>>()), expected[key]["shapes"]);
    }
}

#[test]
fn golden_weights_begin_as_published() {
    let engine = cpu();
    let (session, _) = golden_session(&engine, ModelConfig::Blt(golden_blt()));
    let table = session.read("model.encoder_hash_tok_embedding.weight");
    assert_close("hash table", &[0.12954, -0.0061, -0.03788, 0.08898], &table[..4], 5e-6);
    let norm = session.read("model.global_transformer.layers.0.input_layernorm.weight");
    assert_close("norm", &[0.9882, 1.13024, 0.9342, 1.02476], &norm[..4], 5e-6);
}

fn check_golden_logits<E: Engine>(engine: &E, tolerance: Tolerance) {
    let (session, batch) = golden_session(engine, ModelConfig::Blt(golden_blt()));
    let graph = forward_graph(&session.model.config).unwrap();
    let logits = session.outputs(graph, &batch, &["logits"]).remove(0);
    let expected = numbers(&golden("tiny_blt.json")["A"]["logits"]);
    assert_close("logits", &expected, &logits, tolerance.logits);

    let most = |row: &[f32]| (0..260).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let likeliest: Vec<_> = logits.chunks(260).filter_map(most).collect();
    let expected = [83, 210, 129, 36, 216, 216, 198, 47, 94, 211, 129, 83, 203, 32, 71];
    assert_eq!(likeliest, expected);
}

fn check_golden_entropies<E: Engine>(engine: &E, tolerance: Tolerance) {
    let (session, batch) = golden_session(engine, ModelConfig::Entropy(golden_entropy()));
    let graph = forward_graph(&session.model.config).unwrap();
    let outputs = session.outputs(graph, &batch, &["logits", "entropies"]);
    let expected = &golden("tiny_blt.json")["entropy"];
    assert_close("logits", &numbers(&expected["logits"]), &outputs[0], tolerance.logits);
    assert_close("entropies", &numbers(&expected["entropies"]), &outputs[1], tolerance.nats);
    let [first, after_eos] = [0, 10].map(|position| outputs[1][position]);
    assert_eq!(first.to_bits(), after_eos.to_bits(), "BOS behind EOS sees nothing before it");
}

/// The loss, every gradient by its norm and one element, and one step of AdamW.
fn check_golden_training<E: Engine>(engine: &E, tolerance: Tolerance) {
    let expected = golden("tiny_grads.json");
    let (session, batch) = golden_session(engine, ModelConfig::Blt(golden_blt()));
    let loss = session.train_once(&batch);
    let difference = (loss - expected["loss"].as_f64().unwrap()).abs();
    assert!(difference < tolerance.nats, "loss {loss} is {difference:.1e} off");

    let tensors = reference_layout(&session.model.parameters, 53);
    assert_eq!(tensors.len(), 71);
    for tensor in &tensors {
        let known = &expected["grads"][&tensor.reference_name];
        let gradient = session.gradient(&tensor.name);
        let first = tensor.first_row * tensor.cols;
        let gradient = &gradient[first..first + tensor.rows * tensor.cols];
        let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let (known_norm, at) = (known[0].as_f64().unwrap(), known[1].as_u64().unwrap() as usize);
        let off = (norm - known_norm).abs() / known_norm;
        assert!(off < tolerance.gradient, "{}: norm {norm}, {off:.1e} off", tensor.reference_name);
        let off = (f64::from(gradient[at]) - known[2].as_f64().unwrap()).abs() / known_norm;
        assert!(off < tolerance.gradient, "{}[{at}]: {off:.1e} off", tensor.reference_name);
    }

    let query = "model.global_transformer.layers.0.self_attn.q_proj.weight";
    let norm = "model.local_decoder.norm.weight";
    let before = [-0.044_771_27, 0.070_946_25, -0.218_614_18, 0.294_156_28];
    assert_close("query before", &before, &session.read(query)[..4], 1e-7);
    let Session { engine, model } = session;
    let mut trainer = block_on(Trainer::new(engine, model, &AdamW::default())).unwrap();
    trainer.update(1e-3).unwrap();
    let read = |name: &str| block_on(trainer.settled().unwrap().read(engine, name)).unwrap();
    let total = f64::from(read(TRAIN_STATE)[GRAD_NORM]);
    let off = (total / expected["total"].as_f64().unwrap() - 1.0).abs();
    assert!(off < tolerance.gradient, "norm of all gradients {total}: {off:.1e} off");
    let after = [-0.043_776_684, 0.071_939_08, -0.219_592_26, 0.295_126_83];
    assert_close("query after", &after, &read(query)[..4], 1e-6);
    let after = [1.141_058_2, 1.030_470_3, 1.165_065_8, 1.179_355_3];
    assert_close("norm after", &after, &read(norm)[..4], 1e-6);
    let cleared = read(&blt_wgpu::graph::gradient_name(query));
    assert!(cleared.iter().all(|&g| g == 0.0), "the update clears the gradients");
}

#[test]
fn golden_logits_on_the_cpu() {
    check_golden_logits(&cpu(), CPU);
}

#[test]
fn golden_entropies_on_the_cpu() {
    check_golden_entropies(&cpu(), CPU);
}

#[test]
fn golden_training_on_the_cpu() {
    check_golden_training(&cpu(), CPU);
}

/// The golden logits depend on every setting they are there to prove.
#[test]
fn another_setting_makes_other_logits() {
    type Change = (&'static str, fn(&mut BltConfig));
    let golden = numbers(&golden("tiny_blt.json")["A"]["logits"]);
    let changes: [Change; 7] = [
        ("documents", |config| config.semantics = Semantics::Transformers),
        ("encoder window", |config| config.encoder.window = Some(6)),
        ("decoder window", |config| config.decoder.window = Some(4)),
        ("rotary base", |config| config.global.rope_theta = 10_000.0),
        ("epsilon", |config| config.decoder.rms_norm_eps = 1e-3),
        ("pooling", |config| config.pooling = vec![Pooling::Min]),
        ("cross-attention window", |config| {
            config.decoder_cross_attention.as_mut().unwrap().window = Some(2);
        }),
    ];
    let engine = cpu();
    for (what, change) in changes {
        let mut config = golden_blt();
        change(&mut config);
        let (session, batch) = golden_session(&engine, ModelConfig::Blt(config));
        let graph = forward_graph(&session.model.config).unwrap();
        let logits = session.outputs(graph, &batch, &["logits"]).remove(0);
        let (_, difference) = worst(&golden, &logits);
        assert!(difference > 10.0 * CPU.logits, "{what} moves the logits by {difference:.1e}");
    }
}

/// Every stage of the golden model by itself, so that a difference has a place.
#[test]
fn golden_intermediates_on_the_cpu() {
    let engine = cpu();
    let (session, batch) = golden_session(&engine, ModelConfig::Blt(golden_blt()));
    let mut graph = forward_graph(&session.model.config).unwrap();
    let find = |graph: &blt_wgpu::graph::Graph, label: &str, op: &str| {
        let nodes = graph.nodes().iter();
        let mut nodes = nodes.filter(|it| it.label == label && it.op.name() == op);
        nodes.next().unwrap_or_else(|| panic!("no {op} in {label}")).clone()
    };
    let queries = find(&graph, "model.local_encoder.patch_queries", "matmul");
    let pool = find(&graph, "model.local_encoder.patch_queries", "patch_pool");
    let refined = find(&graph, "model.local_encoder.cross_attn_layers.0", "add");
    let projection = find(&graph, "model.local_decoder", "matmul");
    let crossed = [0, 1].map(|layer| {
        find(&graph, &format!("model.local_decoder.cross_attn_layers.{layer}"), "add")
    });
    let last = find(&graph, "lm_head", "rms_norm");
    // Tensor, row of 16 or 32 numbers, the first four.
    let embedded = find(&graph, "embedding", "hash_embedding").outputs[0];
    let stages = [
        ("embedded", embedded, 16, 3, [-0.02358, -0.97194, 0.17644, -0.46977]),
        ("encoded", pool.inputs[0], 16, 3, [0.45848, -0.92913, 0.30851, -1.00761]),
        ("encoded", pool.inputs[0], 16, 14, [1.80235, 0.02617, -3.69885, 2.54709]),
        ("pooled", pool.outputs[0], 16, 2, [1.6985, 1.21697, 0.95685, 1.23744]),
        ("queries", queries.outputs[0], 16, 4, [1.11255, 0.2451, -0.30176, 0.48666]),
        ("patches", refined.outputs[0], 16, 4, [2.12156, -0.16139, -0.45715, 1.74525]),
        ("latent", projection.inputs[0], 32, 2, [2.86396, 1.32783, -0.6614, 2.82149]),
        ("latent", projection.inputs[0], 32, 7, [-1.8491, -2.49859, -3.06111, 4.23894]),
        ("unpooled", projection.outputs[0], 16, 4, [-3.48318, -3.2283, -2.03434, 1.93044]),
        ("crossed 0", crossed[0].outputs[0], 16, 3, [0.55497, -2.03635, 0.14286, -0.79232]),
        ("layer 0", crossed[1].inputs[0], 16, 3, [2.64817, -2.13693, 0.22489, -1.41656]),
        ("crossed 1", crossed[1].outputs[0], 16, 3, [5.26392, -4.42708, 0.24159, -2.48407]),
        ("layer 1", last.inputs[0], 16, 3, [5.84788, -5.04631, 0.44605, -1.90472]),
    ];
    let names: Vec<_> = (0..stages.len()).map(|index| index.to_string()).collect();
    for (stage, name) in stages.iter().zip(&names) {
        graph.output(name, stage.1);
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let outputs = session.outputs(graph, &batch, &names);
    for ((what, _, width, row, expected), got) in stages.iter().zip(&outputs) {
        assert_close(&format!("{what} row {row}"), expected, &got[row * width..][..4], 2e-5);
    }
}

/// Entropies and patches of the patcher, logits, loss and every gradient.
fn check_fixture<E: Engine>(engine: &E, name: &str, tolerance: Tolerance) {
    let fixture = Fixture::open(name);
    if fixture.patching == "patcher" {
        let config = ModelConfig::Entropy(fixture.patcher());
        let batch = Batch::new(&config, &[fixture.row(&[])]).unwrap();
        let session = Session::new(engine, config);
        fixture.write_weights(&session);
        let graph = forward_graph(&session.model.config).unwrap();
        let entropies = session.outputs(graph, &batch, &["entropies"]).remove(0);
        let what = format!("{name} entropies");
        assert_close(&what, fixture.expected("entropies"), &entropies, tolerance.nats);
        let lengths = fixture.rule().patch_lengths(&fixture.ids, &entropies).unwrap();
        assert_eq!(lengths, fixture.patch_lengths(), "{name}: patch lengths");
    }
    let config = ModelConfig::Blt(fixture.config.clone());
    let batch = Batch::new(&config, &[fixture.row(fixture.patch_lengths())]).unwrap();
    let session = Session::new(engine, config);
    fixture.write_weights(&session);
    let graph = forward_graph(&session.model.config).unwrap();
    let logits = session.outputs(graph, &batch, &["logits"]).remove(0);
    assert_close(&format!("{name} logits"), fixture.logits(), &logits, tolerance.logits);

    let loss = session.train_once(&batch);
    let off = (loss - f64::from(fixture.expected("loss")[0])).abs();
    assert!(off < tolerance.nats, "{name}: loss {loss} is {off:.1e} off");
    let mut count = 0;
    for (parameter, expected) in fixture.expected_under("grad.") {
        let got = session.gradient(parameter);
        count += 1;
        if fixture.without_gradient.iter().any(|it| it == parameter) {
            let (at, size) = worst(&vec![0.0; got.len()], &got);
            assert!(size < 1e-6, "{name}: {parameter}[{at}] has the gradient {size:.1e}");
            continue;
        }
        let off = relative_distance(expected, &got);
        assert!(off < tolerance.gradient, "{name}: gradient of {parameter} is {off:.1e} off");
    }
    assert_eq!(count, session.model.parameters.len(), "{name}: every gradient is known");
}

/// Steps of AdamW on one text: the loss and the norm before each, and tensors after the tenth.
fn check_fixture_training<E: Engine>(
    engine: &E,
    name: &str,
    step_count: usize,
    tolerance: Tolerance,
) {
    let fixture = Fixture::open(name);
    let config = ModelConfig::Blt(fixture.config.clone());
    let batch = Batch::new(&config, &[fixture.row(fixture.patch_lengths())]).unwrap();
    let session = Session::new(engine, config);
    fixture.write_weights(&session);
    let Session { engine, model } = session;
    let mut trainer = block_on(Trainer::new(engine, model, &AdamW::default())).unwrap();
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for _ in 0..step_count {
        block_on(trainer.micro(&batch, (1.0 / batch.target_count) as f32)).unwrap();
        losses.push((block_on(trainer.take_nats()).unwrap() / batch.target_count) as f32);
        trainer.update(1e-3).unwrap();
        norms.push(block_on(trainer.train_state()).unwrap()[GRAD_NORM]);
    }
    let expected = &fixture.expected("adamw.loss")[..step_count];
    assert_close(&format!("{name} losses"), expected, &losses, 4.0 * tolerance.nats);
    let expected = &fixture.expected("adamw.grad_norm")[..step_count];
    let norms_off = relative_distance(expected, &norms);
    assert!(norms_off < tolerance.gradient, "{name}: gradient norms are {norms_off:.1e} off");
    let skipped = ["loss", "grad_norm"];
    let tensors = fixture.expected_under("adamw.").filter(|(name, _)| !skipped.contains(name));
    let mut count = 0;
    for (parameter, expected) in tensors.filter(|_| step_count == 10) {
        // With no gradient at all torch does not even decay a tensor.
        if fixture.without_gradient.iter().any(|it| it == parameter) {
            continue;
        }
        let got = block_on(trainer.settled().unwrap().read(engine, parameter)).unwrap();
        let what = format!("{name} after ten steps {parameter}");
        assert_close(&what, expected, &got, tolerance.weights);
        count += 1;
    }
    assert!(count >= 5 || step_count < 10, "{name}: {count} tensors compared");
}

#[test]
fn fixtures_on_the_cpu() {
    for name in FIXTURES {
        check_fixture(&cpu(), name, CPU);
    }
}

#[test]
fn ten_steps_of_every_fixture_on_the_cpu() {
    for name in FIXTURES {
        check_fixture_training(&cpu(), name, 10, CPU);
    }
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::*;
    use support::gpu_engine;

    #[test]
    fn golden_models_on_the_gpu() {
        let test = "golden_models_on_the_gpu";
        for check in [check_golden_logits, check_golden_entropies, check_golden_training] {
            let Some(engine) = gpu_engine(test) else { return };
            check(&engine, GPU);
        }
    }

    #[test]
    fn fixtures_on_the_gpu() {
        let Some(engine) = gpu_engine("fixtures_on_the_gpu") else { return };
        for name in FIXTURES {
            check_fixture(&engine, name, GPU);
        }
    }

    #[test]
    fn steps_of_fixtures_on_the_gpu() {
        let Some(engine) = gpu_engine("steps_of_fixtures_on_the_gpu") else { return };
        for name in ["k2_entropy", "k3_functions"] {
            check_fixture_training(&engine, name, 3, GPU);
        }
    }
}
