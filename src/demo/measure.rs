//! Which shape fits a device: ten measured steps, and the work that plans say they are.

use super::rows::packed_rows;
use super::shape::Shape;
use super::training::Training;
use crate::blt::config::ModelConfig;
use crate::blt::{LoadedModel, training_graph};
use crate::engine::Engine;
use crate::error::Result;
use crate::graph::compile;
use crate::kernels::{Axis, Counts};
use crate::random::Random;

/// Steps that are measured.
const MEASURED_STEPS: usize = 10;
/// A shape is chosen only if it can read the text this often.
const MIN_EPOCHS: f64 = 3.5;
/// Ids of the text that are read for it.
const MEASURED_IDS: usize = 1 << 16;

/// The largest shape that can read the text often enough in `seconds` of training.
pub(super) async fn choose_shape<E: Engine>(
    engine: &E,
    clock: &dyn Fn() -> f64,
    ids: &[u32],
    seconds: f64,
) -> Result<Shape> {
    let shapes = Shape::all();
    let smallest = shapes[0].clone();
    let bytes_per_second = measured_speed(engine, clock, ids, &smallest).await?;
    let base = work_per_byte(engine, &smallest).await?;
    let mut chosen = smallest;
    for shape in shapes {
        let predicted = bytes_per_second * base / work_per_byte(engine, &shape).await? * seconds;
        if predicted >= MIN_EPOCHS * ids.len() as f64 {
            chosen = shape;
        }
    }
    Ok(chosen)
}

/// Bytes a second of training the BLT of a shape, on static patches.
async fn measured_speed<E: Engine>(
    engine: &E,
    clock: &dyn Fn() -> f64,
    ids: &[u32],
    shape: &Shape,
) -> Result<f64> {
    let model = LoadedModel::create(engine, ModelConfig::Blt(shape.blt_config()), true).await?;
    model.initialise(engine, 0)?;
    let ids = &ids[..ids.len().min(MEASURED_IDS)];
    let mut lengths = vec![1];
    let rest = ids.len() as u32 - 1;
    lengths.extend(std::iter::repeat_n(4, (rest / 4) as usize));
    lengths.extend((!rest.is_multiple_of(4)).then_some(rest % 4));
    let rows = packed_rows(ids, &lengths, shape)?;
    let (batch_bytes, rate) = (shape.batch_bytes, shape.blt_learning_rate);
    let random = Random::new(0, 0);
    let training = Training::new(engine, model, rows, batch_bytes, rate, random, clock());
    let mut training = training.await?;
    // The first step compiles.
    training.step().await?;
    training.wait().await?;
    let (before, bytes_before) = (clock(), training.byte_count);
    for _ in 0..MEASURED_STEPS {
        training.step().await?;
    }
    training.wait().await?;
    Ok((training.byte_count - bytes_before) as f64 / (clock() - before).max(1e-6))
}

/// Floating-point operations a byte of training, by the plan.
async fn work_per_byte<E: Engine>(engine: &E, shape: &Shape) -> Result<f64> {
    let config = ModelConfig::Blt(shape.blt_config());
    let counts = Counts::default()
        .with(Axis::Bytes, shape.batch_bytes)
        .with(Axis::Patches, shape.batch_bytes * 2 / 9)
        .with(Axis::ByteRows, 64)
        .with(Axis::HashRows, shape.batch_bytes);
    let model = LoadedModel::create(engine, config, true).await?;
    let recording = compile(training_graph(&model.config)?, "measure", &model.layout, counts)?;
    Ok(recording.cost(&counts).flops as f64 / shape.batch_bytes as f64)
}
