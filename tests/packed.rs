//! Weights that stay packed on a device: what is computed with them has the bits of what is
//! computed with the same numbers in f32, and they take the memory that they take on disk.

mod support;

use blt_wgpu::blt::config::{ModelConfig, WeightType};
use blt_wgpu::blt::parameters::{HASH_TABLE_NAME, PATCHER_PREFIX, model_parameters};
use blt_wgpu::blt::{
    CacheShape, LoadedDirectory, LoadedModel, Pass, WeightTypes, cache_layout, seed_graph,
    step_graph, store_layout,
};
use blt_wgpu::checkpoint::{LoadOptions, LoadedTypes, ModelDirectory, ModelWriter, WriteOptions};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::eval::Evaluator;
use blt_wgpu::generate::Streams;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::graph::{CompileOptions, Graph, Precision, compile_for};
use blt_wgpu::kernels::{Axis, Counts};
use pollster::block_on;
use std::path::Path;
use support::{Session, golden_blt, golden_entropy, write_golden_weights};

const PACKED: [WeightType; 4] =
    [WeightType::F16, WeightType::Bf16, WeightType::Int8, WeightType::Q4];

/// The golden BLT with its entropy model.
fn config() -> ModelConfig {
    let (mut config, mut entropy) = (golden_blt(), golden_entropy());
    for stack in [&mut config.encoder, &mut config.global, &mut config.decoder] {
        stack.max_positions = 200;
    }
    entropy.transformer.max_positions = 200;
    config.patching.threshold = 5.1;
    config.attach_patcher(entropy);
    ModelConfig::Blt(config)
}

/// Golden weights, in this type.
fn write(path: &Path, weights: WeightType) {
    let (engine, config) = (HostEngine::<f32>::default(), config());
    let load = |config| {
        let model = block_on(LoadedModel::create(&engine, config, false)).unwrap();
        let session = Session { engine: &engine, model };
        write_golden_weights(&session);
        session.model
    };
    let model = load(config.clone());
    let patcher = load(ModelConfig::Entropy(golden_entropy()));
    let options = WriteOptions { weights, ..WriteOptions::default() };
    let mut writer = ModelWriter::create_with(path, &config, &options).unwrap();
    for parameter in model_parameters(&config) {
        let values = match parameter.name.strip_prefix(PATCHER_PREFIX) {
            Some(name) => block_on(patcher.read(&engine, name)).unwrap(),
            None => block_on(model.read(&engine, &parameter.name)).unwrap(),
        };
        writer.push(&parameter.name, &values).unwrap();
    }
    writer.commit().unwrap();
}

fn load<E: Engine>(
    engine: &E,
    directory: &ModelDirectory,
    types: LoadedTypes,
) -> LoadedDirectory<E> {
    let options = LoadOptions { types, ..LoadOptions::default() };
    block_on(LoadedDirectory::load_as(engine, directory, options)).unwrap()
}

/// Of every id that is generated, with two streams at the same time: the id, whether a patch starts
/// with it, the bits of the entropy and of the logits before it.
type Generated = Vec<(u32, bool, Option<u32>, Vec<u32>)>;

fn generate<E: Engine>(engine: &E, directory: &LoadedDirectory<E>, count: usize) -> Generated {
    let mut streams = block_on(Streams::new(engine, directory, 2)).unwrap();
    streams.keep_logits(true);
    let options = SamplingOptions { allow_special: true, ..SamplingOptions::default() };
    for text in ["Hi, BLT! It is \u{1F600} long", "another"] {
        let prompt = blt_wgpu::text::encode(text.as_bytes(), true, false);
        let id = streams.open(&prompt, Sampler::new(options.clone(), 0).unwrap()).unwrap();
        // Ends of texts end nothing here.
        streams.push(id, &[104, 2, 1, 105, 36, 107]).unwrap();
    }
    let mut generated = Vec::new();
    for _ in 0..count {
        for (_, added) in block_on(streams.step()).unwrap() {
            let added = added.unwrap();
            let logits = added.logits.iter().map(|it| it.to_bits()).collect();
            let entropy = added.entropy.map(f32::to_bits);
            generated.push((added.id, added.starts_patch, entropy, logits));
        }
    }
    generated
}

