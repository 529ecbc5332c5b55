//! `blt convert`: every layout and type, and what is refused or fails on the way.

use std::fs;
use std::path::{Path, PathBuf};

use blt_wgpu::checkpoint::{ElementType, TensorFile, TorchWriter};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::program::{Tensors, assert_close, blt, blt_cpu, fixture, joined, text_of};

/// Logits, patch lengths and entropies of a model over the ids of the fixture `release`.
fn computed(model: &Path, place: &Path) -> Tensors {
    let ids = Tensors::open(&fixture("release").join("expected.safetensors")).ids();
    let out = place.join("logits.safetensors");
    let (model, file, ids) = (text_of(model), text_of(&out), joined(&ids));
    blt_cpu(&["logits", "--model", model, "--ids", &ids, "--out", file]).ok();
    Tensors::open(&out)
}

/// Converts into a folder of that name.
fn convert(source: &Path, place: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let target = place.join(name);
    let words = ["convert", text_of(source), text_of(&target)];
    blt(&[&words, arguments].concat()).ok();
    target
}

pub fn names_in(path: &Path) -> Vec<String> {
    let names =
        fs::read_dir(path).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The norm of the difference over that of what was expected.
fn relative_distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|it| it * it).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(expected).map(|(a, b)| a - b));
    difference / norm(&mut expected.iter().copied())
}

/// A model of which the original layout has no word, and a place.
fn odd_model() -> (PathBuf, tempfile::TempDir) {
    (fixture("k2_entropy"), tempfile::tempdir().unwrap())
}

#[test]
fn the_original_layout_computes_what_transformers_does() {
    let place = tempfile::tempdir().unwrap();
    let got = computed(&fixture("release"), place.path());
    let expected = Tensors::open(&fixture("release").join("expected.safetensors"));
    for name in ["logits", "entropies"] {
        assert_close(name, &got.get(name), &expected.get(name), 2e-5);
    }
    assert_eq!(got.get("patch_lengths"), expected.get("patch_lengths_ours"));
}

#[test]
fn a_model_keeps_its_bits_through_every_layout_that_holds_them() {
    let place = tempfile::tempdir().unwrap();
    let (place, source) = (place.path(), fixture("release"));
    let expected = computed(&source, place);
    // The weights are bf16, which f32 holds; without --dtype they stay what they are.
    let same = convert(&source, place, "same", &[]);
    let wide = convert(&same, place, "wide", &["--dtype", "f32"]);
    let shards = convert(&wide, place, "shards", &["--shard-size", "60KB", "--dtype", "bf16"]);
    let original = convert(&shards, place, "original", &["--to", "original", "--dtype", "f32"]);
    let back = convert(&original, place, "back", &["--dtype", "bf16"]);
    for model in [&same, &wide, &shards, &original, &back] {
        let got = computed(model, place);
        for name in ["logits", "entropies", "patch_lengths"] {
            assert_eq!(got.get(name), expected.get(name), "{name} of {}", model.display());
        }
    }
    let bytes = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
    assert!(bytes(&same) == bytes(&back), "the same tensors give the same file");
    let config = |model: &Path| fs::read_to_string(model.join("config.json")).unwrap();
    assert_eq!(config(&same), config(&back));
    assert!(config(&same).contains("\"dtype\": \"bfloat16\""));
    let expected = ["README.md", "config.json", "generation_config.json", "model.safetensors"];
    assert_eq!(names_in(&same), expected);
    let expected = ["README.md", "config.json", "entropy_model", "model.safetensors"];
    assert_eq!(names_in(&original), expected);
    assert_eq!(names_in(&original.join("entropy_model")), ["consolidated.pth", "params.json"]);
    let shards = names_in(&shards);
    assert!(shards.iter().any(|name| name == "model-00001-of-00005.safetensors"), "{shards:?}");
    assert!(shards.iter().any(|name| name == "model.safetensors.index.json"), "{shards:?}");
}

