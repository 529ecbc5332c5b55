//! `blt logits`: what a model computes, as a file of tensors.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::failure::Usage;
use super::model::{self, Purpose};
use super::numbers::{Ids, Numbers, counted};
use super::terminal::Terminal;
use super::weights::WeightsArgument;
use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{
    LoadedDirectory, PlanSlot, config::ModelConfig, forward_graph, loss_and_gradients,
};
use blt_wgpu::checkpoint::atomic_write;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::eval::Patcher;
use blt_wgpu::graph::gradient_name;
use blt_wgpu::kernels::Step;
use blt_wgpu::text::{EOS_ID, VOCABULARY_SIZE};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::path::PathBuf;

/// Write logits, patch lengths, entropies and gradients of a row of ids
///
/// The file holds `logits [N, 260]`, `patch_lengths`, `entropies [N]` where the model has an
/// entropy model, and with --grads `loss` (mean next-byte cross-entropy of rows 0 to N-2, nats) and
/// `grad.<name>` for every tensor of the model but those of its entropy model.
#[derive(clap::Args)]
#[command(
    after_help = "Example: blt logits --model DIR --ids 1,76,105,112 --out logits.safetensors"
)]
pub struct Arguments {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Ids, taken as they are: a byte plus 4; a text begins with 1
    #[arg(long, value_name = "1,2,..", allow_hyphen_values = true)]
    ids: Ids,
    /// Patch lengths that sum to N + 1, or to N; the model's own if left out
    #[arg(long, value_name = "1,1,3", allow_hyphen_values = true)]
    patch_lengths: Option<Numbers>,
    /// Compute the loss and its gradients too
    #[arg(long, conflicts_with_all = ["weights", "tables"])]
    grads: bool,
    #[command(flatten)]
    weights: WeightsArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let ids = &arguments.ids.0;
    if ids.is_empty() {
        let problem = "--ids: expected at least one id, got none";
        return Err(Usage::new(problem, "for example --ids 1,76,105,112").into());
    }
    if arguments.grads && ids.len() < 2 {
        let problem = "--ids: expected at least 2 with --grads, got 1";
        return Err(Usage::new(problem, "a loss needs an id to predict").into());
    }
    let given = arguments.patch_lengths.as_ref().map(|lengths| with_next(&lengths.0, ids.len()));
    let given = given.transpose().map_err(|error| Usage::of("--patch-lengths", &error))?;
    let device = arguments.device.open(terminal)?;
    let purpose = match arguments.grads {
        true => Purpose::Training,
        false => Purpose::Reading(arguments.weights.options()),
    };
    let loaded = model::load(&arguments.model, &device, purpose, terminal)?;
    let is_patched = matches!(loaded.model.config, ModelConfig::Blt(_));
    if given.is_some() && !is_patched {
        let problem = "--patch-lengths was given, and an entropy model reads no patches";
        return Err(Usage::new(problem, "leave it out").into());
    }
    let tensors = pollster::block_on(compute(&device, &loaded, ids, given, arguments.grads))?;
    warn_of_distrusted(&device, &mut 0, terminal);
    write(&tensors, &arguments.out)?;
    let (count, out) = (counted(tensors.len(), "tensor"), arguments.out.display());
    terminal.note(&format!("{count} in {out} ({})", device.name()));
    Ok(())
}

/// Lengths that count the virtual token: those that sum to the ids end one later.
fn with_next(lengths: &[u32], id_count: usize) -> blt_wgpu::Result<Vec<u32>> {
    // Some programs end a row with a patch of nothing; here the last patch has the next id.
    let mut lengths = lengths.to_vec();
    let sum: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    if sum == id_count as u64
        && let Some(last) = lengths.last_mut()
    {
        *last += 1;
    } else if sum != id_count as u64 + 1 {
        let problem =
            format!("expected a sum of {} (ids + 1) or {id_count}, got {sum}", id_count + 1);
        return Err(Error::input("patch lengths", problem));
    }
    match lengths.iter().position(|&length| length == 0) {
        Some(index) => {
            let problem = format!("expected at least 1 at {index}, got 0");
            Err(Error::input("patch lengths", problem))
        }
        None if lengths[0] != 1 => {
            let problem = format!("expected 1 as the first, got {}", lengths[0]);
            Err(Error::input("patch lengths", problem))
        }
        None => Ok(lengths),
    }
}

