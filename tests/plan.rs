//! What plans are made of, in numbers, and that how a plan is run changes no bit.

mod support;

use blt_wgpu::bench::{BenchShape, Memory, training_recordings};
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::{Batch, TRAIN_NATS, forward_graph, halves_recording, training_graph};
use blt_wgpu::cpu::{HostEngine, NUMERICS};
use blt_wgpu::engine::{Engine, Inputs};
use blt_wgpu::graph::{
    CompileOptions, Dispatch, Graph, Op, Precision, Recompute, Recording, Source, compile,
    compile_for, fuse_residuals, remove_dead_code,
};
use blt_wgpu::kernels::dense::matmul;
use blt_wgpu::kernels::{Abilities, Axis, Counts, Element, Extent, Hash, Step};
use blt_wgpu::train::{AdamW, update_recording};
use pollster::block_on;
use support::{Session, relative_distance, small_batch, small_blt};

/// What a plan of [`small_blt`] costs. A change to the graph, to fusion or to lifetimes that is
/// meant changes these numbers; one that is not meant is found here.
struct Expected {
    plan: &'static str,
    dispatches: usize,
    pipelines: usize,
    slots: usize,
    transient_kib: usize,
}

const EXPECTED: [Expected; 3] = [
    // 3 to embed, 9 in each of 5 blocks, 6 in each of 3 cross-attentions, 2 to pool and project
    // patches, 1 to project them back, 2 for the logits, 1 for entropies. A tensor dies young.
    Expected { plan: "forward", dispatches: 72, pipelines: 11, slots: 8, transient_kib: 6_688 },
    // The same without entropies, 2 for the nats, 1 for their gradient; then backwards 14 a block,
    // 10 a cross-attention, 3 for the head, 5 for pooling and projections, 2 for embeddings, and
    // one sum of all that comes in pieces. What the backward pass reads lives through the forward
    // pass.
    Expected { plan: "micro", dispatches: 185, pipelines: 24, slots: 93, transient_kib: 50_397 },
    // Norm and AdamW of the hash table and of all other weights, and the decision.
    Expected { plan: "update", dispatches: 5, pipelines: 3, slots: 1, transient_kib: 1 },
];

/// Most pipelines that a model may need in all its plans.
const MAX_PIPELINES: usize = 80;

/// A batch of 2048 bytes in 512 patches, in full.
fn capacity() -> Counts {
    Counts::default()
        .with(Axis::Bytes, 2048)
        .with(Axis::Patches, 512)
        .with(Axis::ByteRows, 256)
        .with(Axis::HashRows, 4096)
        .with(Axis::SeenPatches, 512)
}

/// The model with fresh weights.
fn session<E: Engine>(engine: &E) -> Session<'_, E> {
    let session = Session::new(engine, small_blt());
    session.model.initialise(engine, 11).unwrap();
    session
}

fn recording(name: &str, graph: fn(&ModelConfig) -> blt_wgpu::Result<Graph>) -> Recording {
    let engine = HostEngine::<f32>::default();
    let layout = Session::new(&engine, small_blt()).model.layout;
    compile(graph(&small_blt()).unwrap(), name, &layout, capacity()).unwrap()
}

fn recordings() -> Vec<Recording> {
    let engine = HostEngine::<f32>::default();
    let layout = Session::new(&engine, small_blt()).model.layout;
    vec![
        recording("forward", forward_graph),
        recording("micro", training_graph),
        update_recording(&layout, &AdamW::default(), &Abilities::CORE),
    ]
}

fn count(recording: &Recording, kernel: &str) -> usize {
    recording.dispatches.iter().filter(|dispatch| dispatch.kernel.name == kernel).count()
}

#[test]
fn plans_have_their_size() {
    let recordings = recordings();
    let measured: Vec<_> = recordings
        .iter()
        .map(|it| {
            let kib = it.transient_bytes().div_ceil(1024);
            let sizes = (it.dispatches.len(), it.pipeline_count(), it.transients.len(), kib);
            (it.name.as_str(), sizes)
        })
        .collect();
    let expected =
        EXPECTED.map(|it| (it.plan, (it.dispatches, it.pipelines, it.slots, it.transient_kib)));
    assert_eq!(measured, expected);
    let pipelines: usize = recordings.iter().map(Recording::pipeline_count).sum();
    assert!(pipelines <= MAX_PIPELINES, "{pipelines} pipelines");
}

