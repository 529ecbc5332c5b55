//! Models with fresh weights on a device.

use super::shape::BenchShape;
use crate::blt::config::{ModelConfig, WeightType};
use crate::blt::{HALVES, LoadedModel, TableUpdates, WeightTypes, halves_recording};
use crate::device::Device;
use crate::engine::{Engine, Inputs};
use crate::error::Result;
use crate::graph::Precision;
use crate::kernels::{Counts, Step};

/// The model of a shape; `config` is its own or one that differs in how text is cut.
///
/// # Errors
/// If the device has not the memory, or a tensor exceeds one binding.
pub(super) async fn fresh_model(
    device: &Device,
    shape: &BenchShape,
    config: ModelConfig,
    training: Option<TableUpdates>,
    precision: Precision,
) -> Result<LoadedModel<Device>> {
    let model = match training {
        None => LoadedModel::create_in(device, config, false, precision).await?,
        Some(updates) => LoadedModel::create_to_train(device, config, precision, updates).await?,
    };
    initialise(device, shape, model).await
}

/// The same to be read only, its weights of this type and without copies in f16: as the commands
/// load a model.
///
/// # Errors
/// As [`fresh_model`].
pub(super) async fn fresh_packed_model(
    device: &Device,
    shape: &BenchShape,
    config: ModelConfig,
    weights: WeightType,
    precision: Precision,
) -> Result<LoadedModel<Device>> {
    let types = WeightTypes::uniform(&config, weights);
    let mut model = LoadedModel::create_packed(device, config, &types).await?;
    model.compute_in(device, precision)?;
    initialise(device, shape, model).await
}

async fn initialise(
    device: &Device,
    shape: &BenchShape,
    model: LoadedModel<Device>,
) -> Result<LoadedModel<Device>> {
    shape.model.initialise(device, &model)?;
    if !model.layout.arenas_of(HALVES).is_empty() {
        let halves = device.compile(&model.store, halves_recording(&model.layout)).await?;
        device.run(&halves, &Step::of(Counts::default()), &Inputs::default())?;
    }
    Ok(model)
}
