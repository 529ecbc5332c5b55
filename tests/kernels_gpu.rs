//! Every kernel, variant and case against its oracle, and a Recording against the CPU engine, on
//! whatever adapter is there.
//!
//! Shaders run without checks and with them, with the workgroups of their own size and of a larger
//! capacity, and with NaN behind every buffer. `BLT_TEST_DEVICE`, or `WGPU_ADAPTER_NAME`, is part
//! of `backend/name` of the device, `WGPU_BACKEND` its backend, `BLT_TEST_KERNEL` part of the names
//! of the kernels. Without an adapter the tests fail, or, with `BLT_ALLOW_NO_GPU=1`, are skipped
//! and say so in the file `BLT_SKIP_LOG`.
#![cfg(feature = "gpu")]

use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, Inputs};
use blt_wgpu::error::Error;
use blt_wgpu::gpu::{Context, ContextOptions, GpuEngine, list_adapters};
use blt_wgpu::graph::{
    BufferId, Dispatch, Input, Output, Recording, Region, StoreLayout, Transient,
};
use blt_wgpu::kernels::dense::matmul;
use blt_wgpu::kernels::norm::rms_norm;
use blt_wgpu::kernels::{
    Axis, Binding, Case, Cost, Counts, Element, Extent, Halves, Kernel, REGISTRY, Step, Variant,
    no_constants, values,
};
use pollster::block_on;
use std::env;
use std::io::Write;

#[test]
fn unchecked_variants_agree_with_their_oracles() {
    check_all("unchecked_variants_agree_with_their_oracles", false);
}

#[test]
fn checked_variants_agree_with_their_oracles() {
    check_all("checked_variants_agree_with_their_oracles", true);
}

/// Verifies every variant that the device can run and fails with the list of all that disagree.
fn check_all(test: &str, checked: bool) {
    let Some(engine) = engine(test, checked) else { return };
    let wanted = env::var("BLT_TEST_KERNEL").unwrap_or_default();
    let mut failures = Vec::new();
    let mut count = 0;
    for kernel in REGISTRY.iter().filter(|kernel| kernel.name.contains(&wanted)) {
        for (index, variant) in kernel.variants.iter().enumerate() {
            let name = format!("{}.{}", kernel.name, variant.name);
            if let Some(missing) = engine.context().caps().missing(variant.needs) {
                println!("not here: {name} needs {missing}");
                continue;
            }
            count += 1;
            if let Err(error) = block_on(engine.verify(kernel, index)) {
                failures.push(error.to_string());
            }
        }
    }
    assert!(count > 0, "no kernel is named {wanted:?}");
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_kernel_that_leaves_its_buffers_is_caught() {
    let Some(engine) = engine("a_kernel_that_leaves_its_buffers_is_caught", false) else { return };
    block_on(engine.verify(&TWICE, 0)).unwrap();
    let problem = |kernel| block_on(engine.verify(kernel, 0)).unwrap_err().to_string();
    let read = problem(&READS_BEHIND);
    assert!(read.contains("reads_behind case `five` out[4]") && read.contains("NaN"), "{read}");
    let written = problem(&WRITES_BEHIND);
    assert!(written.contains("writes_behind.base: wrote out[5] of 5, five"), "{written}");
    let refused = problem(&REFUSED);
    assert!(refused.starts_with("refused.base: "), "{refused}");
}

#[test]
fn a_recording_computes_what_the_cpu_engine_computes() {
    let test = "a_recording_computes_what_the_cpu_engine_computes";
    let Some(engine) = engine(test, false) else { return };
    let (_, expected) = replayed(&HostEngine::<f32>::default(), 2);
    let (plan, got) = replayed(&engine, 2);
    assert_eq!(plan.submission_count(), 1);
    for ((name, expected), (_, got)) in expected.iter().zip(&got) {
        assert_eq!(expected.len(), got.len(), "{name}");
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.0, "{name} is all zero");
        for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
            let close = (expected - got).abs() <= 2e-5 * largest;
            assert!(close, "{name}[{index}]: expected {expected}, got {got}");
        }
    }
    let times_ms = block_on(engine.profile(&plan, &step(67), &inputs(67)));
    match engine.context().caps().timestamps {
        true => assert!(times_ms.unwrap().iter().flatten().sum::<f64>() > 0.0),
        false => assert!(times_ms.is_err()),
    }
}

