//! A host's own device: its handlers and error scopes stay its own, its losses are told, work gives
//! way to it on the queue, and it reads the runtime's buffers where they lie.
#![cfg(feature = "gpu")]

mod support;

use blt_wgpu::blt::{LoadedModel, PlanSlot, TRAIN_NATS, config::ModelConfig, forward_graph};
use blt_wgpu::demo::Shape;
use blt_wgpu::engine::Engine;
use blt_wgpu::error::Error;
use blt_wgpu::gpu::wgpu;
use blt_wgpu::gpu::{BufferRegion, Context, GpuEngine};
use blt_wgpu::graph::gradient_name;
use blt_wgpu::kernels::{Kernel, Step, Variant, find};
use blt_wgpu::train::{AdamW, Trainer};
use pollster::block_on;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use support::{gpu_engine, small_batch, small_blt};

/// A device as a host makes it, with no more than core WebGPU has.
struct Host {
    adapter: wgpu::Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Host {
    /// On the adapter that tests run on, or `None` where there is none and that is allowed.
    fn new(test: &str) -> Option<Self> {
        let caps = gpu_engine(test)?.context().caps().clone();
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let is_it = |adapter: &wgpu::Adapter| {
            let info = adapter.get_info();
            info.name == caps.name && info.backend.to_str() == caps.backend
        };
        let adapter = adapters.into_iter().find(is_it).unwrap();
        let (device, queue) = block_on(adapter.request_device(&Default::default())).unwrap();
        Some(Self { adapter, device, queue })
    }

    fn context(&self) -> Context {
        let (device, queue) = (self.device.clone(), self.queue.clone());
        Context::from_wgpu(device, queue, Some(&self.adapter), false)
    }

    /// A buffer that no device makes: mapped for reading and bound as storage.
    fn make_a_mistake(&self) {
        let _ = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
    }

    /// Bytes of a buffer, by the host's own means.
    fn bytes(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        bytemuck::cast_slice(&staging.get_mapped_range(..).unwrap()).to_vec()
    }
}

/// What a training step leaves: nats, and the gradient of a parameter.
async fn train(engine: &GpuEngine) -> blt_wgpu::Result<Vec<f32>> {
    let model = LoadedModel::create(engine, small_blt(), true).await?;
    model.initialise(engine, 7)?;
    let parameter = model.parameters[0].name.clone();
    let batch = small_batch();
    let mut trainer = Trainer::new(engine, model, &AdamW::default()).await?;
    trainer.micro(&batch, (1.0 / batch.target_count) as f32).await?;
    let model = trainer.settled()?;
    let mut left = model.read(engine, TRAIN_NATS).await?;
    left.extend(model.read(engine, &gradient_name(&parameter)).await?);
    trainer.update(1e-3)?;
    left.extend(trainer.evaluate(&batch).await?);
    Ok(left)
}

/// A kernel whose shader is none.
fn refused() -> &'static Kernel {
    let add = find("add").unwrap();
    let variants = Box::leak(Box::new([Variant::base("fn main() {", add.variants[0].groups)]));
    Box::leak(Box::new(Kernel { name: "refused", variants, ..*add }))
}

#[test]
fn a_hosts_handlers_and_scopes_stay_its_own() {
    let Some(host) = Host::new("a_hosts_handlers_and_scopes_stay_its_own") else { return };
    let uncaptured = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&uncaptured);
    host.device.on_uncaptured_error(Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let count = || uncaptured.load(Ordering::Relaxed);

    // A scope of the host around work of the library, some of which fails.
    let scope = host.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let engine = GpuEngine::new(host.context());
    block_on(train(&engine)).unwrap();
    let error = block_on(engine.verify(refused(), 0)).unwrap_err();
    assert!(error.to_string().starts_with("refused.base: "), "{error}");
    assert!(block_on(scope.pop()).is_none(), "an error of the library reached the host's scope");
    assert_eq!(count(), 0, "an error of the library reached the host's handler");

    // Every scope of the library is closed: the host's mistakes reach the host.
    let scope = host.device.push_error_scope(wgpu::ErrorFilter::Validation);
    host.make_a_mistake();
    assert!(block_on(scope.pop()).is_some());
    host.make_a_mistake();
    assert_eq!(count(), 1, "the host's handler was replaced");
    engine.context().check().unwrap();
}

#[test]
fn a_host_tells_of_the_loss_of_its_device() {
    let Some(host) = Host::new("a_host_tells_of_the_loss_of_its_device") else { return };
    let engine = GpuEngine::new(host.context());
    let told = engine.context().clone();
    let heard = Arc::new(Mutex::new(None));
    let hears = Arc::clone(&heard);
    host.device.set_device_lost_callback(move |reason, _| {
        told.report_loss(format!("the window's device: {reason:?}"));
        *hears.lock().unwrap() = Some(reason);
    });
    block_on(train(&engine)).unwrap();
    host.device.destroy();
    host.device.poll(wgpu::PollType::Poll).unwrap();
    assert_eq!(*heard.lock().unwrap(), Some(wgpu::DeviceLostReason::Destroyed));
    let error = block_on(train(&engine)).unwrap_err();
    assert!(error.is_loss() && error.to_string().contains("window's device"), "{error}");
}

#[test]
fn a_loss_that_nobody_tells_of_is_an_error_all_the_same() {
    let Some(host) = Host::new("a_loss_that_nobody_tells_of_is_an_error_all_the_same") else {
        return;
    };
    let engine = GpuEngine::new(host.context());
    block_on(train(&engine)).unwrap();
    host.device.destroy();
    let error = block_on(train(&engine)).unwrap_err();
    assert!(matches!(error, Error::Device { .. } | Error::Lost { .. }), "{error:?}");
}