#[test]
fn rules_choose_the_variants_of_the_update() {
    let engine = HostEngine::<f32>::default();
    let layout = Session::new(&engine, small_blt()).model.layout;
    let variants = |abilities: Abilities| -> Vec<_> {
        let recording = update_recording(&layout, &AdamW::default(), &abilities);
        let mut names: Vec<_> = recording.dispatches.iter().map(Dispatch::variant_name).collect();
        names.dedup();
        names
    };
    let processor = Abilities {
        software: true,
        int64: true,
        subgroups: true,
        subgroup_min: 8,
        ..Abilities::CORE
    };
    let base = ["grad_norm.base", "update_decision.base", "adamw.base"];
    assert_eq!(variants(Abilities::CORE), base);
    let lanes = ["grad_norm.lanes_eights", "update_decision.base", "adamw.lanes_eights"];
    assert_eq!(variants(processor), lanes);
}

/// Memory of a training step of the shape `s` in mixed precision on a GPU with bindings of 2 GiB:
/// what is computed again, MiB of activations, MiB in all. The peer takes 7.8 GiB compiled.
const MEMORY_OF_S: [(Recompute, usize, usize); 3] = [
    (Recompute::None, 3_519, 7_636),
    (Recompute::Cheap, 2_737, 6_853),
    (Recompute::Blocks, 1_057, 5_174),
];

#[test]
fn recompute_saves_memory_of_the_shape_s() {
    let shape = BenchShape::named("s").unwrap().unwrap();
    let abilities = Abilities { f16: true, hardware: true, processors: 132, ..Abilities::CORE };
    let measured = MEMORY_OF_S.map(|(recompute, ..)| {
        let options = CompileOptions {
            abilities,
            precision: Precision::Mixed,
            recompute,
            ..CompileOptions::BASE
        };
        let memory = Memory::of_training(&shape, &options, 1 << 29).unwrap();
        (recompute, memory.activations >> 20, memory.total() >> 20)
    });
    assert_eq!(measured, MEMORY_OF_S);
}

/// Gradients and nats of a step that computes something again, on an engine.
fn gradients<E: Engine>(engine: &E, precision: Precision, recompute: Recompute) -> Vec<Vec<f32>> {
    let mut session = Session::new_in(engine, small_blt(), precision);
    session.model.recompute = recompute;
    session.model.initialise(engine, 11).unwrap();
    if precision == Precision::Mixed {
        let halves = halves_recording(&session.model.layout);
        let halves = block_on(engine.compile(&session.model.store, halves)).unwrap();
        engine.run(&halves, &Step::of(Counts::default()), &Inputs::default()).unwrap();
    }
    session.train_once(&small_batch());
    let parameters = session.model.parameters.iter();
    let mut all: Vec<_> = parameters.map(|spec| session.gradient(&spec.name)).collect();
    all.push(session.read(TRAIN_NATS));
    all
}

fn recompute_changes_no_bit<E: Engine>(engine: &E) {
    for precision in [Precision::F32, Precision::Mixed] {
        let kept = gradients(engine, precision, Recompute::None);
        assert!(kept.iter().all(|values| values.iter().any(|&value| value != 0.0)));
        for recompute in [Recompute::Cheap, Recompute::Blocks] {
            let again = gradients(engine, precision, recompute);
            assert!(again == kept, "{precision:?} {recompute:?}: other bits");
        }
    }
}

#[test]
fn recompute_changes_no_bit_of_a_gradient() {
    recompute_changes_no_bit(&HostEngine::<f32>::default());
}

#[cfg(feature = "gpu")]
#[test]
fn recompute_changes_no_bit_of_a_gradient_on_the_gpu() {
    let Some(engine) = support::gpu_engine("recompute_changes_no_bit_of_a_gradient_on_the_gpu")
    else {
        return;
    };
    recompute_changes_no_bit(&engine);
}

/// What a GPU with matrix units runs to train the shape `s`: in either precision products, sums of
/// pieces, dispatches of a step in all. Every dispatch costs it microseconds.
const DISPATCHES_OF_S: [(Precision, usize, usize, usize); 2] =
    [(Precision::F32, 171, 4, 373), (Precision::Mixed, 171, 12, 385)];