#[test]
fn cuts_change_no_bit() {
    let Some(engine) = engine("cuts_change_no_bit", false) else { return };
    let (_, whole) = replayed(&engine, 1);
    let engine = engine.with_submit_flops(0);
    let (plan, cut) = replayed(&engine, 1);
    assert_eq!(plan.submission_count(), 3);
    assert_eq!(whole, cut);
}

#[test]
fn a_store_keeps_every_bit() {
    let Some(engine) = engine("a_store_keeps_every_bit", false) else { return };
    let layout = layout();
    let store = block_on(engine.create_store(&layout)).unwrap();
    let place = layout.require("words").unwrap();
    let read = || block_on(engine.read_tensor(&store, place)).unwrap();
    assert!(read().iter().all(|value| value.to_bits() == 0), "a new store is zero");
    let words: Vec<u32> = (0..150u32).map(|word| word.wrapping_mul(0x9E37_79B9)).collect();
    let bits: Vec<f32> = words.iter().map(|&word| f32::from_bits(word)).collect();
    engine.write_tensor(&store, place, &bits).unwrap();
    assert_eq!(read().iter().map(|value| value.to_bits()).collect::<Vec<_>>(), words);
    let arena = place.shards[0].arena;
    engine.write(&store, arena, 3, &[f32::from_bits(7)]).unwrap();
    let part = block_on(engine.read(&store, arena, 2, 3)).unwrap();
    assert_eq!(part.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [words[2], 7, words[4]]);
}

#[test]
fn misuse_and_loss_are_errors() {
    let Some(engine) = engine("misuse_and_loss_are_errors", false) else { return };
    let mut layout = StoreLayout::default();
    let beyond = engine.max_binding_elements() + 64;
    let groups = [(None, vec![("table".to_owned(), 1, beyond)])];
    layout.place("huge", Element::F32, &groups, beyond).unwrap();
    assert!(matches!(block_on(engine.create_store(&layout)), Err(Error::Limit { .. })));

    let store = block_on(engine.create_store(&self::layout())).unwrap();
    let plan = block_on(engine.compile(&store, recording())).unwrap();
    let problem = |step, inputs| engine.run(&plan, &step, &inputs).unwrap_err().to_string();
    assert!(problem(step(97), inputs(97)).contains("exceed capacity"));
    assert!(problem(step(5), inputs(4)).contains("unused: expected 5 elements, got 4"));
    assert!(problem(step(5), Inputs::default()).contains("unused: this input was not set"));
    let nothing = block_on(engine.output(&plan, "nothing", &step(5))).unwrap_err();
    assert!(nothing.to_string().contains("has no such output"));

    let context = engine.context();
    let (device, queue) = (context.device().clone(), context.queue().clone());
    let hosted = GpuEngine::new(Context::from_wgpu(device, queue, None, true));
    assert!(hosted.context().caps().cooperative_matrices.is_empty());
    block_on(hosted.verify(&TWICE, 0)).unwrap();
    hosted.context().report_loss("the window was closed");
    let lost = block_on(hosted.create_store(&self::layout())).map(|_| ()).unwrap_err();
    assert!(lost.to_string().contains("the device is lost: the window was closed"));
}

#[test]
fn a_device_that_is_destroyed_says_so() {
    let Some(engine) = engine("a_device_that_is_destroyed_says_so", false) else { return };
    let store = block_on(engine.create_store(&layout())).unwrap();
    let plan = block_on(engine.compile(&store, recording())).unwrap();
    engine.context().device().destroy();
    // The callback comes with the next call that touches the device, at the latest.
    let _ = engine.run(&plan, &step(5), &inputs(5));
    let error = block_on(engine.output(&plan, "y", &step(5))).unwrap_err();
    assert!(error.is_loss(), "{error:?}");
}

#[test]
fn devices_are_found_by_name_and_not_made_up() {
    if engine("devices_are_found_by_name_and_not_made_up", false).is_none() {
        return;
    }
    let all = block_on(list_adapters(None));
    let open = |device: String| {
        let options = ContextOptions { device: Some(device), ..ContextOptions::default() };
        block_on(Context::new(&options)).map(|context| context.caps().id())
    };
    assert_eq!(open(all[0].id().to_uppercase()).unwrap(), all[0].id());
    let error = open("no such device".into()).unwrap_err();
    assert!(error.to_string().contains(&all[0].id()), "{error}");
    assert!(block_on(list_adapters(Some("no such backend"))).is_empty());
}

