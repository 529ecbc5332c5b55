//! `blt flops`.

use crate::program::blt;
use serde_json::Value;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tiny.toml");

#[test]
fn parts_add_up_and_longer_patches_cost_the_latent_transformer_less() {
    let count = |more: &[&str]| blt(&[&["flops", TINY, "--json"], more].concat()).json();
    let sum = |of: &Value| of.as_object().unwrap().values().map(|it| it.as_f64().unwrap()).sum();
    let (four, eight) = (count(&[]), count(&["--bytes-per-patch", "8"]));
    for found in [&four, &eight] {
        let forward = found["forward_flops_per_byte"].as_f64().unwrap();
        let parts: f64 = sum(&found["flops_per_byte"]);
        assert!((parts - forward).abs() < 1e-6 * forward, "{found}");
        assert_eq!(found["training_flops_per_byte"].as_f64().unwrap(), 3.0 * forward);
        assert_eq!(found["params"].as_f64().unwrap(), sum(&found["params_by_part"]));
        assert_eq!(found["memory_bytes"].as_f64().unwrap(), sum(&found["memory_by_class"]));
        assert!(found["memory_bytes"].as_f64().unwrap() > 4.0 * found["params"].as_f64().unwrap());
        assert!(found["entropy_model"]["forward_flops_per_byte"].as_f64().unwrap() > 1e4);
    }
    let latent = |it: &Value| it["flops_per_byte"]["latent transformer"].as_f64().unwrap();
    // 9 patches of 64 bytes and not 17, each of which sees fewer others.
    let ratio = latent(&eight) / latent(&four);
    assert!(ratio > 0.5 && ratio < 9.0 / 17.0, "{ratio}");
    assert_eq!(four["bytes_per_patch"], 4.0);
    let text = String::from_utf8(blt(&["flops", TINY]).ok().stdout).unwrap();
    for line in ["latent transformer", "entropy model", "memory of a training step"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn what_is_no_configuration_is_said() {
    blt(&["flops", "nowhere.toml"]).fails(1, &["nowhere.toml"]);
    blt(&["flops", TINY, "--bytes-per-patch", "0"]).fails(2, &["from 1 on, got 0"]);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run.toml");
    std::fs::write(&path, "[model]\ndim_globule = 3\n").unwrap();
    blt(&["flops", path.to_str().unwrap()]).fails(1, &["describes no model", "dim_globule"]);
}