/// The release's other form: weights of the BLT in a file of torch, with a table of rotary angles;
/// the entropy model beside.
#[test]
fn a_bundle_computes_what_the_release_does() {
    let place = tempfile::tempdir().unwrap();
    let (source, bundle) = (fixture("release"), place.path().join("blt_tiny"));
    fs::create_dir(&bundle).unwrap();
    let config = fs::read_to_string(source.join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let patcher_args = json!({ "patching_mode": "entropy", "threshold": 4.4867 });
    let params = json!({
        "model": config["args"], "entropy_model": {}, "data": { "patcher_args": patcher_args },
    });
    fs::write(bundle.join("params.json"), params.to_string()).unwrap();
    let tensors = TensorFile::open(source.join("model.safetensors")).unwrap();
    let shape = |name: &str| (name.to_owned(), tensors.entry(name).unwrap().shape.clone());
    let mut shapes: Vec<_> = tensors.entries().map(|(name, _)| shape(name)).collect();
    shapes.push(("local_encoder.rope.freqs_cis".into(), vec![4, 2]));
    let file = fs::File::create(bundle.join("consolidated.pth")).unwrap();
    let mut writer = TorchWriter::new(file, "bundle", ElementType::Bf16, &shapes).unwrap();
    for (name, _) in tensors.entries() {
        writer.push(name, &tensors.read(name).unwrap()).unwrap();
    }
    writer.push("local_encoder.rope.freqs_cis", &[1.0; 8]).unwrap();
    drop(writer.finish().unwrap());
    let entropy = place.path().join("entropy_model");
    fs::create_dir(&entropy).unwrap();
    let (from, with_rope) = (source.join("entropy_model"), "consolidated_with_rope.pth");
    fs::copy(from.join("params.json"), entropy.join("params.json")).unwrap();
    fs::copy(from.join("consolidated.pth"), entropy.join(with_rope)).unwrap();
    let (got, expected) = (computed(&bundle, place.path()), computed(&source, place.path()));
    for name in ["logits", "entropies", "patch_lengths"] {
        assert_eq!(got.get(name), expected.get(name), "{name}");
    }
}

#[test]
fn what_is_written_has_the_names_and_types_of_its_layout() {
    let place = tempfile::tempdir().unwrap();
    let source = fixture("release");
    let original = convert(&source, place.path(), "original", &["--to", "original"]);
    let entries = |model: &Path| {
        let bytes = fs::read(model.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let entry = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            (name, view.shape().to_vec(), view.dtype(), view.data().to_vec())
        };
        let mut entries: Vec<_> = file.tensors().into_iter().map(entry).collect();
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        entries
    };
    // The fixture was written by somebody else.
    assert!(entries(&original) == entries(&source), "every tensor of the original is there again");
}

#[test]
fn blocks_are_measured_and_read_again() {
    let place = tempfile::tempdir().unwrap();
    let (source, held_out) = (fixture("release"), place.path().join("held-out.txt"));
    fs::write(&held_out, "Call me Ishmael. Some years ago, never mind how long.").unwrap();
    let expected = computed(&source, place.path());
    let mut sizes = Vec::new();
    for (format, bound) in [("int8", 0.05), ("q4", 0.7)] {
        let target = place.path().join(format);
        let words = ["convert", text_of(&source), text_of(&target), "--dtype", format];
        let measure = ["--eval", text_of(&held_out), "--json"];
        let said = blt_cpu(&[&words[..], &measure].concat()).json();
        let (bpb, before) = (said["bpb"].as_f64().unwrap(), said["source_bpb"].as_f64().unwrap());
        assert!(
            (bpb / before - 1.0).abs() < bound / 5.0 && bpb != before,
            "{format}: {bpb} {before}"
        );
        sizes.push(said["bytes"].as_u64().unwrap());
        let card = fs::read_to_string(target.join("README.md")).unwrap();
        assert!(card.contains(&format!("{bpb:.4} bits per byte")), "{card}");
        let config: Value =
            serde_json::from_str(&fs::read_to_string(target.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["model_type"], "blt_wgpu");
        assert_eq!(config["quantization_config"]["format"], format);
        assert!(config["patching_batch_size"].as_str().unwrap().contains("blocks"));
        let info = blt_cpu(&["info", text_of(&target), "--json"]).json();
        assert_eq!(info["model"]["model_type"], "blt_wgpu");
        let got = computed(&target, place.path());
        let off = relative_distance(&got.get("logits").1, &expected.get("logits").1);
        assert!(off > 0.0 && off < bound, "{format}: {off}");
        // The entropy model is as it was, and so are patches.
        for name in ["entropies", "patch_lengths"] {
            assert_eq!(got.get(name), expected.get(name), "{name}");
        }
        // Measured on the same device by the same command, the result is what was said.
        let again = ["eval", "--model", text_of(&target), "--data", text_of(&held_out), "--json"];
        assert_eq!(blt_cpu(&again).json()["bpb"], said["bpb"]);
    }
    assert!(sizes[1] < sizes[0], "{sizes:?}");
}

/// The entropy model of a model in bf16 may be f32: where patches begin hangs on its last bits.
#[test]
fn every_tensor_keeps_its_type_unless_one_is_named() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let wide = convert(&fixture("release"), place, "wide", &["--dtype", "f32"]);
    let half = convert(&fixture("release"), place, "half", &["--dtype", "bf16"]);
    let read = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
    let (wide_bytes, half_bytes) = (read(&wide), read(&half));
    let wide_file = SafeTensors::deserialize(&wide_bytes).unwrap();
    let half_file = SafeTensors::deserialize(&half_bytes).unwrap();
    let is_patcher = |name: &str| name.starts_with("model.patcher.");
    let tensors = half_file.names().into_iter().map(|name| {
        let file = if is_patcher(name) { &wide_file } else { &half_file };
        (name.to_owned(), file.tensor(name).unwrap())
    });
    let mixed = place.join("mixed");
    fs::create_dir(&mixed).unwrap();
    fs::copy(half.join("config.json"), mixed.join("config.json")).unwrap();
    let tensors: Vec<_> = tensors.collect();
    assert!(tensors.iter().any(|(name, _)| is_patcher(name)));
    let mixed_bytes = safetensors::serialize(tensors, None).unwrap();
    fs::write(mixed.join("model.safetensors"), &mixed_bytes).unwrap();
    let expected = SafeTensors::deserialize(&mixed_bytes).unwrap();
    let same = |model: &Path| {
        let bytes = read(model);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), expected.len());
        for (name, tensor) in file.tensors() {
            let wanted = expected.tensor(&name).unwrap();
            assert_eq!(tensor.dtype(), wanted.dtype(), "{name}");
            assert!(tensor.data() == wanted.data(), "{name}");
        }
    };
    same(&convert(&mixed, place, "again", &[]));
    let card = fs::read_to_string(place.join("again/README.md")).unwrap();
    assert!(card.contains("the types they had, most of them bf16"), "{card}");
    // There and back through the other layout.
    let original = convert(&mixed, place, "original", &["--to", "original"]);
    same(&convert(&original, place, "back", &[]));
}