/// The capacity, in bytes, of [`recording`].
const CAPACITY: usize = 96;

fn step(bytes: usize) -> Step {
    Step::of(Counts::default().with(Axis::Bytes, bytes))
}

fn inputs(bytes: usize) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.set_f("x", values(1, bytes * 32));
    inputs.set_u("unused", vec![7; bytes]);
    inputs
}

fn layout() -> StoreLayout {
    let tensor = |name: &str, rows, cols| (None, vec![(name.to_owned(), rows, cols)]);
    let mut layout = StoreLayout::default();
    let weights = [tensor("gain", 1, 32), tensor("weight", 48, 32), tensor("none", 0, 32)];
    layout.place("weights", Element::F32, &weights, 1 << 20).unwrap();
    layout.place("words", Element::U32, &[tensor("words", 10, 15)], 1 << 20).unwrap();
    layout.place("gradients", Element::F32, &[tensor("gradient", 48, 32)], 1 << 20).unwrap();
    layout
}

/// `y = rms_norm(x) weightᵀ` and `gradient += yᵀ rms_norm(x)`, over inputs, arenas and transients,
/// with a tensor that has no element bound at the end of its arena.
fn recording() -> Recording {
    let layout = layout();
    let bytes = Extent::of(Axis::Bytes);
    let mut recording = Recording::new("test", step(CAPACITY).counts);
    let input = |name: &str, element, cols| Input { name: name.into(), element, rows: bytes, cols };
    recording.inputs = vec![input("unused", Element::U32, 1), input("x", Element::F32, 32)];
    let whole = |buffer, length| Region { buffer, offset: 0, length };
    let x = whole(BufferId::Input(1), CAPACITY * 32);
    let stored = |name| {
        let place = layout.require(name).unwrap();
        let shard = &place.shards[0];
        let buffer = BufferId::Arena(shard.arena);
        Region { buffer, offset: shard.offset, length: place.length() }
    };
    let mut transient = |slot: usize, length| {
        assert_eq!(recording.transients.len(), slot);
        recording.transients.push(Transient { element: Element::F32, length });
        whole(BufferId::Transient(slot), length)
    };
    let normed = transient(0, CAPACITY * 32);
    let inverse_rms = transient(1, CAPACITY);
    let y = transient(2, CAPACITY * 48);
    let dispatch = |kernel, params: &[u8], regions| Dispatch {
        kernel,
        variant: 0,
        fixed_order: false,
        halves: Halves::NONE,
        params: params.to_vec(),
        regions,
        label: "test".into(),
    };
    let norm = rms_norm::Params { rows: bytes, cols: 32, eps: 1e-5 };
    let [inner, outer] = [32, 48].map(Extent::fixed);
    let forward = matmul::Params::new(bytes, outer, inner, false, true);
    let mut backward = matmul::Params::new(outer, inner, bytes, true, false);
    backward.accumulate = 1;
    let norm_regions = vec![x, stored("gain"), normed, inverse_rms];
    let forward_regions = vec![normed, stored("weight"), stored("none"), y];
    let backward_regions = vec![y, normed, x, stored("gradient")];
    recording.dispatches = vec![
        dispatch(&rms_norm::KERNEL, bytemuck::bytes_of(&norm), norm_regions),
        dispatch(&matmul::KERNEL, bytemuck::bytes_of(&forward), forward_regions),
        dispatch(&matmul::KERNEL, bytemuck::bytes_of(&backward), backward_regions),
    ];
    let output = |name: &str, rows, cols, region| Output { name: name.into(), rows, cols, region };
    recording.outputs = vec![
        output("x", bytes, 32, x),
        output("y", bytes, 48, y),
        output("inverse_rms", bytes, 1, inverse_rms),
        output("gradient", outer, 32, stored("gradient")),
    ];
    recording.cuts = vec![1, 2];
    recording
}