/// A tensor on its way to the file.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    values: Values,
}

enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

impl Tensor {
    fn f32(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self { name: name.into(), shape, values: Values::F32(values) }
    }
}

async fn compute(
    device: &Device,
    loaded: &LoadedDirectory<Device>,
    ids: &[u32],
    given: Option<Vec<u32>>,
    grads: bool,
) -> blt_wgpu::Result<Vec<Tensor>> {
    let model = &loaded.model;
    let count = ids.len();
    let mut tensors = Vec::new();
    let mut patch_lengths = Vec::new();
    if let Some(mut patcher) = Patcher::of(device, loaded)? {
        let entropies = patcher.entropies(ids).await?;
        patch_lengths = match given {
            Some(lengths) => lengths,
            None => patcher.lengths(ids, &entropies)?,
        };
        if !entropies.is_empty() {
            tensors.push(Tensor::f32("entropies", vec![count], entropies));
        }
        let values = Values::I64(patch_lengths.iter().map(|&length| length.into()).collect());
        let shape = vec![patch_lengths.len()];
        tensors.push(Tensor { name: "patch_lengths".into(), shape, values });
    }
    let row = Row {
        ids: ids.to_vec(),
        targets: ids[1..].iter().copied().chain([EOS_ID]).collect(),
        weights: (1..=count).map(|next| if next < count { 1.0 } else { 0.0 }).collect(),
        patch_lengths,
    };
    let batch = model.batch(std::slice::from_ref(&row))?;
    let step = Step::of(batch.counts);
    let mut forward = PlanSlot::new("forward", forward_graph);
    let plan = forward.get(device, model, &batch.counts).await?;
    device.run(plan, &step, &batch.inputs)?;
    let logits = device.output(plan, "logits", &step).await?;
    tensors.push(Tensor::f32("logits", vec![count, VOCABULARY_SIZE as usize], logits));
    if matches!(model.config, ModelConfig::Entropy(_)) {
        let entropies = device.output(plan, "entropies", &step).await?;
        tensors.push(Tensor::f32("entropies", vec![count], entropies));
    }
    if grads {
        let loss = loss_and_gradients(device, model, row).await?;
        tensors.push(Tensor::f32("loss", vec![1], vec![loss as f32]));
        for parameter in &model.parameters {
            let values = model.read(device, &gradient_name(&parameter.name)).await?;
            let name = format!("grad.{}", parameter.name);
            tensors.push(Tensor::f32(name, parameter.shape(), values));
        }
    }
    Ok(tensors)
}

fn write(tensors: &[Tensor], path: &std::path::Path) -> anyhow::Result<()> {
    let bytes: Vec<(Dtype, Vec<u8>)> = tensors
        .iter()
        .map(|tensor| match &tensor.values {
            Values::F32(values) => {
                (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Values::I64(values) => {
                (Dtype::I64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        })
        .collect();
    let mut views = Vec::with_capacity(tensors.len());
    for (tensor, (dtype, bytes)) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(*dtype, tensor.shape.clone(), bytes)
            .with_context(|| format!("the tensor {} has another size", tensor.name))?;
        views.push((tensor.name.as_str(), view));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(views, Some(metadata)).context("cannot lay tensors out")?;
    Ok(atomic_write(path, |out| out.write_all(&file))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_the_next_id() {
        assert_eq!(with_next(&[1, 1, 3], 4).unwrap(), [1, 1, 3]);
        assert_eq!(with_next(&[1, 1, 2], 4).unwrap(), [1, 1, 3]);
        assert_eq!(with_next(&[1, 3, 0], 4).unwrap(), [1, 3, 1]);
        for bad in [&[1, 1, 1][..], &[1, 1, 4], &[], &[u32::MAX, 6]] {
            let error = with_next(bad, 4).unwrap_err().to_string();
            assert!(error.starts_with("patch lengths: expected a sum of 5 (ids + 1) or 4"));
        }
    }
}