/// What a step of `s` may take: some 2 µs of a GPU each, where the step takes 36 ms.
const MOST_DISPATCHES_OF_S: usize = 400;

#[test]
fn a_large_gpu_trains_in_few_dispatches() {
    let shape = BenchShape::named("s").unwrap().unwrap();
    let abilities = Abilities {
        f16: true,
        cooperative_matrix: true,
        subgroups: true,
        subgroup_min: 32,
        workgroup_bytes: 49_152,
        workgroup_invocations: 1024,
        processors: 132,
        hardware: true,
        ..Abilities::CORE
    };
    let measured = DISPATCHES_OF_S.map(|(precision, ..)| {
        let options = CompileOptions { abilities, precision, ..CompileOptions::BASE };
        let (_, recordings) = training_recordings(&shape, &options, 1 << 29).unwrap();
        let micro = &recordings[0];
        let sums = micro.dispatches.iter().filter(|it| it.kernel.name == "sum_rows");
        let most = sums.map(|it| it.regions[0].length * 4).max();
        assert!(most.is_some_and(|bytes| bytes <= 192 << 20), "{most:?} bytes of pieces");
        let of = |kernel| count(micro, kernel);
        let all = recordings.iter().map(|it| it.dispatches.len()).sum();
        (precision, of("matmul"), of("sum_rows"), all)
    });
    assert_eq!(measured, DISPATCHES_OF_S);
    assert!(measured.iter().all(|(.., all)| *all <= MOST_DISPATCHES_OF_S));
}

#[test]
fn tensors_share_buffers() {
    let mut graph = training_graph(&small_blt()).unwrap();
    remove_dead_code(&mut graph);
    fuse_residuals(&mut graph);
    let outputs = graph.nodes().iter().filter(|node| node.op != Op::Reshape);
    let outputs = outputs.flat_map(|node| &node.outputs);
    let computed: Vec<_> =
        outputs.map(|&id| graph.tensor(id)).filter(|it| it.source == Source::Computed).collect();
    let apart: usize = computed.iter().map(|it| it.rows.length(&capacity()) * it.cols * 4).sum();
    let recording = recording("micro", training_graph);
    assert!(recording.transients.len() * 3 < computed.len() * 2, "{} slots", computed.len());
    assert!(recording.transient_bytes() * 3 < apart * 2, "of {apart} bytes little is shared");
}

#[test]
fn residuals_are_added_where_they_are_made() {
    let graph = forward_graph(&small_blt()).unwrap();
    let adds = graph.nodes().iter().filter(|node| node.op.name() == "add").count();
    assert!(adds >= 12, "two a block and one a cross-attention, not {adds}");
    let forward = recording("forward", forward_graph);
    assert_eq!(count(&forward, "add"), 0, "every sum is the epilogue of a matmul");

    let graph = training_graph(&small_blt()).unwrap();
    let all = graph.nodes().iter().filter(|node| node.op.name() == "add").count();
    let left = count(&recording("micro", training_graph), "add");
    assert!(left + adds <= all, "{left} of {all} are left, {adds} of them in the forward pass");
}

#[test]
fn what_nobody_reads_does_not_run() {
    let plain = forward_graph(&small_blt()).unwrap();
    let mut graph = forward_graph(&small_blt()).unwrap();
    let x = graph.input("nobody's", Extent::of(Axis::Bytes), 64, Element::F32);
    let sum = graph.add(x, 1.0, x, 2.0).unwrap();
    graph.swiglu(sum).unwrap();
    assert_eq!(graph.nodes().len(), plain.nodes().len() + 2);
    remove_dead_code(&mut graph);
    let mut kept = plain.clone();
    remove_dead_code(&mut kept);
    assert_eq!(graph.nodes(), kept.nodes());
    let engine = HostEngine::<f32>::default();
    let layout = Session::new(&engine, small_blt()).model.layout;
    let recording = compile(graph, "forward", &layout, capacity()).unwrap();
    assert!(recording.inputs.iter().all(|input| input.name != "nobody's"), "nothing to upload");
}