/// All outputs by name after this many replays of [`recording`], the last shorter than the first.
fn replayed<E: Engine>(engine: &E, count: usize) -> (E::Plan, Vec<(String, Vec<f32>)>) {
    let (layout, recording) = (layout(), recording());
    let store = block_on(engine.create_store(&layout)).unwrap();
    for (seed, name) in [(2, "gain"), (3, "weight")] {
        let place = layout.require(name).unwrap();
        engine.write_tensor(&store, place, &values(seed, place.length())).unwrap();
    }
    let names: Vec<String> = recording.outputs.iter().map(|output| output.name.clone()).collect();
    let plan = block_on(engine.compile(&store, recording)).unwrap();
    let mut last = step(67);
    for bytes in [CAPACITY, 67].into_iter().skip(2 - count) {
        last = step(bytes);
        engine.run(&plan, &last, &inputs(bytes)).unwrap();
    }
    let read = |name: String| {
        let values = block_on(engine.output(&plan, &name, &last)).unwrap();
        (name, values)
    };
    let outputs = names.into_iter().map(read).collect();
    (plan, outputs)
}

const BINDINGS: &[Binding] =
    &[Binding::read("x", Element::F32), Binding::write("out", Element::F32)];

/// A kernel that should compute `out = 2 x` of five elements.
const fn twice(name: &'static str, variants: &'static [Variant]) -> Kernel {
    Kernel {
        name,
        params_bytes: 16,
        bindings: BINDINGS,
        variants,
        constants: no_constants,
        cost: |_, _| Cost::default(),
        cpu: |mut call| call.f_mut(1).iter_mut().zip(call.f(0)).for_each(|(o, x)| *o = 2.0 * x),
        oracle: |mut call| call.f_mut(1).iter_mut().zip(call.f(0)).for_each(|(o, x)| *o = 2.0 * x),
        cases: || {
            let params = [Extent::of(Axis::Bytes), Extent::fixed(0)];
            vec![Case::new("five", &params, step(5)).f(values(1, 5)).out(5)]
        },
    }
}

const fn variant(source: &'static str) -> Variant {
    let groups = |_: &[u8], counts: &Counts| [counts.get(Axis::Bytes) as u32, 1, 1];
    Variant::base(source, groups)
}

macro_rules! source {
    ($body:literal) => {
        concat!(
            "#import shared/step\n",
            "@group(0) @binding(0) var<uniform> params: vec4<u32>;\n",
            "@group(0) @binding(2) var<storage, read> x: array<f32>;\n",
            "@group(0) @binding(3) var<storage, read_write> out: array<f32>;\n",
            "@compute @workgroup_size(1)\n",
            "fn main(@builtin(workgroup_id) group: vec3<u32>) {\n",
            "    let rows = length_of(params.xy);\n",
            "    let i = group.x;\n",
            $body,
            "}\n"
        )
    };
}

static TWICE: Kernel =
    twice("twice", &[variant(source!("if (i < rows) { out[i] = 2.0 * x[i]; }"))]);
static READS_BEHIND: Kernel = twice(
    "reads_behind",
    &[variant(source!("if (i < rows) { out[i] = x[i] + x[select(i, rows, i == 4u)]; }"))],
);
static WRITES_BEHIND: Kernel =
    twice("writes_behind", &[variant(source!("out[i] = 2.0 * x[min(i, rows - 1u)];"))]);
static REFUSED: Kernel = twice("refused", &[variant(source!("out[i] = 2u * x[i];"))]);

/// An engine on the device for tests, or `None` if there is none and that is allowed.
fn engine(test: &str, checked: bool) -> Option<GpuEngine> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let device = variable("BLT_TEST_DEVICE").or_else(|| variable("WGPU_ADAPTER_NAME"));
    let backends = variable("WGPU_BACKEND");
    let options = ContextOptions { backends, device, checked, ..ContextOptions::default() };
    match block_on(Context::new(&options)) {
        Ok(context) => Some(GpuEngine::new(context)),
        Err(error @ Error::NoDevice { .. }) => {
            skip(test, &error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Says that a test is skipped, or fails it where a device is expected.
fn skip(test: &str, error: &Error) {
    let allowed = env::var("BLT_ALLOW_NO_GPU").is_ok_and(|value| value == "1");
    assert!(allowed, "{error}; BLT_ALLOW_NO_GPU=1 skips the tests that need a device");
    println!("skipped: no gpu: {test}");
    if let Ok(path) = env::var("BLT_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(log.unwrap(), "skipped: no gpu: {test}").unwrap();
    }
}
