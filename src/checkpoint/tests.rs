//! Round trips, damage, and disks that fail.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::blt::config::{ModelConfig, tests::config_a};
use crate::blt::init::initialise;
use crate::blt::parameters::{ParameterSpec, model_parameters};
use crate::error::{Error, Result};

fn model() -> ModelConfig {
    ModelConfig::Blt(config_a())
}

fn fresh(parameter: &ParameterSpec) -> Vec<f32> {
    let mut out = vec![0.0; parameter.rows * parameter.cols];
    initialise(parameter, 7, &mut out);
    out
}

fn write_model(path: &Path) {
    ModelDirectory::write(path, &model(), |it| Ok(Cow::Owned(fresh(it)))).unwrap();
}

/// A safetensors file: header as given, data as given.
fn assemble(header: &Value, data: &[u8]) -> Vec<u8> {
    let text = header.to_string().into_bytes();
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes.extend(data);
    bytes
}

fn disassemble(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

/// Opens a model whose weights went through `change`.
fn open_changed(change: impl FnOnce(&mut Value, &mut Vec<u8>)) -> Result<ModelDirectory> {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path());
    let path = directory.path().join("model.safetensors");
    let (mut header, mut data) = disassemble(&fs::read(&path).unwrap());
    change(&mut header, &mut data);
    fs::write(&path, assemble(&header, &data)).unwrap();
    ModelDirectory::open(directory.path())
}

fn names_in(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_model_comes_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path());
    let expected = ["config.json", "generation_config.json", "model.safetensors"];
    assert_eq!(names_in(directory.path()), expected);
    let opened = ModelDirectory::open(directory.path()).unwrap();
    assert_eq!(opened.config(), &model());
    for parameter in model_parameters(&model()) {
        assert_eq!(
            *opened.read(&parameter.name).unwrap(),
            *fresh(&parameter),
            "{}",
            parameter.name
        );
    }
    let (header, _) = disassemble(&fs::read(directory.path().join("model.safetensors")).unwrap());
    assert_eq!(header["__metadata__"], json!({ "format": "pt" }));
    assert_eq!(header["model.local_decoder.norm.weight"]["shape"], json!([16]));
}

#[test]
fn rows_of_a_matrix() {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path());
    let opened = ModelDirectory::open(directory.path()).unwrap();
    let name = crate::blt::parameters::HASH_TABLE_NAME;
    let whole = opened.read(name).unwrap();
    let mut rows = vec![0.0; 3 * 16];
    opened.read_rows(name, 52..55, &mut rows).unwrap();
    assert_eq!(rows, whole[52 * 16..55 * 16]);
    let error = opened.read_rows(name, 158..160, &mut rows[..32]).unwrap_err().to_string();
    assert!(error.ends_with("rows 158..160 of 159 do not exist"), "{error}");
}

#[test]
fn half_precision_reads_as_the_nearest_numbers() {
    let values = [0.0f32, -0.0, 1.0, -2.5, 65504.0, 6.1e-5, 0.333];
    let halves: Vec<u8> =
        values.iter().flat_map(|it| half::f16::from_f32(*it).to_le_bytes()).collect();
    let brains: Vec<u8> =
        values.iter().flat_map(|it| half::bf16::from_f32(*it).to_le_bytes()).collect();
    let header = json!({
        "a": { "dtype": "F16", "shape": [7], "data_offsets": [0, 14] },
        "b": { "dtype": "BF16", "shape": [7, 1], "data_offsets": [14, 28] },
        "c": { "dtype": "I32", "shape": [1], "data_offsets": [28, 32] },
    });
    let data = [halves, brains, vec![0; 4]].concat();
    let file = TensorFile::parse("halves", assemble(&header, &data)).unwrap();
    for (index, value) in values.iter().enumerate() {
        assert_eq!(file.read("a").unwrap()[index], half::f16::from_f32(*value).to_f32());
        assert_eq!(file.read("b").unwrap()[index], half::bf16::from_f32(*value).to_f32());
    }
    let mut tail = [0.0; 2];
    file.read_into("b", 5, &mut tail).unwrap();
    assert_eq!(tail, file.read("b").unwrap()[5..]);
    assert!(file.read_into("b", 6, &mut tail).unwrap_err().to_string().contains("leave a tensor"));
    let error = file.read("c").unwrap_err().to_string();
    assert_eq!(error, "halves: c: expected elements of type F32, F16 or BF16, got I32");
    assert_eq!(file.read("d").unwrap_err().to_string(), "halves: there is no tensor d");
}

