//! A model as a page looks at texts with it, on the CPU engine: what the library says.

use blt_web::cutting::PatchOptions;
use blt_web::generation::GenerateOptions;
use blt_web::{Kind, Model};
use blt_wgpu::blt::LoadedDirectory;
use blt_wgpu::checkpoint::{LoadOptions, ModelDirectory};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::device::Device;
use blt_wgpu::eval::Patcher;
use blt_wgpu::generate::Recompute;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::platform::NativePlatform;
use blt_wgpu::text::encode;
use pollster::block_on;

const TEXT: &[u8] = b"Hold, hold, my heart; and you, my sinews";

fn place() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/k2_entropy")
}

fn device() -> Device {
    Device::Cpu(HostEngine::default())
}

async fn model(device: &Device) -> Model<'_> {
    let read = |name: &str| (format!("k2/{name}"), std::fs::read(place().join(name)).unwrap());
    let files = vec![read("config.json"), read("model.safetensors")];
    Model::load(device, "k2", files).await.unwrap()
}

async fn directory(device: &Device) -> LoadedDirectory<Device> {
    let directory = ModelDirectory::open(place()).unwrap();
    LoadedDirectory::load_as(device, &directory, LoadOptions::default()).await.unwrap()
}

#[test]
fn patches_are_those_of_the_library() {
    let (device, platform) = (device(), NativePlatform::default());
    block_on(async {
        let (mut model, directory) = (model(&device).await, directory(&device).await);
        let mut patcher = Patcher::of(&device, &directory).unwrap().unwrap();
        let expected = patcher.cut(&encode(TEXT, true, false)).await.unwrap();
        let found = model.patches(TEXT, &PatchOptions::default(), &platform).await.unwrap();
        assert_eq!(found.entropies, expected.entropies);
        let starts: Vec<_> =
            expected.starts().into_iter().skip(1).map(|it| it as u32 - 1).collect();
        assert_eq!(found.starts, starts);

        // A prefix is known already, and other rules cut the same entropies.
        let prefix = model.patches(&TEXT[..9], &PatchOptions::default(), &platform).await.unwrap();
        assert_eq!(prefix.entropies, expected.entropies[..10]);
        let by = |mode: &str| PatchOptions { mode: Some(mode.into()), ..PatchOptions::default() };
        let bytes = model.patches(TEXT, &by("byte"), &platform).await.unwrap();
        assert_eq!(bytes.starts, (0..=TEXT.len() as u32).collect::<Vec<_>>());
        let words = model.patches(b"to be", &by("space"), &platform).await.unwrap();
        assert_eq!(words.starts, [0, 3]);
        let failure = model.patches(TEXT, &by("combined"), &platform).await.unwrap_err();
        assert_eq!(failure.hint.as_deref(), Some("set thresholdAdd, in nats"));
        let failure = model.patches(TEXT, &by("words"), &platform).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Input);
    });
}

#[test]
fn a_distribution_is_that_of_a_full_pass() {
    let (device, platform) = (device(), NativePlatform::default());
    block_on(async {
        let (mut model, directory) = (model(&device).await, directory(&device).await);
        let sampler = Sampler::new(SamplingOptions::default(), 0).unwrap();
        let mut full = Recompute::new(&device, &directory, sampler).unwrap();
        for at in [0, 7, TEXT.len()] {
            let pass = full.read(&encode(&TEXT[..at], true, false)).await.unwrap();
            let logits = pass.logits_at(at);
            let likeliest = (4..260).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            let found = model.distribution(TEXT, at, &platform).await.unwrap();
            assert_eq!(usize::from(found.top[0].byte) + 4, likeliest, "at {at}");
            let total: f64 = logits.iter().map(|&it| f64::from(it).exp()).sum();
            let expected = f64::from(logits[likeliest]).exp() / total;
            assert!((found.top[0].probability - expected).abs() < 1e-6, "at {at}");
        }
        // Of a text of more patches, and more bytes, than the model sees, the end is read.
        let long = TEXT.repeat(1 + 2 * model.info().max_bytes / TEXT.len());
        for at in [long.len() / 2, long.len()] {
            let found = model.distribution(&long, at, &platform).await.unwrap();
            let total: f64 = found.top.iter().map(|it| it.probability).sum();
            assert!(total > 0.1 && total < 1.0 + 1e-6, "at {at}: {total}");
        }
        let beyond = model.distribution(TEXT, TEXT.len() + 1, &platform).await;
        assert_eq!(beyond.unwrap_err().kind, Kind::Input);
    });
}