#[test]
fn blocks_stay_what_they_are_unless_a_type_is_named() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    for weights in ["int8", "q4"] {
        let packed = convert(&fixture("release"), place, weights, &["--dtype", weights]);
        let again = convert(&packed, place, &format!("{weights}-again"), &[]);
        let read = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
        assert!(read(&packed) == read(&again), "{weights}: the same file");
        let original = place.join(format!("{weights}-original"));
        let words = ["convert", text_of(&packed), text_of(&original), "--to", "original"];
        blt(&words).fails(2, &["--to original", weights, "--dtype bf16"]);
        blt(&[&words[..], &["--dtype", "bf16"]].concat()).ok();
    }
}

#[test]
fn a_lone_entropy_model_goes_there_and_back() {
    let place = tempfile::tempdir().unwrap();
    let source = fixture("release").join("entropy_model");
    let hugging_face = convert(&source, place.path(), "hf", &["--dtype", "f32"]);
    let original = convert(&hugging_face, place.path(), "original", &["--to", "original"]);
    assert_eq!(names_in(&original), ["README.md", "consolidated.pth", "params.json"]);
    let blocks = convert(&original, place.path(), "blocks", &["--dtype", "int8"]);
    let ids = "1,71,105,112,112";
    let logits = |model: &Path| {
        let out = place.path().join("out.safetensors");
        let words = ["logits", "--model", text_of(model), "--ids", ids, "--out", text_of(&out)];
        blt_cpu(&words).ok();
        Tensors::open(&out).get("logits")
    };
    assert_eq!(logits(&source), logits(&hugging_face));
    assert_eq!(logits(&source), logits(&original));
    assert_close("logits", &logits(&blocks), &logits(&source), 0.1);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let (source, place) = odd_model();
    let target = place.path().join("target");
    let words = ["convert", text_of(&source), text_of(&target)];
    let refused = blt(&[&words[..], &["--to", "original"]].concat());
    refused.fails(1, &["no multiple_of gives FFN widths", "hint: ", "--to hf"]);
    let release = fixture("release");
    for more in [["--shard-size", "1MB"], ["--dtype", "q4"]] {
        let words = ["convert", text_of(&release), text_of(&target), "--to", "original"];
        let refused = blt(&[&words[..], &more].concat());
        refused.fails(1, &["neither shards nor weights in blocks", "hint: "]);
    }
    let missing = ["--eval", "no-such.txt"];
    blt(&[&words[..], &missing].concat()).fails(1, &["no-such.txt"]);
    let wrong = blt(&[&words[..], &["--dtype", "int4"]].concat());
    assert_eq!((wrong.code, wrong.stderr.contains("expected f32, f16, bf16, int8, q4")), (2, true));
    assert!(names_in(place.path()).is_empty());
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "").unwrap();
    blt(&words).fails(1, &["not empty"]);
    assert_eq!(names_in(&target), ["mine"]);
}

