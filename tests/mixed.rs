//! Mixed precision: f16 operands, f32 sums and residual streams.

mod support;

use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::{TRAIN_STATE, forward_graph, halves_recording, training_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, Inputs};
use blt_wgpu::graph::{Precision, Recording, compile_for};
use blt_wgpu::kernels::{Counts, Element, Step};
use blt_wgpu::train::{AdamW, Trainer};
use pollster::block_on;
use support::{Session, relative_distance, small_batch, small_blt};

/// Largest relative distance of the gradient of a parameter in f16 operands from that in f32.
/// Rounding to 11 bits is 5e-4 at most; what a gradient comes through adds up to a few of them.
const GRADIENT_TOLERANCE: f64 = 1e-2;

/// The same through 23 layers.
const GRADIENT_TOLERANCE_IN_DEPTH: f64 = 1e-2;

/// Steps of the optimiser that both precisions take.
const STEP_COUNT: usize = 20;

fn trainer<E: Engine>(engine: &E, precision: Precision) -> Trainer<'_, E> {
    let session = Session::new_in(engine, small_blt(), precision);
    session.model.initialise(engine, 11).unwrap();
    block_on(Trainer::new(engine, session.model, &AdamW::default())).unwrap()
}

/// Nats of the batch before training, gradients then, and nats after [`STEP_COUNT`] steps.
struct Trained {
    nats: f64,
    gradients: Vec<(String, Vec<f32>)>,
    nats_after: f64,
    loss_scale: f32,
}

fn train<E: Engine>(engine: &E, precision: Precision) -> Trained {
    let mut trainer = trainer(engine, precision);
    let batch = small_batch();
    let weight = (1.0 / batch.target_count) as f32;
    let read = |trainer: &Trainer<'_, E>, name: &str| {
        block_on(trainer.settled().unwrap().read(engine, name)).unwrap()
    };
    let loss_scale = read(&trainer, TRAIN_STATE)[0];
    block_on(trainer.micro(&batch, weight)).unwrap();
    let nats = block_on(trainer.take_nats()).unwrap();
    let parameters = &trainer.settled().unwrap().parameters;
    let names: Vec<String> = parameters.iter().map(|it| it.name.clone()).collect();
    let gradients = names.into_iter().map(|name| {
        let scaled = read(&trainer, &blt_wgpu::graph::gradient_name(&name));
        (name, scaled.iter().map(|value| value / loss_scale).collect())
    });
    let gradients = gradients.collect();
    trainer.update(1e-3).unwrap();
    for _ in 1..STEP_COUNT {
        block_on(trainer.micro(&batch, weight)).unwrap();
        trainer.update(1e-3).unwrap();
    }
    block_on(trainer.take_nats()).unwrap();
    block_on(trainer.micro(&batch, weight)).unwrap();
    let nats_after = block_on(trainer.take_nats()).unwrap();
    Trained { nats, gradients, nats_after, loss_scale: read(&trainer, TRAIN_STATE)[0] }
}

fn check<E: Engine>(engine: &E) {
    let (full, mixed) = (train(engine, Precision::F32), train(engine, Precision::Mixed));
    assert!((full.nats - mixed.nats).abs() < 1e-3 * full.nats, "{} {}", full.nats, mixed.nats);
    assert!(full.nats != mixed.nats, "nothing was rounded");
    for ((name, expected), (_, got)) in full.gradients.iter().zip(&mixed.gradients) {
        let distance = relative_distance(expected, got);
        assert!(distance < GRADIENT_TOLERANCE, "{name}: {distance:.1e} from f32");
    }
    assert!(full.nats_after < 0.7 * full.nats, "f32 learns");
    let apart = (full.nats_after - mixed.nats_after).abs() / full.nats_after;
    assert!(apart < 5e-3, "after {STEP_COUNT} steps {} {}", full.nats_after, mixed.nats_after);
    assert!(mixed.loss_scale >= 1024.0, "the loss scale fell to {}", mixed.loss_scale);
}

#[test]
fn it_trains_like_f32_on_the_cpu() {
    check(&HostEngine::<f32>::default());
}

#[cfg(feature = "gpu")]
#[test]
fn it_trains_like_f32_on_the_gpu() {
    let Some(engine) = support::gpu_engine("it_trains_like_f32_on_the_gpu") else { return };
    check(&engine);
}

/// The small model with the layers of a larger one: latent and decoder.
fn deep_blt(global_layers: usize, decoder_layers: usize) -> ModelConfig {
    let ModelConfig::Blt(mut config) = small_blt() else { unreachable!("it is a BLT") };
    config.global.layer_count = global_layers;
    config.decoder.layer_count = decoder_layers;
    ModelConfig::Blt(config)
}

/// Gradients of all parameters, divided by the loss scale, and the mean nats.
fn gradients<E: Engine>(session: &Session<'_, E>) -> (f64, Vec<Vec<f32>>) {
    let scale = session.read(TRAIN_STATE)[0];
    let nats = session.train_once(&small_batch());
    let names = session.model.parameters.iter().map(|it| session.gradient(&it.name));
    let unscaled = names.map(|gradient| gradient.iter().map(|value| value / scale).collect());
    (nats, unscaled.collect())
}

