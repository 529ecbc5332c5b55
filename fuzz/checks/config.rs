//! A `config.json` of either layout. What is taken must be written and read again as it was.

use blt_wgpu::blt::config::{ModelConfig, Parsed, ReleaseTexts};

fn check_parsed(parsed: Parsed<ModelConfig>) {
    let config = parsed.config;
    assert!(config.validate().is_ok(), "it has been checked");
    let again = ModelConfig::from_json(&config.to_json());
    assert_eq!(again.expect("what is written can be read").config, config);
    // It says itself whether what it wrote comes back.
    let _ = config.to_release();
}

/// Panics where the parser does what it must not.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(parsed) = ModelConfig::from_json(text) {
        check_parsed(parsed);
    }
    let texts = ReleaseTexts { config: Some(text), params: Some(text), entropy_params: None };
    for texts in [
        texts,
        ReleaseTexts { config: None, ..texts },
        ReleaseTexts { entropy_params: Some(text), ..texts },
    ] {
        if let Ok(parsed) = texts.blt() {
            check_parsed(parsed);
        }
        if let Ok(parsed) = texts.entropy() {
            check_parsed(parsed);
        }
    }
}