#[test]
fn a_weight_that_is_no_number_is_named_and_leaves_nothing() {
    let (source, place) = odd_model();
    let broken = place.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::copy(source.join("config.json"), broken.join("config.json")).unwrap();
    let mut bytes = fs::read(source.join("model.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(broken.join("model.safetensors"), &bytes).unwrap();
    let target = place.path().join("target");
    for dtype in ["f32", "q4"] {
        let words = ["convert", text_of(&broken), text_of(&target), "--dtype", dtype];
        blt(&words).fails(1, &["expected finite numbers, got NaN at element"]);
        assert_eq!(names_in(place.path()), ["broken"]);
    }
    let prompt = ["generate", "--model", text_of(&broken), "--prompt", "a", "-n", "1"];
    blt_cpu(&prompt).fails(1, &["expected finite numbers, got NaN"]);
    // Large numbers that f16 does not have.
    bytes[end - 4..].copy_from_slice(&1e6f32.to_le_bytes());
    fs::write(broken.join("model.safetensors"), &bytes).unwrap();
    let words = ["convert", text_of(&broken), text_of(&target), "--dtype", "f16"];
    blt(&words).fails(1, &["1000000 is too large for F16"]);
    assert_eq!(names_in(place.path()), ["broken"]);
}

/// A disk that is full is played by a limit on the size of files, which some of the files that
/// are written keep and one does not.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (source, target) = (fixture("release"), place.path().join("target"));
    let convert = |blocks: usize, flags: &[&str]| {
        // Blocks of 512 bytes; ignoring the signal makes the write fail instead.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_blt"), "convert"]);
        command.args([text_of(&source), text_of(&target)]).args(flags);
        crate::program::run(command)
    };
    let shards = ["--shard-size", "60KB"];
    let original = ["--to", "original", "--dtype", "f32"];
    for (blocks, flags, file) in [
        (100, &["--dtype", "f32"][..], "model.safetensors"),
        (100, &["--dtype", "q4"], "model.safetensors"),
        // The fourth of five is the largest.
        (121, &shards, "model-00004-of-00005.safetensors"),
        // The entropy model has room, the model has not.
        (400, &original, "model.safetensors"),
    ] {
        // An empty directory is somebody's, and stays one.
        for is_there in [false, true] {
            if is_there {
                fs::create_dir(&target).unwrap();
            }
            let failed = convert(blocks, flags);
            failed.fails(1, &["cannot write", file, "hint: ", "no larger file"]);
            assert_eq!(names_in(place.path()), if is_there { vec!["target"] } else { Vec::new() });
            if is_there {
                assert!(names_in(&target).is_empty(), "{flags:?}");
                fs::remove_dir(&target).unwrap();
            }
        }
    }
    // With room for the largest, the same conversions are done.
    for (blocks, flags) in [(122, &shards[..]), (1000, &original)] {
        convert(blocks, flags).ok();
        fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn a_pickle_with_code_in_it_is_not_run() {
    let place = tempfile::tempdir().unwrap();
    let (source, broken) = (fixture("release").join("entropy_model"), place.path().join("broken"));
    fs::create_dir(&broken).unwrap();
    fs::copy(source.join("params.json"), broken.join("params.json")).unwrap();
    let mut bytes = fs::read(source.join("consolidated.pth")).unwrap();
    let name = b"torch._utils\n_rebuild_tensor_v2\n";
    let at = bytes.windows(name.len()).position(|it| it == name).unwrap();
    // As long as the name that it takes the place of.
    let other = b"subprocess.x\ncheck_output_here\n\n";
    bytes[at..at + name.len()].copy_from_slice(other);
    fs::write(broken.join("consolidated.pth"), bytes).unwrap();
    let said = blt_cpu(&["info", text_of(&broken)]);
    said.fails(1, &["subprocess.x.check_output_here", "tensors and nothing else", "hint: "]);
}

#[test]
fn files_that_are_missing_are_named() {
    let place = tempfile::tempdir().unwrap();
    let (source, broken) = (fixture("release"), place.path().join("broken"));
    fs::create_dir(&broken).unwrap();
    fs::copy(source.join("config.json"), broken.join("config.json")).unwrap();
    let info = || blt_cpu(&["info", text_of(&broken), "--json"]);
    info().fails(1, &["there is none of model.safetensors", "consolidated.pth"]);
    fs::copy(source.join("model.safetensors"), broken.join("model.safetensors")).unwrap();
    // Without its entropy model it opens, and says so.
    let said = info();
    assert!(said.stderr.contains("no entropy model"), "{}", said.stderr);
    said.ok();
    fs::create_dir(broken.join("entropy_model")).unwrap();
    let params = "entropy_model/params.json";
    fs::copy(source.join(params), broken.join(params)).unwrap();
    info().fails(1, &["entropy_model: there is none of", "consolidated.pth"]);
}