fn nats<E: Engine>(engine: &E, directory: &LoadedDirectory<E>) -> u64 {
    let mut evaluator = Evaluator::new(engine, directory).unwrap();
    block_on(evaluator.step("It is a truth universally acknowledged.".as_bytes())).unwrap();
    evaluator.evaluation().score.nats.to_bits()
}

/// What is generated with packed weights, what is scored with them, and how large they are, against
/// the same numbers in f32.
fn check<E: Engine>(engine: &E, count: usize) {
    for weights in PACKED {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("model");
        write(&path, weights);
        let opened = ModelDirectory::open(&path).unwrap();
        let packed = load(engine, &opened, LoadedTypes::Stored);
        let plain = load(engine, &opened, LoadedTypes::Of(WeightType::F32));
        let table = packed.model.layout.require(HASH_TABLE_NAME).unwrap();
        assert_eq!(table.weights, weights);
        let bytes = |directory: &LoadedDirectory<E>| {
            let arenas = directory.model.layout.arenas().iter();
            let arenas = arenas.filter(|arena| arena.name.starts_with("weights"));
            arenas.map(|arena| 4 * arena.length).sum::<usize>() as f64
        };
        let share = bytes(&packed) / bytes(&plain);
        // Of so small a model byte embedding and head, which are never in blocks, are much.
        let most = if weights.is_blocks() { 0.5 } else { 0.55 };
        assert!(share < most, "{}: {share} of f32", weights.name());
        let what = weights.name();
        let (got, expected) = (generate(engine, &packed, count), generate(engine, &plain, count));
        assert!(expected.iter().any(|added| added.1), "{what}: patches close");
        assert_eq!(got, expected, "{what}");
        assert_eq!(nats(engine, &packed), nats(engine, &plain), "{what}");
    }
}

#[test]
fn packed_weights_compute_the_bits_of_f32() {
    check(&HostEngine::<f32>::default(), 30);
}

#[cfg(feature = "gpu")]
#[test]
fn packed_weights_compute_the_bits_of_f32_on_a_gpu() {
    let Some(engine) = support::gpu_engine("packed weights") else { return };
    check(&engine, 12);
}

/// Prompts in mixed precision, of weights of every type: patches end where they do in f32, to the
/// bit, logits are near and not the same, and packed weights give what the same numbers give in
/// f32.
fn check_mixed<E: Engine>(engine: &E, count: usize, types: &[WeightType]) {
    for &weights in types {
        let (what, place) = (weights.name(), tempfile::tempdir().unwrap());
        let path = place.path().join("model");
        write(&path, weights);
        let opened = ModelDirectory::open(&path).unwrap();
        let run = |types, precision| {
            let options = LoadOptions { types, precision, ..LoadOptions::default() };
            let directory = block_on(LoadedDirectory::load_as(engine, &opened, options)).unwrap();
            generate(engine, &directory, count)
        };
        let plain = LoadedTypes::Of(WeightType::F32);
        let mixed = run(LoadedTypes::Stored, Precision::Mixed);
        assert_eq!(mixed, run(plain, Precision::Mixed), "{what}");
        let exact = run(plain, Precision::F32);
        let forced = |all: &Generated| {
            let all = all.iter().take(12);
            all.map(|added| (added.0, added.1, added.2)).collect::<Vec<_>>()
        };
        assert_eq!(forced(&mixed), forced(&exact), "{what}");
        let logits = |all: &Generated| {
            let all = all.iter().take(12).flat_map(|added| &added.3);
            all.map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>()
        };
        let pairs = logits(&mixed).into_iter().zip(logits(&exact));
        let distance = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(distance > 0.0 && distance < 2e-2, "{what}: {distance}");
    }
}

#[test]
fn prompts_in_mixed_precision_end_patches_as_f32_does() {
    let types = [WeightType::F32, WeightType::F16, WeightType::Bf16, WeightType::Int8];
    check_mixed(&HostEngine::<f32>::default(), 14, &types);
}

