//! What the demo writes into its report.

use super::budget::Extent;
use super::job::{DemoOptions, Excerpt};
use crate::blt::LoadedModel;
use crate::blt::config::{ModelConfig, TransformerConfig};
use crate::blt::parameters::Part as ModelPartName;
use crate::engine::Engine;
use crate::error::Result;
use crate::eval::baselines::ByteCounts;
use crate::report::RunReport;
use crate::report::data::{
    Baseline, Corpus, Device, EntropyStrip, Fact, ModelCard, ModelPart, Patching, Program,
};

/// Ids of the excerpt that is shown while the demo runs, and of the strip in the report.
const EXCERPT_IDS: usize = 160;
const STRIP_IDS: usize = 560;
/// Where in the held-out text they begin.
const EXCERPT_START: usize = 1;

/// A report that knows what runs on what.
pub(super) fn begin<E: Engine>(engine: &E, options: &DemoOptions<'_>, extent: Extent) -> RunReport {
    let name = engine.name();
    let backend = name.split('/').next().unwrap_or_default().to_owned();
    let thread_count = rayon::current_num_threads();
    let name = if name == "cpu" { format!("{thread_count} CPU threads") } else { name };
    RunReport {
        title: "A Byte Latent Transformer, from scratch".into(),
        program: Program {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Program::default()
        },
        device: Device {
            name,
            backend,
            thread_count: Some(thread_count as u32),
            ..Device::default()
        },
        corpus: Corpus {
            name: options.text_name.into(),
            train_bytes: extent.train_bytes as u64,
            held_out_bytes: extent.held_out_bytes as u64,
        },
        ..RunReport::default()
    }
}

/// Bits per byte of simpler models on the same held-out text.
pub(super) fn baselines(train: &[u8], held_out: &[u8]) -> Result<Vec<Baseline>> {
    let mut counts = ByteCounts::default();
    counts.add_document(train);
    Ok(vec![
        Baseline {
            name: "order-2 byte counts".into(),
            bpb: counts.score(held_out).bits_per_byte(),
            note: "Witten-Bell, counted on the training text".into(),
        },
        #[cfg(feature = "zstd")]
        Baseline {
            name: "zstd -19".into(),
            bpb: crate::eval::baselines::zstd_score(&[held_out], 19, None)?.bits_per_byte(),
            note: "the held-out text alone".into(),
        },
    ])
}

/// The parts of a model.
pub(super) fn card<E: Engine>(name: &str, model: &LoadedModel<E>) -> ModelCard {
    let count = |part: ModelPartName| -> u64 {
        let specs = model.parameters.iter().filter(|spec| spec.part == part);
        specs.map(|spec| spec.element_count()).sum()
    };
    let shape = |stack: &TransformerConfig| {
        let TransformerConfig { layer_count, hidden_size, head_count, .. } = stack;
        let window = stack.window.map_or(String::new(), |window| format!(", window {window}"));
        format!("{layer_count} layers, width {hidden_size}, {head_count} heads{window}")
    };
    let part = |name: &str, parameter_count, shape| ModelPart {
        name: name.into(),
        parameter_count,
        shape,
    };
    let parts = match &model.config {
        ModelConfig::Entropy(config) => {
            vec![part("entropy model", count(ModelPartName::Patcher), shape(&config.transformer))]
        }
        ModelConfig::Blt(config) => {
            let hash = &config.hash;
            let tables = format!(
                "n-grams of {:?} bytes, {} rows each",
                hash.group_sizes, hash.rows_per_table
            );
            vec![
                part("hash tables", count(ModelPartName::Hash), tables),
                part("local encoder", count(ModelPartName::Encoder), shape(&config.encoder)),
                part("latent transformer", count(ModelPartName::Global), shape(&config.global)),
                part("local decoder", count(ModelPartName::Decoder), shape(&config.decoder)),
                part("head", count(ModelPartName::Head), "260 ids".into()),
            ]
        }
    };
    let facts = vec![Fact::new("optimiser", "AdamW, warmup and cosine, gradient clip 1")];
    ModelCard { name: name.into(), parts, facts }
}

/// How the held-out text was cut.
pub(super) fn describe_patching(report: &mut RunReport, threshold: f32, patch_lengths: &[u32]) {
    report.patching = Patching {
        mode: "entropy".into(),
        threshold_nats: Some(f64::from(threshold)),
        target_bytes_per_patch: Some(4.5),
        length_counts: Patching::count_lengths(patch_lengths),
        ..Patching::default()
    };
}

/// The beginning of the held-out text in patches.
pub(super) fn excerpt(ids: &[u32], patch_lengths: &[u32]) -> Excerpt {
    let mut excerpt = Excerpt::default();
    let mut start = 0;
    for &length in patch_lengths {
        let end = start + length as usize;
        if start >= EXCERPT_START && end <= ids.len() {
            if excerpt.ids.len() + length as usize > EXCERPT_IDS {
                break;
            }
            excerpt.ids.extend_from_slice(&ids[start..end]);
            excerpt.patch_lengths.push(length);
        }
        start = end;
    }
    excerpt
}

/// The strip of entropies with its patch cuts.
pub(super) fn add_strip(
    report: &mut RunReport,
    ids: &[u32],
    entropies: &[f32],
    patch_lengths: &[u32],
) {
    report.strip = EntropyStrip::from_row(ids, entropies, patch_lengths, EXCERPT_START, STRIP_IDS)
        .map(|mut strip| {
            strip.threshold_nats = report.patching.threshold_nats.map(|t| t as f32);
            strip.source = "the beginning of the held-out text".into();
            strip
        });
}