/// A session whose weights are those of a seed, the embeddings times a factor, and whose loss scale
/// is set.
fn seeded<E: Engine>(
    engine: &E,
    config: ModelConfig,
    precision: Precision,
    embedding_factor: f32,
) -> Session<'_, E> {
    let session = Session::new_in(engine, config, precision);
    session.model.initialise(engine, 5).unwrap();
    let names = session.model.parameters.iter().map(|it| it.name.clone());
    for name in names.filter(|name| name.contains("embed")) {
        let values: Vec<f32> =
            session.read(&name).iter().map(|value| value * embedding_factor).collect();
        session.write(&name, &values);
    }
    let halves = halves_recording(&session.model.layout);
    let halves = block_on(engine.compile(&session.model.store, halves)).unwrap();
    engine.run(&halves, &Step::of(Counts::default()), &Inputs::default()).unwrap();
    let mut state = session.read(TRAIN_STATE);
    state[0] = if precision == Precision::Mixed { 1024.0 } else { 1.0 };
    session.write(TRAIN_STATE, &state);
    session
}

/// Sixteen latent layers and six of the decoder, as in the shape `m`.
#[test]
fn gradients_at_the_depth_of_m_agree_with_f32() {
    let engine = HostEngine::<f32>::default();
    let config = deep_blt(16, 6);
    let full = seeded(&engine, config.clone(), Precision::F32, 1.0);
    let mixed = seeded(&engine, config, Precision::Mixed, 1.0);
    let (expected, got) = (gradients(&full), gradients(&mixed));
    assert!((expected.0 - got.0).abs() < 1e-3 * expected.0, "{} {}", expected.0, got.0);
    for (index, parameter) in full.model.parameters.iter().enumerate() {
        let distance = relative_distance(&expected.1[index], &got.1[index]);
        assert!(distance > 0.0, "{}: nothing was rounded", parameter.name);
        let name = &parameter.name;
        assert!(distance < GRADIENT_TOLERANCE_IN_DEPTH, "{name}: {distance:.1e} from f32");
    }
}

/// The 25 latent layers and nine of the decoder of the released 1B, whose decoder doubles its
/// stream nine times, on embeddings fifty times as large.
#[test]
fn the_depth_of_the_released_1b_stays_finite_with_activations_times_50() {
    let engine = HostEngine::<f32>::default();
    let config = deep_blt(25, 9);
    let full = seeded(&engine, config.clone(), Precision::F32, 50.0);
    let mixed = seeded(&engine, config, Precision::Mixed, 50.0);
    let (expected, got) = (gradients(&full), gradients(&mixed));
    assert!((expected.0 - got.0).abs() < 1e-2 * expected.0, "{} {}", expected.0, got.0);
    for (parameter, gradient) in full.model.parameters.iter().zip(&got.1) {
        let is_finite = gradient.iter().all(|value| value.is_finite());
        assert!(is_finite && gradient.iter().any(|&value| value != 0.0), "{}", parameter.name);
    }
}

fn recording(graph: blt_wgpu::graph::Graph) -> Recording {
    let engine = HostEngine::<f32>::default();
    let session = Session::new_in(&engine, small_blt(), Precision::Mixed);
    let options = session.model.compile_options(&engine);
    compile_for(graph, "test", &session.model.layout, Counts::default(), &options).unwrap()
}

/// What must stay f32 whatever the precision: an f16 there ends at 65,504, and the decoder doubles
/// its stream in every layer.
#[test]
fn streams_logits_and_statistics_stay_in_f32() {
    let recordings = [forward_graph, training_graph].map(|graph| graph(&small_blt()).unwrap());
    for recording in recordings.map(recording) {
        let mut products = 0;
        for dispatch in &recording.dispatches {
            let element = |name: &str| {
                let at = dispatch.kernel.bindings.iter().position(|it| it.name == name).unwrap();
                dispatch.kernel.element(at, dispatch.halves)
            };
            let half_operands = match dispatch.kernel.name {
                "matmul" => ["a", "b"].map(element) == [Element::F16; 2],
                "rms_norm" => element("x") == Element::F32 && element("out") == Element::F16,
                "attention" => ["q", "kv", "out"].map(element) == [Element::F16; 3],
                "attention_key_grad" => ["q", "dout", "dkv"].map(element) == [Element::F16; 3],
                "rms_norm_grad" => element("dx") == Element::F32,
                "copy" => true,
                // What products alone read is not cast, but written as they read it.
                "cross_entropy_grad" => element("logits") == Element::F32,
                "swiglu" | "swiglu_grad" | "rope" | "attention_query_grad" => {
                    dispatch.halves != Default::default()
                }
                _ => dispatch.halves == Default::default(),
            };
            assert!(half_operands, "{} of {}", dispatch.variant_name(), dispatch.label);
            products += usize::from(dispatch.kernel.name == "matmul");
        }
        assert!(products > 20);
    }
}