#[test]
fn a_model_in_bf16_opens() {
    let opened = open_changed(|header, data| {
        let narrow = |it: &[u8; 4]| half::bf16::from_f32(f32::from_le_bytes(*it)).to_le_bytes();
        *data = data.as_chunks::<4>().0.iter().flat_map(narrow).collect();
        for (name, entry) in header.as_object_mut().unwrap() {
            if name == "__metadata__" {
                continue;
            }
            entry["dtype"] = "BF16".into();
            for end in entry["data_offsets"].as_array_mut().unwrap() {
                *end = (end.as_u64().unwrap() / 2).into();
            }
        }
    });
    let opened = opened.unwrap();
    let parameter = &opened.parameters()[0];
    let got = opened.read(&parameter.name).unwrap();
    for (got, wrote) in got.iter().zip(fresh(parameter)) {
        assert_eq!(*got, half::bf16::from_f32(wrote).to_f32());
    }
}

#[test]
fn shards_are_found_through_their_index() {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path());
    let path = directory.path().join("model.safetensors");
    let whole = TensorFile::open(&path).unwrap();
    let parameters = model_parameters(&model());
    let mut map = serde_json::Map::new();
    for (shard, half) in parameters.chunks(40).enumerate() {
        let name = format!("model-0000{}.safetensors", shard + 1);
        let shapes: Vec<_> = half.iter().map(|it| (it.name.clone(), it.shape())).collect();
        let mut writer = TensorWriter::create(directory.path().join(&name), &shapes).unwrap();
        for parameter in half {
            writer.push(&parameter.name, &whole.read(&parameter.name).unwrap()).unwrap();
            map.insert(parameter.name.clone(), name.clone().into());
        }
        writer.commit().unwrap();
    }
    fs::remove_file(&path).unwrap();
    let index = directory.path().join("model.safetensors.index.json");
    let write_index = |map: &serde_json::Map<String, Value>| {
        fs::write(&index, json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();
    };
    write_index(&map);
    let opened = ModelDirectory::open(directory.path()).unwrap();
    assert_eq!(*opened.read("lm_head.weight").unwrap(), *whole.read("lm_head.weight").unwrap());

    let read = |name: &str| (name.to_owned(), fs::read(directory.path().join(name)).unwrap());
    let names = ["model-00001.safetensors", "model-00002.safetensors"];
    let mut files: Vec<_> = names.iter().map(|name| read(name)).collect();
    files.push(read("model.safetensors.index.json"));
    let config = fs::read_to_string(directory.path().join("config.json")).unwrap();
    ModelDirectory::from_files(&config, files.clone()).unwrap();
    files.remove(1);
    let error = ModelDirectory::from_files(&config, files).unwrap_err().to_string();
    assert!(error.contains("the shard model-00002.safetensors is missing"), "{error}");

    let mut wrong = map.clone();
    wrong.insert("lm_head.weight".into(), "../../etc/passwd".into());
    write_index(&wrong);
    let error = ModelDirectory::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("a shard is a file beside it"), "{error}");
    wrong.insert("lm_head.weight".into(), "model-00001.safetensors".into());
    write_index(&wrong);
    let error = ModelDirectory::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("lm_head.weight") && error.contains("but it is not"), "{error}");
    fs::copy(directory.path().join(names[0]), directory.path().join("model-3.safetensors"))
        .unwrap();
    wrong.insert("lm_head.weight".into(), "model-3.safetensors".into());
    write_index(&wrong);
    let error = ModelDirectory::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("it is in two files"), "{error}");
    fs::write(&index, "{}").unwrap();
    let error = ModelDirectory::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("not an index"), "{error}");
}

