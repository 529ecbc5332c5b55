//! The fixtures that Hugging Face `transformers` computed, see `tests/fixtures/README.md`.

use super::Session;
use blt_wgpu::blt::config::{BltConfig, EntropyConfig, ModelConfig, PatchingMode};
use blt_wgpu::blt::patching::{self, Patching};
use blt_wgpu::blt::tables::Row;
use blt_wgpu::engine::Engine;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every folder of fixtures.
pub const FIXTURES: [&str; 9] = [
    "k1_ones",
    "k2_entropy",
    "k3_functions",
    "k4_window",
    "max_patch",
    "max_patch_edge",
    "all_layers_gqa",
    "k4_settings",
    "mixed_heads",
];

const PATCHER_PREFIX: &str = "model.patcher.";

/// A model and what it must compute.
pub struct Fixture {
    pub config: BltConfig,
    pub ids: Vec<u32>,
    /// How patches came about: `patcher`, `given` or `ones`.
    pub patching: String,
    /// Tensors whose gradient is zero or absent.
    pub without_gradient: Vec<String>,
    weights: Tensors,
    expected: Tensors,
}

impl Fixture {
    /// Reads a folder.
    pub fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let ModelConfig::Blt(config) = ModelConfig::from_json(&text).unwrap().config else {
            panic!("{name} is a BLT");
        };
        let text = std::fs::read_to_string(folder.join("case.json")).unwrap();
        let case: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names = |key: &str| {
            let names = case[key].as_array().unwrap().iter();
            names.map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let expected = Tensors::read(folder.join("expected.safetensors"));
        Self {
            config,
            ids: expected.integers["ids"].clone(),
            patching: case["patching"].as_str().unwrap().to_owned(),
            without_gradient: [names("no_gradient"), names("zero_gradient")].concat(),
            weights: Tensors::read(folder.join("model.safetensors")),
            expected,
        }
    }

    /// The entropy model inside.
    pub fn patcher(&self) -> EntropyConfig {
        self.config.patcher.clone().expect("this fixture has a patcher")
    }

    /// Expected numbers.
    pub fn expected(&self, name: &str) -> &[f32] {
        self.expected.numbers.get(name).unwrap_or_else(|| panic!("nothing is known of {name}"))
    }

    /// Expected tensors under a prefix, by the rest of their names.
    pub fn expected_under<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a [f32])> {
        let tensors = self.expected.numbers.iter();
        tensors.filter_map(move |(name, values)| Some((name.strip_prefix(prefix)?, &values[..])))
    }

    /// Logits by the rule that a patch is closed by the byte to be predicted.
    pub fn logits(&self) -> &[f32] {
        let ours = self.expected.numbers.get("logits_next_byte");
        ours.map_or_else(|| self.expected("logits"), Vec::as_slice)
    }

    /// Patch lengths by the same rule; they sum to one more than there are ids.
    pub fn patch_lengths(&self) -> &[u32] {
        let integers = &self.expected.integers;
        integers.get("patch_lengths_next_byte").unwrap_or(&integers["patch_lengths_ours"])
    }

    /// The text as a row; every id but the first is a target.
    pub fn row(&self, patch_lengths: &[u32]) -> Row {
        let mut targets = self.ids[1..].to_vec();
        targets.push(0);
        let mut weights = vec![1.0; targets.len()];
        weights[targets.len() - 1] = 0.0;
        let patch_lengths = patch_lengths.to_vec();
        Row { ids: self.ids.clone(), targets, weights, patch_lengths }
    }

    /// How the model cuts text.
    pub fn rule(&self) -> Patching {
        let config = &self.config.patching;
        assert_eq!(config.mode, PatchingMode::Entropy, "all fixtures cut by entropy");
        let threshold = config.threshold as f32;
        let max_patch_length = config.max_patch_length.map(|length| length as u32);
        let mode = patching::PatchingMode::Entropy { threshold };
        Patching { max_patch_length, ..Patching::new(mode) }
    }

    /// Writes the weights into a model that is the BLT itself, or its patcher alone. Every tensor
    /// of the model must be in the file, and the other way round.
    pub fn write_weights<E: Engine>(&self, session: &Session<'_, E>) {
        let prefix = match session.model.config {
            ModelConfig::Blt(_) => "",
            ModelConfig::Entropy(_) => PATCHER_PREFIX,
        };
        let mut left: Vec<_> = self.weights.numbers.keys().collect();
        left.retain(|name| name.starts_with(PATCHER_PREFIX) == (prefix == PATCHER_PREFIX));
        for spec in &session.model.parameters {
            let name = format!("{prefix}{}", spec.name);
            let values = self.weights.numbers.get(&name);
            session.write(&spec.name, values.unwrap_or_else(|| panic!("no weights {name}")));
            left.retain(|known| **known != name);
        }
        assert!(left.is_empty(), "tensors that the model has not: {left:?}");
    }
}

/// The tensors of a file.
struct Tensors {
    numbers: BTreeMap<String, Vec<f32>>,
    integers: BTreeMap<String, Vec<u32>>,
}

impl Tensors {
    fn read(path: PathBuf) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors = Self { numbers: BTreeMap::new(), integers: BTreeMap::new() };
        for (name, view) in file.tensors() {
            match view.dtype() {
                Dtype::F32 => {
                    let values = bytemuck::pod_collect_to_vec(view.data());
                    tensors.numbers.insert(name, values);
                }
                Dtype::I64 => {
                    let values: Vec<i64> = bytemuck::pod_collect_to_vec(view.data());
                    let values = values.into_iter().map(|value| value.try_into().unwrap());
                    tensors.integers.insert(name, values.collect());
                }
                dtype => panic!("{name} is {dtype:?}"),
            }
        }
        tensors
    }
}
