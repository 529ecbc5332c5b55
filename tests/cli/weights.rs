//! `--weights` and `--tables`: what lies on the device, and in which type.

use crate::program::{blt_cpu, fixture, numbers, text_of};
use std::fs;
use std::path::Path;

fn generate(model: &Path, flags: &[&str]) -> Vec<u64> {
    let start = ["generate", "--model", text_of(model), "--prompt", "ab", "-n", "12", "--json"];
    numbers(&blt_cpu(&[&start, flags].concat()).json()["ids"])
}

fn bpb(model: &Path, text: &Path, flags: &[&str]) -> f64 {
    let start = ["eval", "--model", text_of(model), "--data", text_of(text), "--json"];
    blt_cpu(&[&start, flags].concat()).json()["bpb"].as_f64().unwrap()
}

/// A model computes the same, whether a conversion has packed its weights or loading has.
#[test]
fn weights_of_another_type_are_those_of_a_conversion() {
    let place = tempfile::tempdir().unwrap();
    let text = place.path().join("text.txt");
    fs::write(&text, "Bytes, and what is made of them.").unwrap();
    let source = fixture("k2_entropy");
    let plain = bpb(&source, &text, &[]);
    for weights in ["f16", "bf16", "int8", "q4"] {
        let converted = place.path().join(weights);
        blt_cpu(&["convert", text_of(&source), text_of(&converted), "--dtype", weights]).ok();
        let flags = ["--weights", weights];
        let of_loading = bpb(&source, &text, &flags);
        assert_ne!(of_loading, plain, "{weights} is another number");
        assert!((of_loading / plain - 1.0).abs() < 0.1, "{weights}: {of_loading} and {plain}");
        let of_conversion = bpb(&converted, &text, &[]);
        assert_eq!(of_conversion, bpb(&converted, &text, &["--weights", "f32"]), "{weights}");
        let ids = generate(&converted, &[]);
        if ["int8", "q4"].contains(&weights) {
            assert_eq!(of_loading, of_conversion, "{weights}");
            assert_eq!(generate(&source, &flags), ids, "{weights}");
        } else {
            // A conversion rounds vectors too.
            assert!((of_loading / of_conversion - 1.0).abs() < 1e-3, "{weights}");
        }
        assert_eq!(generate(&converted, &["--tables", "host"]), ids, "{weights}");
        let info = blt_cpu(&["info", text_of(&converted), "--json"]).json();
        let types = info["model"]["parameters_by_type"].as_object().unwrap();
        assert!(types[weights].as_u64().unwrap() > 1000, "{weights}: {types:?}");
    }
    assert_eq!(bpb(&source, &text, &["--tables", "host"]), plain);
}

#[test]
fn wrong_types_and_places_are_named() {
    let model = fixture("k2_entropy");
    let generate = |flags: &[&str]| {
        let start = ["generate", "--model", text_of(&model), "--prompt", "a", "-n", "1"];
        blt_cpu(&[&start, flags].concat())
    };
    generate(&["--weights", "f64"]).fails(2, &["f64", "f32, f16, bf16, int8, q4"]);
    generate(&["--tables", "disk"]).fails(2, &["disk", "device", "host"]);
    let logits = ["logits", "--model", text_of(&model), "--ids", "1,2", "--out", "out", "--grads"];
    blt_cpu(&[&logits[..], &["--weights", "f16"]].concat()).fails(2, &["--grads", "--weights"]);
    blt_cpu(&[&logits[..], &["--tables", "host"]].concat()).fails(2, &["--grads", "--tables"]);
}