#[test]
fn no_matrices_without_an_adapter_to_ask() {
    let Some(engine) = gpu_engine("no_matrices_without_an_adapter_to_ask") else { return };
    // With every feature that the adapter has, cooperative matrices among them where there are any.
    let context = engine.context();
    let (device, queue) = (context.device().clone(), context.queue().clone());
    let hosted = Context::from_wgpu(device, queue, None, false);
    assert!(hosted.caps().cooperative_matrices.is_empty());
    assert!(!hosted.caps().abilities().cooperative_matrix);
    assert_eq!(hosted.caps().f16, context.caps().f16);
    assert_eq!(hosted.caps().id(), context.caps().id());
    block_on(train(&GpuEngine::new(hosted))).unwrap();
}

/// Polls a future by hand, as a host does every frame; how often it was pending.
fn drive<T>(host: &Host, future: impl Future<Output = T>) -> (T, usize) {
    let (mut future, mut pending_count) = (pin!(future), 0);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => return (value, pending_count),
            Poll::Pending => pending_count += 1,
        }
        // Whatever was submitted is done by then, so that no turn is waited for twice.
        host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        std::thread::yield_now();
    }
}

#[test]
fn beside_a_host_a_step_comes_in_pieces_and_has_the_same_bits() {
    let test = "beside_a_host_a_step_comes_in_pieces_and_has_the_same_bits";
    let Some(host) = Host::new(test) else { return };
    let expected = block_on(train(&GpuEngine::new(host.context()))).unwrap();
    let engine = GpuEngine::new(host.context().beside_host(1)).with_submit_flops(0);
    let (got, _) = drive(&host, train(&engine));
    assert_eq!(got.unwrap(), expected);

    // A replay that is compiled already is pending between its submissions, and only there.
    let model = block_on(LoadedModel::create(&engine, small_blt(), true)).unwrap();
    let batch = small_batch();
    let mut slot = PlanSlot::new("forward", forward_graph);
    let (plan, _) = drive(&host, slot.get(&engine, &model, &batch.counts));
    let plan = plan.unwrap();
    let step = Step::of(batch.counts);
    let (done, pending_count) = drive(&host, engine.run_in_turns(plan, &step, &batch.inputs));
    done.unwrap();
    assert!(plan.submission_count() > 1, "nothing was cut");
    assert_eq!(pending_count, plan.submission_count() - 1);

    // While it is under way nobody else may replay the plan; once it is dropped they may.
    {
        let mut first = pin!(engine.run_in_turns(plan, &step, &batch.inputs));
        let mut context = std::task::Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
        let error = engine.run(plan, &step, &batch.inputs).unwrap_err();
        assert!(error.to_string().contains("under way"), "{error}");
    }
    host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    engine.run(plan, &step, &batch.inputs).unwrap();
}

#[test]
fn a_host_reads_the_buffers_of_the_runtime_where_they_lie() {
    let test = "a_host_reads_the_buffers_of_the_runtime_where_they_lie";
    let Some(host) = Host::new(test) else { return };
    let engine = GpuEngine::new(host.context());
    let config = ModelConfig::Entropy(Shape::all()[0].entropy_config());
    let model = block_on(LoadedModel::create(&engine, config, false)).unwrap();
    model.initialise(&engine, 3).unwrap();
    let row = blt_wgpu::blt::tables::Row::from_tokens((1..70).collect(), Vec::new());
    let batch = model.batch(&[row]).unwrap();
    let mut slot = PlanSlot::new("forward", forward_graph);
    let plan = block_on(slot.get(&engine, &model, &batch.counts)).unwrap();
    let step = Step::of(batch.counts);
    engine.run(plan, &step, &batch.inputs).unwrap();
    let region = engine.output_region(plan, "entropies", &step).unwrap();
    assert_eq!(region.size_bytes, 68 * 4);
    let expected = block_on(engine.output(plan, "entropies", &step)).unwrap();
    assert_eq!(copied(&host, &region), expected);
    assert_eq!(doubled(&host, &region)[..68], expected.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    assert!(engine.output_region(plan, "nothing", &step).is_err());

    let place = model.layout.require("embed_tokens.weight").unwrap();
    let region = engine.tensor_region(&model.store, place).unwrap();
    let expected = block_on(engine.read_tensor(&model.store, place)).unwrap();
    assert_eq!(copied(&host, &region), expected);
}

fn copied(host: &Host, region: &BufferRegion) -> Vec<f32> {
    let target = buffer(host, region.size_bytes);
    let mut encoder = host.device.create_command_encoder(&Default::default());
    region.copy_to(&mut encoder, &target);
    host.queue.submit([encoder.finish()]);
    host.bytes(&target)
}

/// Twice the region, by a pipeline of the host that has it bound.
fn doubled(host: &Host, region: &BufferRegion) -> Vec<f32> {
    let device = &host.device;
    let source = "@group(0) @binding(0) var<storage, read> given: array<f32>;
        @group(0) @binding(1) var<storage, read_write> twice: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x < arrayLength(&given)) { twice[id.x] = 2.0 * given[id.x]; }
        }";
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let target = buffer(host, region.size_bytes);
    let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[entry(0, region.binding()), entry(1, target.as_entire_binding())],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups((region.size_bytes / 4).div_ceil(64) as u32, 1, 1);
    drop(pass);
    host.queue.submit([encoder.finish()]);
    host.bytes(&target)
}

fn buffer(host: &Host, size: u64) -> wgpu::Buffer {
    use wgpu::BufferUsages;
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    host.device.create_buffer(&descriptor)
}
