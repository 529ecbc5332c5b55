//! Mixed precision: f16 operands, f32 sums and residual streams.

mod support;

use blt_wgpu::blt::{TRAIN_STATE, forward_graph, training_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::{Precision, Recording, compile_for};
use blt_wgpu::kernels::{Counts, Element};
use blt_wgpu::train::{AdamW, Trainer};
use pollster::block_on;
use support::{Session, relative_distance, small_batch, small_blt};

/// Largest relative distance of the gradient of a parameter in f16 operands from that in f32.
/// Rounding to 11 bits is 5e-4 at most; what a gradient comes through adds up to a few of them.
const GRADIENT_TOLERANCE: f64 = 1e-2;

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
                "swiglu" | "swiglu_grad" | "rope" | "attention_delta" | "attention_query_grad" => {
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