#[test]
fn wrong_tensors_are_named_with_expected_and_got() {
    let name = "model.local_decoder.norm.weight";
    let error = open_changed(|header, _| {
        let entry = header.as_object_mut().unwrap().remove(name).unwrap();
        header["model.local_decoder.gnorm.weight"] = entry;
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("missing: model.local_decoder.norm.weight [16]"), "{error}");

    let error = open_changed(|header, data| {
        let end = data.len();
        header["rope"] = json!({ "dtype": "F32", "shape": [1], "data_offsets": [end, end + 4] });
        data.extend([0; 4]);
    });
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with("no place for: rope"), "{error}");

    let error = open_changed(|header, _| header[name]["shape"] = json!([4, 4])).unwrap_err();
    let error = error.to_string();
    assert!(error.ends_with(&format!("{name}: expected shape [16], got [4, 4]")), "{error}");

    let error = open_changed(|header, _| {
        header[name]["dtype"] = "I32".into();
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("got I32"), "{error}");
}

#[test]
fn elements_that_are_not_finite_are_found() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let name = "model.local_decoder.norm.weight";
        let opened = open_changed(|header, data| {
            let start = header[name]["data_offsets"][0].as_u64().unwrap() as usize;
            data[start + 12..start + 16].copy_from_slice(&value.to_le_bytes());
        });
        let error = opened.unwrap().read(name).unwrap_err().to_string();
        let expected = format!("{name}: expected finite numbers, got {value} at element 3");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path());
    let bytes = fs::read(directory.path().join("model.safetensors")).unwrap();
    let header_end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (middle, end) = ((header_end + bytes.len()) / 2, bytes.len());
    for length in [0, 1, 7, 8, 9, 100, header_end - 1, header_end, header_end + 1, middle, end - 1]
    {
        fs::write(directory.path().join("model.safetensors"), &bytes[..length]).unwrap();
        let error = ModelDirectory::open(directory.path()).expect_err("cut off");
        assert!(error.to_string().contains("not a whole safetensors file"), "{length}: {error}");
        assert!(error.hint().unwrap().contains(&format!("{length} bytes")));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(TensorFile::parse("longer", longer).is_err());
}

#[test]
fn headers_that_lie_are_refused() {
    let entry = |shape: Value, start: u64, end: u64| {
        let offsets = [start, end];
        json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets })
    };
    let cases = [
        ("overlap", json!({ "a": entry(json!([2]), 0, 8), "b": entry(json!([2]), 4, 12) }), 12),
        ("gap", json!({ "a": entry(json!([2]), 0, 8), "b": entry(json!([1]), 12, 16) }), 16),
        ("outside", json!({ "a": entry(json!([4]), 0, 16) }), 8),
        ("backwards", json!({ "a": entry(json!([2]), 8, 0) }), 8),
        ("wrong size", json!({ "a": entry(json!([3]), 0, 8) }), 8),
        ("overflow", json!({ "a": entry(json!([u64::MAX, u64::MAX]), 0, 8) }), 8),
        ("far away", json!({ "a": entry(json!([2]), u64::MAX - 8, u64::MAX) }), 8),
        ("unknown type", json!({ "a": { "dtype": "X", "shape": [], "data_offsets": [0, 1] } }), 1),
        ("no object", json!([1, 2]), 0),
    ];
    for (what, header, data_length) in cases {
        let bytes = assemble(&header, &vec![0; data_length]);
        assert!(TensorFile::parse(what, bytes).is_err(), "{what}");
    }
    for length in [1u64 << 63, u64::MAX, 1 << 40, 200_000_000] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend([b' '; 64]);
        assert!(TensorFile::parse("length", bytes).is_err(), "{length}");
    }
}

