//! The gradients of one row by name, as tests and `blt logits --grads` look at them.

use super::tables::Row;
use super::{Batch, LoadedModel, PlanSlot, TRAIN_NATS, training_graph};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::Step;

/// Mean nats of the weighted targets of a row. Afterwards the gradient of that mean lies in the
/// Store, under [`gradient_name`](crate::graph::gradient_name) of every parameter.
///
/// The model was created with room for training and has not been trained since: gradients are
/// added to what is there.
///
/// # Errors
/// A row that contradicts itself or has no target with a weight; a device that has not the memory.
pub async fn loss_and_gradients<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    row: Row,
) -> Result<f64> {
    let batch = Batch::new(&model.config, &[row])?;
    if batch.target_count <= 0.0 {
        return Err(Error::input("loss", "expected at least one target, got none")
            .with_hint("a loss needs two ids or more"));
    }
    let mut micro = PlanSlot::new("micro", training_graph);
    let plan = micro.get(engine, model, &batch.counts).await?;
    let loss_weight = (1.0 / batch.target_count) as f32;
    let step = Step { loss_weight, ..Step::of(batch.counts) };
    engine.run(plan, &step, &batch.inputs)?;
    let nats = model.read(engine, TRAIN_NATS).await?;
    Ok(f64::from(nats[0]) / batch.target_count)
}
