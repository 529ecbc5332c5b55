//! Linear layers that are fused with the rope or the activation behind them, or backwards with the
//! gradient of the activation, as on a GPU.

mod support;

use blt_wgpu::blt::{TRAIN_NATS, training_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::{Precision, Recompute, compile_for};
use blt_wgpu::kernels::Step;
use pollster::block_on;
use support::{Session, relative_distance, small_batch, small_blt};

/// Mean nats, gradients, and the kernels of a step whose plan is, or is not, one for a GPU.
fn train_once<E: Engine>(
    session: &Session<'_, E>,
    hardware: bool,
    recompute: Recompute,
) -> (f64, Vec<Vec<f32>>, Vec<&'static str>) {
    let batch = small_batch();
    let mut options = session.model.compile_options(session.engine);
    options.abilities.hardware = hardware;
    options.recompute = recompute;
    let graph = training_graph(&session.model.config).unwrap();
    let capacity = batch.counts.bucketed();
    let recording = compile_for(graph, "test", &session.model.layout, capacity, &options).unwrap();
    let kernels = recording.dispatches.iter().map(|dispatch| dispatch.kernel.name).collect();
    let plan = block_on(session.engine.compile(&session.model.store, recording)).unwrap();
    session.write(TRAIN_NATS, &[0.0]);
    let weight = (1.0 / batch.target_count) as f32;
    let step = Step { loss_weight: weight, ..Step::of(batch.counts) };
    session.engine.run(&plan, &step, &batch.inputs).unwrap();
    let gradients = session.model.parameters.iter().map(|parameter| {
        let gradient = session.gradient(&parameter.name);
        session.write(&blt_wgpu::graph::gradient_name(&parameter.name), &vec![0.0; gradient.len()]);
        gradient
    });
    let gradients = gradients.collect();
    (f64::from(session.read(TRAIN_NATS)[0]) / batch.target_count, gradients, kernels)
}

fn check<E: Engine>(engine: &E, precision: Precision, tolerance: f64) {
    let session = Session::new_in(engine, small_blt(), precision);
    session.model.initialise(engine, 11).unwrap();
    let (nats, gradients, kernels) = train_once(&session, false, Recompute::None);
    let count = |kernels: &[&str], name: &str| kernels.iter().filter(|&&it| it == name).count();
    let [ropes, swiglus] = ["rope", "swiglu"].map(|name| count(&kernels, name));
    assert!(swiglus > 0 && ropes == 2 * swiglus, "a rope forward and one back a layer");
    for recompute in [Recompute::None, Recompute::Cheap, Recompute::Blocks] {
        let (fused_nats, fused_gradients, kernels) = train_once(&session, true, recompute);
        let forward = count(&kernels, "matmul_swiglu");
        let again = if recompute == Recompute::Blocks { 2 } else { 1 };
        assert!((swiglus..=again * swiglus).contains(&forward), "{forward} activations fused");
        assert_eq!(count(&kernels, "matmul_rope"), forward, "{recompute:?}");
        assert_eq!(count(&kernels, "matmul_swiglu_grad"), swiglus, "{recompute:?}");
        assert_eq!(count(&kernels, "swiglu_grad"), 0, "{recompute:?}");
        assert_eq!(count(&kernels, "rope"), swiglus, "ropes of the backward pass stay");
        assert!((nats - fused_nats).abs() < tolerance * nats, "{nats} {fused_nats}");
        for (index, parameter) in session.model.parameters.iter().enumerate() {
            let distance = relative_distance(&gradients[index], &fused_gradients[index]);
            assert!(distance < tolerance, "{}: {distance:.1e}, {recompute:?}", parameter.name);
        }
    }
}

#[test]
fn fused_products_train_alike_on_the_cpu() {
    let engine = HostEngine::<f32>::default();
    check(&engine, Precision::F32, 1e-5);
    check(&engine, Precision::Mixed, 1e-2);
}

#[cfg(feature = "gpu")]
#[test]
fn fused_products_train_alike_on_the_gpu() {
    let Some(engine) = support::gpu_engine("fused_products_train_alike_on_the_gpu") else { return };
    check(&engine, Precision::F32, 1e-4);
}