#[test]
fn missing_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| ModelDirectory::open(path).unwrap_err().to_string();
    assert!(open(&directory.path().join("nowhere")).ends_with("there is no such directory"));
    assert!(open(directory.path()).ends_with("config.json is missing"));
    fs::write(directory.path().join("config.json"), model().to_json()).unwrap();
    assert!(open(directory.path()).contains("neither model.safetensors nor"));
    assert!(open(&directory.path().join("config.json")).ends_with("this is not a directory"));
}

#[test]
fn a_failed_write_leaves_the_old_model_whole() {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path());
    let before: Vec<_> = names_in(directory.path())
        .into_iter()
        .map(|name| fs::read(directory.path().join(name)).unwrap())
        .collect();
    let full = ModelDirectory::write(directory.path(), &model(), |parameter| {
        if parameter.name == "lm_head.weight" {
            let full = io::Error::new(io::ErrorKind::StorageFull, "no space left on device");
            return Err(Error::io("write", "model.safetensors", full));
        }
        Ok(Cow::Owned(vec![0.5; parameter.rows * parameter.cols]))
    });
    assert!(full.unwrap_err().to_string().contains("no space left"));
    let not_finite = ModelDirectory::write(directory.path(), &model(), |parameter| {
        Ok(Cow::Owned(vec![f32::NAN; parameter.rows * parameter.cols]))
    });
    assert!(not_finite.unwrap_err().to_string().contains("expected finite numbers, got NaN"));
    let after: Vec<_> = names_in(directory.path())
        .into_iter()
        .map(|name| fs::read(directory.path().join(name)).unwrap())
        .collect();
    assert!(before == after, "something changed");
}

/// A disk with room for so many bytes.
struct SmallDisk(usize);

impl Write for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            taken => {
                self.0 -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_fills() {
    let shapes = [("a".to_owned(), vec![3, 2]), ("none".to_owned(), vec![0]), ("b".into(), vec![])];
    let write = |room: usize| -> Result<()> {
        let shapes = super::tensor_writer::in_f32(&shapes);
        let mut writer = TensorWriter::new(SmallDisk(room), "disk", shapes)?;
        writer.push("a", &[1.0; 4])?;
        writer.push("a", &[2.0; 2])?;
        writer.push("b", &[3.0])?;
        writer.finish().map(|_| ())
    };
    let needed = (0..10_000).find(|room| write(*room).is_ok()).unwrap();
    assert_eq!(needed % 8, 28 % 8, "padded header and seven elements");
    assert!((0..needed).all(|room| matches!(write(room), Err(Error::Io { .. }))));
}

fn save(checkpoints: &Checkpoints, step: u64, loss: f64) -> Checkpoint {
    let draft = checkpoints.begin(step).unwrap();
    let mut writer = draft.model_writer(&model(), None).unwrap();
    for parameter in model_parameters(&model()) {
        writer.push(&parameter.name, &fresh(&parameter)).unwrap();
    }
    writer.commit().unwrap();
    draft.write_json("train_state.json", &json!({ "step": step, "loss": loss })).unwrap();
    let shapes = [("moment".to_owned(), vec![2, 2])];
    let mut moments = draft.tensor_writer("optimizer-00001.safetensors", &shapes).unwrap();
    moments.push("moment", &[step as f32; 4]).unwrap();
    moments.commit().unwrap();
    draft.commit().unwrap()
}

#[test]
fn checkpoints_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("checkpoints");
    let checkpoints = Checkpoints::new(&root, Some(2));
    assert_eq!(checkpoints.latest().unwrap(), None);
    for step in [9, 10, 100] {
        save(&checkpoints, step, 1.5);
    }
    assert_eq!(names_in(&root), ["latest", "step-0000000010", "step-0000000100"]);
    let latest = checkpoints.latest().unwrap().unwrap();
    assert_eq!(latest.step, 100);
    let state: Value = latest.read_json("train_state.json").unwrap();
    assert_eq!(state, json!({ "step": 100, "loss": 1.5 }));
    let moments = latest.tensors("optimizer-00001.safetensors").unwrap();
    assert_eq!(*moments.read("moment").unwrap(), [100.0; 4]);
    latest.model().unwrap();

