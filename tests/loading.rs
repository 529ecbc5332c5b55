//! Writing, converting and loading a model hold a piece of it in host memory, not a copy of it.
//!
//! The allocator of this test program counts what is alive, on all threads; so there is one test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::blt::config::{ModelConfig, ReferenceModelKeys, WeightType};
use blt_wgpu::blt::init::initialise_range;
use blt_wgpu::blt::parameters::{HASH_TABLE_NAME, model_parameters};
use blt_wgpu::checkpoint::{
    Conversion, LoadOptions, LoadedTypes, ModelDirectory, ModelWriter, PIECE_ELEMENTS, WriteOptions,
};
use blt_wgpu::cpu::HostEngine;
use pollster::block_on;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn came(size: usize) {
        let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
        PEAK.fetch_max(live, Ordering::Relaxed);
    }

    fn went(size: usize) {
        LIVE.fetch_sub(size, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are those of `System`.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::came(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as above.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::came(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: as above.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::came(size);
        Self::went(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    // SAFETY: as above.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::went(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of a piece in f32.
const PIECE_BYTES: usize = 4 * PIECE_ELEMENTS;

/// What `work` gives, and the most bytes that were alive beyond those alive when it was done.
fn surplus<T>(work: impl FnOnce() -> T) -> (T, usize) {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    let made = work();
    let peak = PEAK.load(Ordering::Relaxed);
    (made, peak - LIVE.load(Ordering::Relaxed))
}

/// A model whose hash table alone has seven pieces and a bit.
fn config() -> ModelConfig {
    let text = "dim_local_encoder = 64\ndim_global = 128\ndim_local_decoder = 64\n\
                n_layers_global = 1\nn_layers_local_encoder = 1\nn_layers_local_decoder = 1\n\
                n_heads_global = 2\nn_heads_local_encoder = 2\nn_heads_local_decoder = 2\n\
                cross_attn_encoder = true\ncross_attn_decoder = true\ncross_attn_k = 2\n\
                encoder_hash_byte_group_size = [3, 4, 5]\nmax_encoder_seq_length = 64\n\
                max_seqlen = 32\npatching_mode = 'space'\n\
                encoder_hash_byte_group_nb_functions = 1\n\
                encoder_hash_byte_group_vocab = 160001";
    let (keys, _) = ReferenceModelKeys::from_table(toml::from_str(text).unwrap()).unwrap();
    ModelConfig::Blt(keys.into_config().unwrap().config)
}

fn write(path: &Path, config: &ModelConfig) {
    let options = WriteOptions { weights: WeightType::Bf16, ..WriteOptions::default() };
    let mut writer = ModelWriter::create_with(path, config, &options).unwrap();
    let mut values = Vec::new();
    for parameter in model_parameters(config) {
        for rows in parameter.row_pieces(PIECE_ELEMENTS) {
            values.resize(rows.len() * parameter.cols, 0.0);
            initialise_range(&parameter, 1, (rows.start * parameter.cols) as u64, &mut values);
            writer.push(&parameter.name, &values).unwrap();
        }
    }
    writer.commit().unwrap();
}

fn convert(source: &Path, target: &Path, weights: WeightType) {
    let source = ModelDirectory::open(source).unwrap();
    let options = WriteOptions { weights, ..WriteOptions::default() };
    let mut conversion = Conversion::begin(&source, target, &options).unwrap();
    while conversion.step().unwrap() {}
    conversion.commit("a card").unwrap();
}

#[test]
fn a_piece_is_in_memory_and_not_a_copy() {
    let place = tempfile::tempdir().unwrap();
    let config = config();
    let table = model_parameters(&config).into_iter().find(|it| it.name == HASH_TABLE_NAME);
    let table_bytes = 4 * table.unwrap().element_count() as usize;
    assert!(table_bytes > 7 * PIECE_BYTES, "the model is larger than what may be in memory");
    // The piece, what it is encoded to, and the buffers of files.
    let bound = 3 * PIECE_BYTES;

    let source = place.path().join("source");
    let ((), bytes) = surplus(|| write(&source, &config));
    assert!(bytes < bound, "writing: {bytes}");
    for weights in [WeightType::F32, WeightType::Q4] {
        let target = place.path().join(weights.name());
        let ((), bytes) = surplus(|| convert(&source, &target, weights));
        // Scales wait until all codes of a tensor are written: 2 bytes for 32 elements.
        assert!(bytes < bound + table_bytes / 64, "converting to {}: {bytes}", weights.name());
    }
    let engine = HostEngine::<f32>::default();
    let stored = LoadedTypes::Stored;
    let loads = [
        ("source", stored, 16.0),
        ("f32", stored, 32.0),
        ("q4", stored, 4.5),
        ("q4", LoadedTypes::Of(WeightType::F32), 32.0),
        ("f32", LoadedTypes::Of(WeightType::Int8), 8.5),
    ];
    for (name, types, bits) in loads {
        let options = LoadOptions { types, ..LoadOptions::default() };
        let directory = ModelDirectory::open(place.path().join(name)).unwrap();
        let before = LIVE.load(Ordering::Relaxed);
        let (loaded, bytes) =
            surplus(|| block_on(LoadedDirectory::load_as(&engine, &directory, options)).unwrap());
        let held = (LIVE.load(Ordering::Relaxed) - before) as f64;
        let table = table_bytes as f64 * bits / 32.0;
        // The rest of the model is small.
        assert!((table..1.2 * table).contains(&held), "{name}: {held} bytes hold {table}");
        assert!(bytes < bound, "loading {name}: {bytes}");
        drop(loaded);
    }
    // With the table on the host nothing holds it: its rows are read where they are mapped.
    let directory = ModelDirectory::open(place.path().join("source")).unwrap();
    let options = LoadOptions { tables_on_host: true, ..LoadOptions::default() };
    let before = LIVE.load(Ordering::Relaxed);
    let (loaded, bytes) =
        surplus(|| block_on(LoadedDirectory::load_as(&engine, &directory, options)).unwrap());
    let held = LIVE.load(Ordering::Relaxed) - before;
    assert!(held < table_bytes / 10 && bytes < bound, "{held} and {bytes} of {table_bytes}");
    drop(loaded);
}
