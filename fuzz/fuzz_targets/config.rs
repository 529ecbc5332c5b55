//! A `config.json` of either layout. What is taken must be written and read again as it was.
#![no_main]

use blt_wgpu::blt::config::{ModelConfig, Parsed, ReleaseTexts};
use libfuzzer_sys::fuzz_target;

fn check(parsed: Parsed<ModelConfig>) {
    let config = parsed.config;
    assert!(config.validate().is_ok(), "it has been checked");
    let again = ModelConfig::from_json(&config.to_json());
    assert_eq!(again.expect("what is written can be read").config, config);
    // It says itself whether what it wrote comes back.
    let _ = config.to_release();
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(parsed) = ModelConfig::from_json(text) {
        check(parsed);
    }
    let texts = ReleaseTexts { config: Some(text), params: Some(text), entropy_params: None };
    for texts in [
        texts,
        ReleaseTexts { config: None, ..texts },
        ReleaseTexts { entropy_params: Some(text), ..texts },
    ] {
        if let Ok(parsed) = texts.blt() {
            check(parsed);
        }
        if let Ok(parsed) = texts.entropy() {
            check(parsed);
        }
    }
});
