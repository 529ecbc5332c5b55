//! `blt info`: what a model is made of, and which kernels run here.

use super::device::DeviceArgument;
use super::model;
use super::numbers::counted;
use super::terminal::Terminal;
use blt_wgpu::blt::config::{
    BltConfig, ModelConfig, PatchingConfig, Semantics, TransformerConfig, WeightType,
};
use blt_wgpu::blt::{
    TableUpdates, WeightTypes, entropies_graph, forward_graph, store_layout, training_graph,
};
use blt_wgpu::checkpoint::ModelDirectory;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::{Precision, Recording, compile};
use blt_wgpu::kernels::{Abilities, Axis, Counts, Kernel, REGISTRY};
use blt_wgpu::report::{grouped, short_count};
use blt_wgpu::train::{AdamW, update_recording};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// Show what a model is made of, and which kernels run on this device
///
/// With DIR: tensors, parameters by part, patching, semantics, and whether `transformers` computes
/// the same, and how often each kernel runs in a forward pass, in a training step and when patches
/// are cut. Always: the kernels of this program and the variants that the device can run.
#[derive(clap::Args)]
#[command(after_help = "Example: blt info blt-demo/model")]
pub struct Arguments {
    /// Model directory, or the name of a model on the hub
    dir: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"version": .., "device": .., "kernels": .., "model": ..}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    version: &'static str,
    device: String,
    /// Work after which a new submission starts; absent: a replay is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    submit_gflop: Option<f64>,
    kernels: Vec<KernelRow>,
    model: Option<ModelCard>,
}

#[derive(Serialize)]
struct KernelRow {
    name: &'static str,
    variants: Vec<VariantRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<KernelCalls>,
}

/// How often a kernel runs in the programs of a model.
#[derive(Serialize)]
struct KernelCalls {
    /// A forward pass.
    forward: usize,
    /// A training step of one micro-batch, with its update.
    training: usize,
    /// Scoring by the entropy model.
    patching: usize,
}

