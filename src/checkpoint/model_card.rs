//! The text that goes with a model: what it is, what of, and how to run it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::write_plan::DirectoryLayout;
use crate::blt::config::{ModelConfig, WEIGHT_BLOCK_SIZE, WeightType};
use crate::blt::parameters::{ParameterSpec, model_parameters};

/// What a card says beside what the model itself does.
#[derive(Debug, Clone, Copy)]
pub struct CardFacts<'a> {
    /// What the model was made from.
    pub source: &'a str,
    pub layout: DirectoryLayout,
    pub weights: WeightType,
    /// Whether every tensor has the type that it had.
    pub keeps_types: bool,
    /// Name of a held-out text, and bits per byte on it of the source and of the model.
    pub measured: Option<(&'a str, f64, f64)>,
}

/// The text of a `README.md`.
pub fn model_card(config: &ModelConfig, facts: &CardFacts) -> String {
    let parameters = model_parameters(config);
    let count: u64 = parameters.iter().map(ParameterSpec::element_count).sum();
    let kind = match config {
        ModelConfig::Blt(_) => "Byte Latent Transformer",
        ModelConfig::Entropy(_) => "entropy model of a Byte Latent Transformer",
    };
    let mut text = front_matter(config, facts);
    let mut put = |line: &str| writeln!(text, "{line}").expect("strings take all");
    put(&format!("# A {kind}\n"));
    put(&format!("{count} parameters, written by blt-wgpu from `{}`.\n", facts.source));
    put("| part | parameters |\n|---|---|");
    for (part, count) in by_part(&parameters) {
        put(&format!("| {part} | {count} |"));
    }
    put(&format!("\n{}\n", weights_sentence(facts)));
    if let Some((name, source, result)) = facts.measured {
        put(&format!(
            "On the held-out text `{name}` it has {result:.4} bits per byte; what it was made from \
             has {source:.4}.\n"
        ));
    }
    put("## Use\n\n```sh\nblt generate --model DIR --prompt \"To be, \" -n 200\n```\n");
    put(&transformers_sentence(config, facts));
    put("\n## Licence\n\nThat of the model it was made from.");
    text
}

fn front_matter(config: &ModelConfig, facts: &CardFacts) -> String {
    let opens =
        facts.layout == DirectoryLayout::HuggingFace && config.model_type(facts.weights) == "blt";
    let library = if opens { "transformers" } else { "blt-wgpu" };
    format!("---\nlibrary_name: {library}\ntags:\n- blt\n- byte-level\n---\n\n")
}

fn by_part(parameters: &[ParameterSpec]) -> Vec<(&'static str, u64)> {
    let mut counts = BTreeMap::new();
    for parameter in parameters {
        *counts.entry(parameter.part).or_insert(0) += parameter.element_count();
    }
    counts.into_iter().map(|(part, count)| (part.name(), count)).collect()
}

fn weights_sentence(facts: &CardFacts) -> String {
    let bits = match facts.weights {
        WeightType::F32 | WeightType::F16 | WeightType::Bf16 if facts.keeps_types => {
            let most = facts.weights.name();
            return format!("Weights have the types they had, most of them {most}.");
        }
        WeightType::F32 => return "Weights are f32.".into(),
        WeightType::F16 => return "Weights are f16.".into(),
        WeightType::Bf16 => return "Weights are bf16.".into(),
        WeightType::Int8 => 8,
        WeightType::Q4 => 4,
    };
    format!(
        "Matrices are whole numbers of {bits} bits, with a scale in f16 for every \
         {WEIGHT_BLOCK_SIZE} neighbours of a row. Norms, byte embedding, head and entropy model \
         keep the type they had."
    )
}

fn transformers_sentence(config: &ModelConfig, facts: &CardFacts) -> String {
    if facts.layout == DirectoryLayout::Release {
        return "It is laid out as the paper's authors released their models.".into();
    }
    if facts.weights.is_blocks() {
        return "`transformers` cannot read such blocks, and refuses to open it.".into();
    }
    match config {
        ModelConfig::Entropy(_) => {
            "In `transformers` an entropy model is part of a BLT, and none of its own.".into()
        }
        ModelConfig::Blt(config) => match config.transformers_difference() {
            None => {
                "It opens in `transformers` 5.23 too, as `BltForCausalLM`; generate there with \
                     `use_cache=False`."
                    .into()
            }
            Some(why) => format!("`transformers` refuses to open it: {why}."),
        },
    }
}