#[test]
fn attention_costs_what_its_queries_see() {
    let forward = recording("forward", forward_graph);
    let costs: Vec<_> = forward
        .dispatches
        .iter()
        .filter(|dispatch| dispatch.kernel.name == "attention")
        .map(|dispatch| (dispatch.label.as_str(), dispatch.cost(&capacity()).flops))
        .collect();
    // Two multiply-adds for every query, key and column: a window of 128 bytes; two queries a patch
    // over its bytes, 4 of the 2048 for each of the 512 patches; every patch, where there is no
    // window; the two vectors of a patch for every byte.
    let expected = [
        ("model.local_encoder.layers.0.self_attn", 4 * 2048 * 128 * 64),
        ("model.local_encoder.cross_attn_layers.0", 4 * 1024 * 4 * 64),
        ("model.global_transformer.layers.0.self_attn", 4 * 512 * 512 * 128),
        ("model.global_transformer.layers.1.self_attn", 4 * 512 * 512 * 128),
        ("model.local_decoder.cross_attn_layers.0", 4 * 2048 * 2 * 64),
        ("model.local_decoder.layers.0.self_attn", 4 * 2048 * 128 * 64),
        ("model.local_decoder.cross_attn_layers.1", 4 * 2048 * 2 * 64),
        ("model.local_decoder.layers.1.self_attn", 4 * 2048 * 128 * 64),
    ];
    assert_eq!(costs, expected);
}

#[test]
fn cut_marks_limit_the_work_between_them() {
    let engine = HostEngine::<f32>::default();
    let layout = Session::new(&engine, small_blt()).model.layout;
    let large = capacity().with(Axis::Bytes, 65_536).with(Axis::Patches, 16_384);
    let graph = training_graph(&small_blt()).unwrap();
    let recording = compile(graph, "micro", &layout, large).unwrap();
    let cuts = &recording.cuts;
    assert!(cuts.len() > 5, "{} cuts in {}", cuts.len(), recording.cost(&large).flops);
    assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]), "{cuts:?}");
    let mut ends = cuts.clone();
    ends.push(recording.dispatches.len());
    for pair in ends.windows(2) {
        let dispatches = &recording.dispatches[pair[0]..pair[1]];
        let flops: u64 = dispatches.iter().map(|dispatch| dispatch.cost(&large).flops).sum();
        assert!(flops <= 20_000_000 || dispatches.len() == 1, "{flops} between two cuts");
    }
}

/// Nats and all gradients of one micro-batch, to the bit.
fn train<E: Engine>(session: &Session<'_, E>, batch: &Batch) -> Vec<Vec<f32>> {
    for spec in &session.model.parameters {
        let name = blt_wgpu::graph::gradient_name(&spec.name);
        session.write(&name, &vec![0.0; spec.rows * spec.cols]);
    }
    session.train_once(batch);
    let parameters = session.model.parameters.iter();
    let mut all: Vec<_> = parameters.map(|spec| session.gradient(&spec.name)).collect();
    all.push(session.read(TRAIN_NATS));
    all
}

#[test]
fn threads_change_no_bit() {
    let engine = HostEngine::<f32>::default();
    let (session, batch) = (session(&engine), small_batch());
    let with = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(|| train(&session, &batch))
    };
    let one = with(1);
    assert!(one.iter().all(|values| values.iter().any(|&value| value != 0.0)));
    for count in [2, 3, 7] {
        assert!(with(count) == one, "{count} threads make other bits");
    }
}

/// A run that goes on compares [`NUMERICS`], so that nobody changes its numbers unseen.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn what_the_cpu_engine_computes_has_a_number() {
    let engine = HostEngine::<f32>::default();
    if engine.fingerprint().driver != "fused multiply-add" {
        return;
    }
    let mut hash = Hash::default();
    for values in train(&session(&engine), &small_batch()) {
        values.iter().for_each(|value| hash.add(&value.to_le_bytes()));
    }
    let known = (2, "7dab98fe01c0fac1".to_owned());
    assert_eq!((NUMERICS, hash.to_hex()), known, "if it is meant: raise NUMERICS, take the hash");
}

#[test]
fn a_larger_plan_and_what_ran_before_change_no_bit_of_the_logits() {
    let engine = HostEngine::<f32>::default();
    let (session, batch) = (session(&engine), small_batch());
    let graph = || forward_graph(&small_blt()).unwrap();
    let step = Step::of(batch.counts);
    let exact = compile(graph(), "exact", &session.model.layout, batch.counts).unwrap();
    let exact = block_on(engine.compile(&session.model.store, exact)).unwrap();
    session.run(&exact, &batch, 1.0);
    let expected = block_on(engine.output(&exact, "logits", &step)).unwrap();
    let large = compile(graph(), "large", &session.model.layout, capacity()).unwrap();
    let large = block_on(engine.compile(&session.model.store, large)).unwrap();
    for weight in [1.0, 2.0] {
        session.run(&large, &batch, weight);
        let got = block_on(engine.output(&large, "logits", &step)).unwrap();
        assert!(got == expected, "other bits");
    }
}