#[derive(Serialize)]
struct VariantRow {
    name: &'static str,
    /// What the device lacks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

#[derive(Serialize)]
struct ModelCard {
    path: PathBuf,
    model_type: &'static str,
    semantics: &'static str,
    /// Why `transformers` would compute something else.
    transformers_difference: Option<String>,
    patching: Option<String>,
    stacks: BTreeMap<&'static str, String>,
    parameter_count: u64,
    parameters_by_part: BTreeMap<&'static str, u64>,
    /// By the type in which they are stored, and lie on a device.
    parameters_by_type: BTreeMap<&'static str, u64>,
    tensors: Vec<TensorRow>,
}

#[derive(Serialize)]
struct TensorRow {
    name: String,
    shape: Vec<usize>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let device = arguments.device.open(terminal)?;
    let mut calls = None;
    let mut card = None;
    if let Some(path) = &arguments.dir {
        let directory = model::open(path, terminal)?;
        calls = Some(ProgramCalls::of(&device, directory.config())?);
        card = Some(ModelCard::of(path.clone(), &directory)?);
    }
    let kernels = REGISTRY.iter().map(|kernel| row(kernel, &device, calls.as_ref())).collect();
    let version = env!("CARGO_PKG_VERSION");
    let submit_gflop = match &device {
        Device::Cpu(_) => None,
        #[cfg(feature = "gpu")]
        Device::Gpu(engine) => engine.submit_flops().map(|flops| flops as f64 / 1e9),
    };
    let output = Output { version, device: device.name(), submit_gflop, kernels, model: card };
    match arguments.json {
        true => terminal.print_json(&output),
        false => terminal.print_text(&text(&output)),
    }
}

/// How often each kernel runs, by name.
type Calls = BTreeMap<&'static str, usize>;

/// That in each of the programs that a model is compiled to.
struct ProgramCalls {
    forward: Calls,
    training: Calls,
    patching: Calls,
}

impl ProgramCalls {
    /// Those of a model and the entropy model it carries.
    fn of(device: &Device, config: &ModelConfig) -> blt_wgpu::Result<Self> {
        let most = device.max_binding_elements();
        let layout = |config: &ModelConfig, training: bool| {
            let updates = training.then_some(TableUpdates::Dense);
            store_layout(config, updates, Precision::F32, &WeightTypes::default(), most)
        };
        // A thousand bytes in one row; how many there are changes no number of calls.
        let counts = Counts::default()
            .with(Axis::Bytes, 1024)
            .with(Axis::Patches, 256)
            .with(Axis::ByteRows, 128)
            .with(Axis::HashRows, 1024)
            .with(Axis::SeenBytes, 1024)
            .with(Axis::SeenPatches, 256);
        let add = |calls: &mut Calls, recording: &Recording| {
            for dispatch in &recording.dispatches {
                *calls.entry(dispatch.kernel.name).or_default() += 1;
            }
        };
        let [mut forward, mut training, mut patching] = [const { Calls::new() }; 3];
        let own = layout(config, true)?;
        add(&mut forward, &compile(forward_graph(config)?, "forward", &own, counts)?);
        add(&mut training, &compile(training_graph(config)?, "micro", &own, counts)?);
        add(&mut training, &update_recording(&own, &AdamW::default(), &Abilities::CORE));
        let scoring = match config {
            ModelConfig::Entropy(_) => Some(config.clone()),
            ModelConfig::Blt(config) if config.patching.mode.needs_entropies() => {
                config.patcher.clone().map(ModelConfig::Entropy)
            }
            ModelConfig::Blt(_) => None,
        };
        if let Some(scoring) = scoring {
            let own = layout(&scoring, false)?;
            add(&mut patching, &compile(entropies_graph(&scoring)?, "entropies", &own, counts)?);
        }
        Ok(Self { forward, training, patching })
    }
}

fn row(kernel: &Kernel, device: &Device, calls: Option<&ProgramCalls>) -> KernelRow {
    let variants = match device {
        Device::Cpu(_) => vec![VariantRow { name: "cpu", missing: None }],
        #[cfg(feature = "gpu")]
        Device::Gpu(engine) => {
            let caps = engine.context().caps();
            let row = |variant: &blt_wgpu::kernels::Variant| VariantRow {
                name: variant.name,
                missing: caps.missing(variant.needs),
            };
            kernel.variants.iter().map(row).collect()
        }
    };
    let count = |calls: &Calls| calls.get(kernel.name).copied().unwrap_or(0);
    let calls = calls.map(|calls| KernelCalls {
        forward: count(&calls.forward),
        training: count(&calls.training),
        patching: count(&calls.patching),
    });
    KernelRow { name: kernel.name, variants, calls }
}

impl ModelCard {
    fn of(path: PathBuf, directory: &ModelDirectory) -> blt_wgpu::Result<Self> {
        let config = directory.config();
        let (mut parameters_by_part, mut parameters_by_type) = (BTreeMap::new(), BTreeMap::new());
        for parameter in directory.parameters() {
            *parameters_by_part.entry(parameter.part.name()).or_default() +=
                parameter.element_count();
            let weights = directory.weight_type(&parameter.name)?.name();
            *parameters_by_type.entry(weights).or_default() += parameter.element_count();
        }
        // Of all types, blocks alone are what transformers cannot read.
        let blocks = parameters_by_type
            .keys()
            .find_map(|name| WeightType::from_name(name).filter(|weights| weights.is_blocks()));
        let weights = blocks.unwrap_or(WeightType::F32);
        let difference = config.transformers_difference(weights);
        let mut stacks = BTreeMap::new();
        let (semantics, patching) = match config {
            ModelConfig::Blt(config) => {
                stacks.extend(stacks_of(config));
                let patching = describe_patching(&config.patching);
                (config.semantics, Some(patching))
            }
            ModelConfig::Entropy(config) => {
                stacks.insert("entropy model", describe_stack(&config.transformer));
                (config.semantics, None)
            }
        };
        Ok(Self {
            path,
            model_type: config.model_type(weights),
            semantics: Semantics::name(semantics),
            transformers_difference: difference,
            patching,
            stacks,
            parameter_count: parameters_by_part.values().sum(),
            parameters_by_part,
            parameters_by_type,
            tensors: directory
                .parameters()
                .iter()
                .map(|it| TensorRow { name: it.name.clone(), shape: it.shape() })
                .collect(),
        })
    }
}

fn stacks_of(config: &BltConfig) -> Vec<(&'static str, String)> {
    let mut stacks = vec![
        ("local encoder", describe_stack(&config.encoder)),
        ("latent transformer", describe_stack(&config.global)),
        ("local decoder", describe_stack(&config.decoder)),
    ];
    if config.hash.table_count() > 0 {
        let sizes: Vec<String> = config.hash.group_sizes.iter().map(usize::to_string).collect();
        let text = format!(
            "n-grams of {} bytes, {}, {} rows a table",
            sizes.join(", "),
            counted(config.hash.function_count, "function"),
            config.hash.rows_per_table
        );
        stacks.push(("hash tables", text));
    }
    if let Some(patcher) = &config.patcher {
        stacks.push(("entropy model", describe_stack(&patcher.transformer)));
    }
    stacks
}

fn describe_stack(stack: &TransformerConfig) -> String {
    let window = stack.window.map_or("all".to_owned(), |window| window.to_string());
    format!(
        "{} layers, width {}, {} heads of {} ({} for keys), FFN {}, window {window}, {} positions",
        stack.layer_count,
        stack.hidden_size,
        stack.head_count,
        stack.head_dim,
        stack.kv_head_count,
        stack.intermediate_size,
        stack.max_positions
    )
}

fn describe_patching(patching: &PatchingConfig) -> String {
    let mut text = patching.mode.name().to_owned();
    if patching.mode.needs_entropies() {
        let _ = write!(text, ", threshold {} nats", patching.threshold);
        if let Some(add) = patching.threshold_add {
            let _ = write!(text, ", rise {add} nats");
        }
    }
    if patching.mode.name() == "static" {
        let _ = write!(text, ", {} bytes", patching.patch_size);
    }
    if let Some(length) = patching.max_patch_length {
        let _ = write!(text, ", at most {length} bytes");
    }
    text
}

fn text(output: &Output) -> String {
    let mut lines = Vec::new();
    if let Some(card) = &output.model {
        lines.push(format!("model       {}", card.path.display()));
        let opens = match (&card.transformers_difference, card.model_type) {
            (Some(reason), _) => format!("not for transformers: {reason}"),
            (None, "blt") => "transformers computes the same".into(),
            (None, _) => "an entropy model by itself".into(),
        };
        lines.push(format!("type        {} ({opens})", card.model_type));
        lines.push(format!("semantics   {}", card.semantics));
        if let Some(patching) = &card.patching {
            lines.push(format!("patching    {patching}"));
        }
        let count = short_count(card.parameter_count as f64);
        lines.push(format!("parameters  {count} in {} tensors", card.tensors.len()));
        for (part, count) in &card.parameters_by_part {
            let shape = card.stacks.get(part).map_or("", String::as_str);
            lines.push(format!("  {part:<18} {:>14}  {shape}", grouped(*count)));
        }
        let types = card.parameters_by_type.iter();
        let types = types.map(|(weights, count)| format!("{weights} {}", grouped(*count)));
        lines.push(format!("stored as   {}", types.collect::<Vec<_>>().join(", ")));
        lines.push("tensors".into());
        for tensor in &card.tensors {
            lines.push(format!("  {} {:?}", tensor.name, tensor.shape));
        }
    }
    lines.push(format!("blt         {}", output.version));
    lines.push(format!("device      {}", output.device));
    if let Some(gflop) = output.submit_gflop {
        lines.push(format!("submission  a new one after about {gflop} GFLOP"));
    }
    lines.push("kernels".into());
    for kernel in &output.kernels {
        let variants: Vec<String> = kernel.variants.iter().map(describe_variant).collect();
        let calls = kernel.calls.as_ref().map_or(String::new(), describe_calls);
        lines.push(format!("  {:<24} {}{calls}", kernel.name, variants.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// The programs that call a kernel, each with how often.
fn describe_calls(calls: &KernelCalls) -> String {
    let KernelCalls { forward, training, patching } = *calls;
    let programs = [("forward", forward), ("training step", training), ("patching", patching)];
    let called = programs.into_iter().filter(|(_, count)| *count > 0);
    let called: Vec<_> = called.map(|(name, count)| format!("{name} {count}")).collect();
    if called.is_empty() { String::new() } else { format!("  (calls: {})", called.join(", ")) }
}

fn describe_variant(variant: &VariantRow) -> String {
    match &variant.missing {
        None => variant.name.to_owned(),
        Some(missing) => format!("{} (not here: {missing})", variant.name),
    }
}