#[test]
fn ngrams_end_with_their_byte_wherever_it_stands() {
    let device = device();
    block_on(async {
        let model = model(&device).await;
        let sizes = model.info().ngram_sizes.clone();
        assert!(!sizes.is_empty());
        let late = model.hashes(TEXT, 20).unwrap();
        assert_eq!(late.iter().map(|it| it.size).collect::<Vec<_>>(), sizes);
        for ngram in &late {
            assert_eq!(ngram.bytes, TEXT[21 - ngram.size..=20]);
            assert_eq!(ngram.rows.len(), model.info().hash_function_count);
            assert!(ngram.rows.iter().all(|&row| (row as usize) < model.info().table_rows));
        }
        // An n-gram is its bytes, whatever stands before them.
        let cut = &TEXT[10..];
        assert_eq!(model.hashes(cut, 10).unwrap(), late);
        let first = model.hashes(TEXT, 0).unwrap();
        assert!(first.iter().all(|ngram| ngram.bytes == TEXT[..1]));
    });
}

#[test]
fn a_patch_pools_its_own_bytes_and_sees_those_before() {
    let (device, platform) = (device(), NativePlatform::default());
    block_on(async {
        let mut model = model(&device).await;
        let options = PatchOptions { mode: Some("space".into()), ..PatchOptions::default() };
        let cut = model.patches(TEXT, &options, &platform).await.unwrap();
        let count = cut.starts.len();
        for patch in 0..count {
            let end = cut.starts.get(patch + 1).map_or(TEXT.len(), |&start| start as usize);
            let sight = model.attention(TEXT, patch, &options, &platform).await.unwrap();
            assert_eq!(sight.bytes, [cut.starts[patch] as usize, end], "patch {patch}");
            assert_eq!(sight.patches, [0, patch + 1]);
            // Unpooled where the next patch is predicted: from its first byte to its last.
            if patch + 1 < count {
                let begin = cut.starts[patch + 1] as usize;
                let next = cut.starts.get(patch + 2).map_or(TEXT.len() + 1, |&it| it as usize);
                assert_eq!(sight.predicts, [begin, next], "patch {patch}");
            }
        }
        let beyond = model.attention(TEXT, count, &options, &platform).await;
        assert_eq!(beyond.unwrap_err().kind, Kind::Input);
    });
}

#[test]
fn pieces_are_the_text_and_its_bytes() {
    let (device, platform) = (device(), NativePlatform::default());
    block_on(async {
        let mut model = model(&device).await;
        let (mut text, mut bytes) = (String::new(), Vec::new());
        let options = GenerateOptions { max_bytes: 24, ..GenerateOptions::default() };
        let done = model
            .generate(b"To be", &options, &platform, |piece| {
                text.push_str(&piece.text);
                assert_eq!(piece.starts.len(), piece.bytes.len());
                assert_eq!(piece.entropies.len(), piece.bytes.len());
                bytes.extend(piece.bytes);
            })
            .await
            .unwrap();
        assert_eq!((done.text.as_str(), done.byte_count), (text.as_str(), 24));
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        let hot = GenerateOptions { temperature: -1.0, ..GenerateOptions::default() };
        let failure = model.generate(b"x", &hot, &platform, |_| {}).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Input);
        let none = model.generate(b"", &options, &platform, |_| {}).await.unwrap();
        assert_eq!(none.byte_count, 24);
    });
}