#[cfg(feature = "gpu")]
#[test]
fn prompts_in_mixed_precision_end_patches_as_f32_does_on_a_gpu() {
    let Some(engine) = support::gpu_engine("prompts in mixed precision") else { return };
    if !engine.abilities().f16 {
        let refused = LoadedModel::create_in(&engine, config(), false, Precision::Mixed);
        assert!(block_on(refused).is_err());
        return;
    }
    check_mixed(&engine, 12, &[WeightType::F32, WeightType::F16]);
}

/// Weights are rounded on their way where another type is asked for: to what a conversion writes.
#[test]
fn another_type_than_the_stored_one_is_that_of_a_conversion() {
    let engine = HostEngine::<f32>::default();
    let place = tempfile::tempdir().unwrap();
    let open = |name: &str| ModelDirectory::open(place.path().join(name)).unwrap();
    write(&place.path().join("f32"), WeightType::F32);
    let plain = open("f32");
    for weights in PACKED {
        write(&place.path().join(weights.name()), weights);
        let converted = open(weights.name());
        let [a, b] = [(&plain, LoadedTypes::Of(weights)), (&converted, LoadedTypes::Stored)]
            .map(|(from, types)| load(&engine, from, types));
        for parameter in &a.model.parameters {
            let of = |loaded: &LoadedDirectory<_>| {
                block_on(loaded.model.read(&engine, &parameter.name)).unwrap()
            };
            // What is no matrix stays f32 where it was.
            let type_of = a.model.layout.require(&parameter.name).unwrap().weights;
            if type_of == weights {
                assert_eq!(of(&a), of(&b), "{}: {}", weights.name(), parameter.name);
            }
        }
        let [a, b] = [a, b].map(|it| it.model.layout.require(HASH_TABLE_NAME).unwrap().weights);
        assert_eq!([a, b], [weights; 2]);
    }
}

/// A step reads all weights as they lie, and a text has its products unpack theirs, never a table.
#[test]
fn only_products_of_many_rows_unpack() {
    let config = config();
    let ModelConfig::Blt(blt) = &config else { unreachable!("it is a BLT") };
    let entropy = blt.patcher.clone().unwrap();
    let patcher = Some((&entropy, PATCHER_PREFIX));
    let shape = CacheShape { streams: 1, patches: 128, states: 32, rewind: 0 };
    let of = |config: &ModelConfig| {
        let weights = WeightTypes::uniform(config, WeightType::Bf16);
        store_layout(config, None, Precision::F32, &weights, 1 << 29).unwrap()
    };
    let mut layout = of(&config);
    layout.append(PATCHER_PREFIX, &of(&ModelConfig::Entropy(entropy.clone())));
    layout.append("", &cache_layout(&config, patcher, &shape, 1 << 29).unwrap());
    let counts = Counts::default()
        .with(Axis::Bytes, 64)
        .with(Axis::Patches, 32)
        .with(Axis::SeenBytes, 64)
        .with(Axis::SeenPatches, 32)
        .with(Axis::ByteRows, 64)
        .with(Axis::HashRows, 64);
    let count = |graph: Graph, name: &str| {
        let options = &CompileOptions::BASE;
        let recording = compile_for(graph, "test", &layout, counts, options).unwrap();
        let dispatches = recording.dispatches.iter();
        dispatches.filter(|it| it.kernel.name == name).count()
    };
    for pass in [Pass::Open, Pass::Close] {
        let step = || step_graph(&config, patcher, shape, pass).unwrap();
        assert_eq!(count(step(), "unpack"), 0);
        assert!(count(step(), "matvec") + count(step(), "matvec_rope") > 10);
    }
    let seed = || seed_graph(&config, shape).unwrap();
    let products = ["matmul", "matmul_rope", "matmul_swiglu"].map(|name| count(seed(), name));
    assert_eq!(count(seed(), "unpack"), products.iter().sum::<usize>());
}

