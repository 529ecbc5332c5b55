//! Models with fresh weights on a device.

use super::shape::BenchShape;
use crate::blt::config::ModelConfig;
use crate::blt::{HALVES, LoadedModel, TableUpdates, halves_recording};
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
    shape.model.initialise(device, &model)?;
    if !model.layout.arenas_of(HALVES).is_empty() {
        let halves = device.compile(&model.store, halves_recording(&model.layout)).await?;
        device.run(&halves, &Step::of(Counts::default()), &Inputs::default())?;
    }
    Ok(model)
}