#[test]
fn a_larger_plan_changes_no_bit_of_the_gradients() {
    let batch = small_batch();
    let run = |capacity: Counts| {
        let engine = HostEngine::<f32>::default();
        let session = session(&engine);
        let graph = training_graph(&small_blt()).unwrap();
        let recording = compile(graph, "micro", &session.model.layout, capacity).unwrap();
        let plan = block_on(engine.compile(&session.model.store, recording)).unwrap();
        session.run(&plan, &batch, 0.01);
        let parameters = session.model.parameters.iter();
        parameters.map(|spec| session.gradient(&spec.name)).collect::<Vec<_>>()
    };
    let exact = run(batch.counts);
    assert!(exact.iter().any(|values| values.iter().any(|&value| value != 0.0)));
    assert!(run(capacity()) == exact, "other bits");
}

fn products_in_pieces(recording: &Recording) -> usize {
    let products = recording.dispatches.iter().filter(|it| it.kernel.name == "matmul");
    let params = products.map(|it| bytemuck::pod_read_unaligned::<matmul::Params>(&it.params));
    params.filter(|params| params.split_count > 1).count()
}

/// A large GPU sums weight gradients in pieces; so does the CPU engine, if it is asked to.
#[test]
fn gradients_in_pieces_are_the_same_and_a_larger_plan_cuts_them_alike() {
    let batch = small_batch();
    let run = |hardware: bool, capacity: Counts| {
        let engine = HostEngine::<f32>::default();
        let session = session(&engine);
        let graph = training_graph(&small_blt()).unwrap();
        let abilities = Abilities { hardware, ..Abilities::CORE };
        let options = CompileOptions { abilities, ..CompileOptions::BASE };
        let layout = &session.model.layout;
        let recording = compile_for(graph, "micro", layout, capacity, &options).unwrap();
        let in_pieces = products_in_pieces(&recording);
        let plan = block_on(engine.compile(&session.model.store, recording)).unwrap();
        session.run(&plan, &batch, 0.01);
        let parameters = session.model.parameters.iter();
        let gradients = parameters.map(|spec| session.gradient(&spec.name)).collect::<Vec<_>>();
        (in_pieces, gradients)
    };
    let (none, whole) = run(false, batch.counts);
    let (in_pieces, pieces) = run(true, batch.counts);
    assert!(none == 0 && in_pieces > 20, "{in_pieces} products in pieces, and {none}");
    for (whole, pieces) in whole.iter().zip(&pieces) {
        assert!(relative_distance(whole, pieces) < 1e-5);
    }
    assert!(run(true, capacity()).1 == pieces, "other bits");
}

#[cfg(feature = "gpu")]
#[test]
fn cuts_change_no_bit_on_the_gpu() {
    let batch = small_batch();
    let run = |every_cut: bool| {
        let engine = support::gpu_engine("cuts_change_no_bit_on_the_gpu")?;
        let engine = if every_cut { engine.with_submit_flops(0) } else { engine };
        let session = session(&engine);
        let graph = training_graph(&small_blt()).unwrap();
        let layout = &session.model.layout;
        let mut recording = compile(graph, "micro", layout, batch.counts).unwrap();
        recording.cuts = if every_cut { (1..recording.dispatches.len()).collect() } else { vec![] };
        let count = recording.dispatches.len();
        let plan = block_on(engine.compile(&session.model.store, recording)).unwrap();
        assert_eq!(plan.submission_count(), if every_cut { count } else { 1 });
        session.run(&plan, &batch, 0.01);
        let parameters = session.model.parameters.iter();
        let mut all: Vec<_> = parameters.map(|spec| session.gradient(&spec.name)).collect();
        all.push(session.read(TRAIN_NATS));
        Some(all)
    };
    let Some(whole) = run(false) else { return };
    assert!(whole.iter().all(|values| values.iter().any(|&value| value != 0.0)));
    assert!(run(true) == Some(whole), "a cut changes bits");
}