/// Hash tables on the host give the bits of those on the device, whatever they are stored as.
fn check_tables_on_host<E: Engine>(engine: &E, count: usize) {
    for weights in [WeightType::F32, WeightType::Bf16, WeightType::Q4] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("model");
        write(&path, weights);
        let opened = ModelDirectory::open(&path).unwrap();
        let on_device = load(engine, &opened, LoadedTypes::Stored);
        let options = LoadOptions { tables_on_host: true, ..LoadOptions::default() };
        let on_host = block_on(LoadedDirectory::load_as(engine, &opened, options)).unwrap();
        drop(opened);
        assert!(on_host.model.layout.get(HASH_TABLE_NAME).is_none(), "it is not on the device");
        let what = weights.name();
        assert!(on_host.model.layout.size_bytes() < on_device.model.layout.size_bytes(), "{what}");
        let expected = generate(engine, &on_device, count);
        assert_eq!(generate(engine, &on_host, count), expected, "{what}");
        assert_eq!(nats(engine, &on_host), nats(engine, &on_device), "{what}");
    }
}

#[test]
fn tables_on_the_host_compute_the_same_bits() {
    check_tables_on_host(&HostEngine::<f32>::default(), 30);
}

#[cfg(feature = "gpu")]
#[test]
fn tables_on_the_host_compute_the_same_bits_on_a_gpu() {
    let Some(engine) = support::gpu_engine("tables on the host") else { return };
    check_tables_on_host(&engine, 12);
}

/// Rows of a table on the host are looked at when they are read.
#[test]
fn a_row_on_the_host_that_is_no_number_is_named() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model");
    write(&path, WeightType::F32);
    let engine = HostEngine::<f32>::default();
    let file = path.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let table = tensors.tensor(HASH_TABLE_NAME).unwrap().data().as_ptr_range();
    let begin = table.start as usize - bytes.as_ptr() as usize;
    let end = table.end as usize - bytes.as_ptr() as usize;
    for number in bytes[begin..end].chunks_exact_mut(4) {
        number.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    std::fs::write(&file, bytes).unwrap();
    let opened = ModelDirectory::open(&path).unwrap();
    let options = LoadOptions { tables_on_host: true, ..LoadOptions::default() };
    let directory = block_on(LoadedDirectory::load_as(&engine, &opened, options)).unwrap();
    let mut streams = block_on(Streams::new(&engine, &directory, 1)).unwrap();
    let sampler = Sampler::new(SamplingOptions::default(), 0).unwrap();
    streams.open(&blt_wgpu::text::encode(b"Hi", true, false), sampler).unwrap();
    let error = block_on(streams.step()).unwrap_err().to_string();
    assert!(error.contains(HASH_TABLE_NAME) && error.contains("NaN"), "{error}");
}

/// Words are looked at on their way to the device.
#[test]
fn packed_weights_that_are_no_numbers_are_named() {
    let engine = HostEngine::<f32>::default();
    let name = "model.global_transformer.layers.0.mlp.down_proj.weight";
    for (weights, bits) in [
        (WeightType::F16, 0x7C00),
        (WeightType::F16, 0x7E01),
        (WeightType::Bf16, 0xFF80),
        (WeightType::Int8, 0x7C00),
        (WeightType::Q4, 0xFE00_u16),
    ] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("model");
        write(&path, weights);
        let file = path.join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let halves = if weights.is_blocks() { format!("{name}.scale") } else { name.to_owned() };
        let begin = tensors.tensor(&halves).unwrap().data().as_ptr() as usize;
        let at = begin - bytes.as_ptr() as usize + 6;
        bytes[at..at + 2].copy_from_slice(&bits.to_le_bytes());
        std::fs::write(&file, bytes).unwrap();
        let opened = ModelDirectory::open(&path).unwrap();
        let error = block_on(LoadedDirectory::load(&engine, &opened, false)).err().unwrap();
        let (error, what) = (error.to_string(), weights.name());
        assert!(error.contains(name) && error.contains("finite numbers"), "{what}: {error}");
    }
}
