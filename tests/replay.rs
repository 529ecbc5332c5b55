//! A replay creates nothing: next to no memory on the CPU engine, no resource on a
//! GPU.
//!
//! The allocator of this test program counts what is asked of it, on all threads; so the tests take
//! turns.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{Batch, LoadedModel, training_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::demo::{SHAKESPEARE, Shape};
use blt_wgpu::engine::{Engine, Inputs};
use blt_wgpu::graph::{Graph, StoreLayout, compile};
use blt_wgpu::kernels::{Counts, Element, Extent, Step};
use blt_wgpu::text::encode;
use blt_wgpu::train::{AdamW, update_recording};
use pollster::block_on;

struct Counting;

static ALLOCATED_BYTES: AtomicUsize = AtomicUsize::new(0);
static TURN: Mutex<()> = Mutex::new(());

impl Counting {
    fn count(size: usize) {
        ALLOCATED_BYTES.fetch_add(size, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are those of `System`.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as above.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: as above.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    // SAFETY: as above.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The demo's BLT, two plans that train it, and a batch of two rows.
struct Trained<E: Engine> {
    micro: E::Plan,
    update: E::Plan,
    batch: Batch,
    _model: LoadedModel<E>,
}

fn trained<E: Engine>(engine: &E, row_bytes: usize) -> Trained<E> {
    let config = ModelConfig::Blt(Shape::all()[0].blt_config());
    let model = block_on(LoadedModel::create(engine, config, true)).unwrap();
    model.initialise(engine, 1).unwrap();
    let rows: Vec<Row> = (0..2)
        .map(|row| {
            let ids = encode(&SHAKESPEARE[row * row_bytes..(row + 1) * row_bytes], false, false);
            let mut patch_lengths = vec![1];
            patch_lengths.extend(vec![4; row_bytes / 4]);
            Row { targets: ids.clone(), weights: vec![1.0; row_bytes], ids, patch_lengths }
        })
        .collect();
    let batch = Batch::new(&model.config, &rows).unwrap();
    let graph = training_graph(&model.config).unwrap();
    let recording = compile(graph, "micro", &model.layout, batch.counts.bucketed()).unwrap();
    let micro = block_on(engine.compile(&model.store, recording)).unwrap();
    let recording = update_recording(&model.layout, &AdamW::default(), &engine.abilities());
    let update = block_on(engine.compile(&model.store, recording)).unwrap();
    Trained { micro, update, batch, _model: model }
}

impl<E: Engine> Trained<E> {
    fn step(&self, engine: &E) {
        let weight = (1.0 / self.batch.target_count) as f32;
        let step = Step { loss_weight: weight, ..Step::of(self.batch.counts) };
        engine.run(&self.micro, &step, &self.batch.inputs).unwrap();
        let step = Step { learning_rate: 1e-3, ..Step::of(Counts::default()) };
        engine.run(&self.update, &step, &Inputs::default()).unwrap();
    }
}

/// Bytes that were asked for while `work` ran, on all threads.
fn allocated(work: impl FnOnce()) -> usize {
    let before = ALLOCATED_BYTES.load(Ordering::Relaxed);
    work();
    ALLOCATED_BYTES.load(Ordering::Relaxed) - before
}

/// The engine itself: some bytes a dispatch, however large inputs and outputs are.
#[test]
fn a_replay_on_the_cpu_copies_no_input() {
    let _turn = TURN.lock().unwrap();
    const ROWS: usize = 1 << 14;
    let mut graph = Graph::default();
    let a = graph.input("a", Extent::fixed(ROWS), 64, Element::F32);
    let b = graph.input("b", Extent::fixed(ROWS), 64, Element::F32);
    let sum = graph.add(a, 1.0, b, 1.0).unwrap();
    graph.output("sum", sum);
    let engine = HostEngine::<f32>::default();
    let layout = StoreLayout::default();
    let recording = compile(graph, "add", &layout, Counts::default()).unwrap();
    let store = block_on(engine.create_store(&layout)).unwrap();
    let plan = block_on(engine.compile(&store, recording)).unwrap();
    let mut inputs = Inputs::default();
    inputs.set_f("a", vec![1.0; ROWS * 64]);
    inputs.set_f("b", vec![2.0; ROWS * 64]);
    let step = Step::of(Counts::default());
    let replay = || engine.run(&plan, &step, &inputs).unwrap();
    replay();
    let bytes = allocated(replay);
    assert!(bytes < 2048, "{bytes} bytes for inputs of {}", 2 * 4 * ROWS * 64);
    let values = block_on(engine.output(&plan, "sum", &step)).unwrap();
    assert!(values.len() == ROWS * 64 && values.iter().all(|&value| value == 3.0));
}

/// A whole training step: lists of borrowed slices, the queue of the thread pool, and nothing that
/// grows with rows, columns or layers. The step's tensors and the scratch of its kernels are some
/// thousand times as much.
#[test]
fn a_training_step_on_the_cpu_allocates_next_to_nothing() {
    let _turn = TURN.lock().unwrap();
    const MOST_BYTES: usize = 16 << 10;
    let engine = HostEngine::<f32>::default();
    let trained = trained(&engine, 1024);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let steps = |count: usize| threads.scope(|_| (0..count).for_each(|_| trained.step(&engine)));
    // Every thread keeps scratch of its own, which grows until it has met the largest kernel: on a
    // busy machine one of them may meet it late. What is left then is asked for in every step.
    let bytes = (0..10).map(|_| allocated(|| steps(10)) / 10).min().expect("ten rounds");
    let held = trained.micro.recording().transient_bytes();
    assert!(held > 1000 * MOST_BYTES, "{held} bytes of tensors");
    assert!(bytes < MOST_BYTES, "{bytes} bytes a step");
}

#[cfg(feature = "gpu")]
#[test]
fn a_replay_on_a_gpu_creates_no_resource() {
    let _turn = TURN.lock().unwrap();
    let Some(engine) = support::gpu_engine("a_replay_on_a_gpu_creates_no_resource") else { return };
    let before = engine.context().created();
    let trained = trained(&engine, 128);
    trained.step(&engine);
    block_on(engine.wait()).unwrap();
    let compiled = engine.context().created();
    // The counter counts: every plan has buffers, bind groups and pipelines of its own.
    assert!(compiled.buffers > before.buffers + 10, "{before:?} {compiled:?}");
    assert!(compiled.bind_groups > before.bind_groups + 10, "{before:?} {compiled:?}");
    assert_eq!(compiled.pipelines, engine.pipeline_count() as u64);
    for _ in 0..10 {
        trained.step(&engine);
    }
    block_on(engine.wait()).unwrap();
    assert_eq!(engine.context().created(), compiled);
}
