//! `blt demo` in as little time as it can.

use std::path::Path;

use serde_json::Value;

use crate::program::{blt_cpu, text_of};

fn demo(place: &Path, name: &str, flags: &[&str]) -> Value {
    let out = place.join(name);
    blt_cpu(&[&["demo", "--json", "--out", text_of(&out)], flags].concat()).json()
}

#[test]
fn a_demo_leaves_a_model_a_report_and_a_record_that_repeats_it() {
    let place = tempfile::tempdir().unwrap();
    let first = demo(place.path(), "first", &["--seconds", "1"]);
    for key in ["bpb", "entropy_bpb", "bytes_per_patch", "seconds"] {
        assert!(first[key].as_f64().unwrap() > 0.0, "{key}: {first}");
    }
    assert_eq!(first["device"], "cpu");
    let path = |found: &Value, key: &str| Path::new(found[key].as_str().unwrap()).to_owned();
    let model = path(&first, "model");
    assert!(model.is_absolute());
    assert_eq!(blt_cpu(&["info", text_of(&model)]).ok().stderr, "");
    let page = std::fs::read_to_string(path(&first, "report")).unwrap();
    assert!(page.contains("Byte Latent Transformer") && !page.contains("src=\"http"));
    // The variants of kernels that ran are in it, and no others are run in their place.
    let record = path(&first, "record");
    let mut other: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    assert_eq!(other["variants"]["adamw"], serde_json::json!(["base"]));
    other["variants"]["adamw"][0] = "wide".into();
    let other_path = place.path().join("other.json");
    std::fs::write(&other_path, other.to_string()).unwrap();
    let out = place.path().join("other");
    let replay = ["demo", "--out", text_of(&out), "--replay", text_of(&other_path)];
    blt_cpu(&replay).fails(1, &["wide of kernel adamw, here it would be base", "hint: "]);
    // Into the same directory, which is a demo's and so may be replaced.
    let record = place.path().join("record.json");
    std::fs::copy(path(&first, "record"), &record).unwrap();
    let weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let second = demo(place.path(), "first", &["--replay", text_of(&record)]);
    assert_eq!(second["bpb"], first["bpb"]);
    assert_eq!(std::fs::read(model.join("model.safetensors")).unwrap(), weights);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(text(&path(&second, "record")), text(&record));
}