    // The same step again, as after a resume from an older checkpoint.
    save(&checkpoints, 100, 0.5);
    let state: Value = latest.read_json("train_state.json").unwrap();
    assert_eq!(state["loss"], 0.5);
    // A step before those that are there is still the newest one written.
    save(&checkpoints, 50, 0.5);
    assert_eq!(checkpoints.latest().unwrap().unwrap().step, 50);
    assert_eq!(names_in(&root), ["latest", "step-0000000050", "step-0000000100"]);
}

#[test]
fn an_unfinished_checkpoint_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(directory.path(), None);
    save(&checkpoints, 1, 0.0);
    let draft = checkpoints.begin(2).unwrap();
    draft.write_json("train_state.json", &json!({})).unwrap();
    assert_eq!(checkpoints.list().unwrap().len(), 1);
    drop(draft);
    assert_eq!(names_in(directory.path()), ["latest", "step-0000000001"]);
    // What a killed process leaves behind is cleared by the next attempt.
    fs::create_dir(directory.path().join(".step-0000000002.partial")).unwrap();
    fs::write(directory.path().join(".step-0000000002.partial/junk"), "x").unwrap();
    let second = save(&checkpoints, 2, 0.0);
    assert!(!second.path.join("junk").exists());

    fs::remove_file(directory.path().join("latest")).unwrap();
    assert_eq!(checkpoints.latest().unwrap().unwrap().step, 2);
    fs::write(directory.path().join("latest"), "step-0000000007").unwrap();
    let error = checkpoints.latest().unwrap_err();
    assert!(error.to_string().contains("\"step-0000000007\""), "{error}");
    fs::write(directory.path().join("latest"), "../elsewhere").unwrap();
    assert!(checkpoints.latest().is_err());
}

#[test]
fn the_best_checkpoint_is_kept_on_top_of_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(directory.path(), Some(1));
    let save = |step, best| {
        checkpoints.begin(step).unwrap().with_best(best).commit().unwrap();
        names_in(directory.path())
    };
    assert_eq!(save(1, None), ["latest", "step-0000000001"]);
    assert_eq!(checkpoints.best().unwrap(), None);
    assert_eq!(save(2, Some(2)), ["best", "latest", "step-0000000002"]);
    assert_eq!(save(3, Some(2)), ["best", "latest", "step-0000000002", "step-0000000003"]);
    // Another one is better; the old best is one of many again.
    assert_eq!(save(4, Some(4)), ["best", "latest", "step-0000000004"]);
    assert_eq!(checkpoints.best().unwrap().unwrap().step, 4);
    // One that is no longer there is not named.
    assert_eq!(save(5, Some(2)), ["best", "latest", "step-0000000005"]);
    assert!(checkpoints.best().is_err(), "step 4 is gone");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = TensorFile::parse("bytes", bytes);
    }

    #[test]
    fn damaged_headers_never_panic(at in 0usize..2000, value in any::<u8>()) {
        let shapes = [("a".to_owned(), vec![2, 3]), ("b".to_owned(), vec![5])];
        let shapes = super::tensor_writer::in_f32(&shapes);
        let mut writer = TensorWriter::new(Vec::new(), "damaged", shapes).unwrap();
        writer.push("a", &[1.0; 6]).unwrap();
        writer.push("b", &[1.0; 5]).unwrap();
        let mut bytes = writer.finish().unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(file) = TensorFile::parse("damaged", bytes) {
            for (name, entry) in file.entries() {
                if let Ok(elements) = file.read(name) {
                    prop_assert_eq!(elements.len(), entry.element_count());
                }
            }
        }
    }

    #[test]
    fn damaged_configurations_never_panic(at in 0usize..5000, value in any::<u8>()) {
        let mut text = model().to_json().into_bytes();
        let at = at % text.len();
        text[at] = value;
        if let Ok(text) = String::from_utf8(text) {
            let _ = ModelConfig::from_json(&text);
        }
    }
}
