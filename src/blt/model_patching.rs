//! The patching that a model's configuration asks for.

use super::config::{self, BltConfig, PatchingConfig};
use super::patching::{Patching, PatchingMode};

/// How a model's text is cut in front of it: by its own rule, or, where that rule reads entropies
/// and the model carries no entropy model, every byte alone as in `transformers` (spec §22.4).
pub fn model_patching(config: &BltConfig) -> Patching {
    let patching = configured_patching(&config.patching);
    match patching.mode.needs_entropies() && config.patcher.is_none() {
        true => Patching::new(PatchingMode::Byte),
        false => patching,
    }
}

/// The settings of a configuration, with the virtual token. A second threshold that is absent is 0.
pub fn configured_patching(config: &PatchingConfig) -> Patching {
    let narrow = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let threshold = config.threshold as f32;
    let threshold_add = config.threshold_add.unwrap_or(0.0) as f32;
    let mode = match config.mode {
        config::PatchingMode::Entropy => PatchingMode::Entropy { threshold },
        config::PatchingMode::Monotonic => PatchingMode::Monotonic { threshold },
        config::PatchingMode::Combined => PatchingMode::Combined { threshold, threshold_add },
        config::PatchingMode::Space => PatchingMode::Space,
        config::PatchingMode::Static => {
            PatchingMode::Static { patch_size: narrow(config.patch_size) }
        }
        config::PatchingMode::Byte => PatchingMode::Byte,
        config::PatchingMode::Bpe => PatchingMode::BpeDelimiter,
    };
    Patching { max_patch_length: config.max_patch_length.map(narrow), ..Patching::new(mode) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_keeps_its_name_and_settings() {
        for mode in config::PatchingMode::ALL {
            let config = PatchingConfig {
                mode,
                threshold: 0.75,
                threshold_add: Some(0.25),
                patch_size: 6,
                max_patch_length: Some(9),
            };
            let patching = configured_patching(&config);
            assert_eq!(patching.mode.name(), mode.name());
            assert_eq!(patching.mode.needs_entropies(), mode.needs_entropies());
            assert_eq!((patching.max_patch_length, patching.include_next_token), (Some(9), true));
            match patching.mode {
                PatchingMode::Static { patch_size } => assert_eq!(patch_size, 6),
                PatchingMode::Entropy { threshold } | PatchingMode::Monotonic { threshold } => {
                    assert_eq!(threshold, 0.75);
                }
                PatchingMode::Combined { threshold, threshold_add } => {
                    assert_eq!((threshold, threshold_add), (0.75, 0.25));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn without_an_entropy_model_every_byte_is_a_patch() {
        let mut config = config::tests::config_a();
        config.patcher = None;
        config.patching = PatchingConfig::default();
        assert_eq!(model_patching(&config).mode, PatchingMode::Byte);
        config.patching.mode = config::PatchingMode::Space;
        assert_eq!(model_patching(&config).mode, PatchingMode::Space);
    }
}
