//! Which shape fits a device: ten measured steps of each model, and the work that plans say they
//! are.

use super::budget::{Budget, Extent, MEASURED_STEPS, Speeds, median};
use super::rows::{entropy_rows, packed_rows};
use super::shape::Shape;
use super::training::Training;
use crate::blt::config::ModelConfig;
use crate::blt::tables::Row;
use crate::blt::{LoadedModel, training_graph};
use crate::engine::Engine;
use crate::error::Result;
use crate::graph::compile;
use crate::kernels::{Axis, Counts};
use crate::random::Random;

/// A shape is chosen only if it can read the text this often.
const MIN_EPOCHS: f64 = 3.5;
/// Ids of the text that are read for measuring.
pub(super) const MEASURED_IDS: usize = 1 << 16;

/// Speeds of training at the smallest shape. `ids` are the beginning of the text.
pub(super) async fn measure<E: Engine>(
    engine: &E,
    clock: &dyn Fn() -> f64,
    ids: &[u32],
) -> Result<Speeds> {
    let shape = Shape::all().remove(0);
    let entropy = ModelConfig::Entropy(shape.entropy_config());
    let rows = entropy_rows(ids, &shape)?;
    let entropy = seconds_per_byte(engine, clock, entropy, rows, &shape).await?;
    let blt = ModelConfig::Blt(shape.blt_config());
    let rows = packed_rows(ids, &static_lengths(ids.len()), &shape)?;
    let blt = seconds_per_byte(engine, clock, blt, rows, &shape).await?;
    Ok(Speeds { entropy, blt })
}

/// The largest shape that can read the text often enough in the time there is, and its speeds.
/// `measured` are those of the smallest.
pub(super) async fn choose_shape<E: Engine>(
    engine: &E,
    measured: Speeds,
    budget: &Budget,
    all: Extent,
) -> Result<(Shape, Speeds)> {
    let shapes = Shape::all();
    let entropy = |shape: &Shape| ModelConfig::Entropy(shape.entropy_config());
    let blt = |shape: &Shape| ModelConfig::Blt(shape.blt_config());
    let mut chosen = (shapes[0].clone(), measured);
    let base = (
        work_per_byte(engine, entropy(&shapes[0]), &shapes[0]).await?,
        work_per_byte(engine, blt(&shapes[0]), &shapes[0]).await?,
    );
    for shape in shapes.into_iter().skip(1) {
        let speeds = Speeds {
            entropy: measured.entropy * work_per_byte(engine, entropy(&shape), &shape).await?
                / base.0,
            blt: measured.blt * work_per_byte(engine, blt(&shape), &shape).await? / base.1,
        };
        let byte_count = budget.blt_seconds(speeds, all) / speeds.blt.max(1e-12);
        if byte_count >= MIN_EPOCHS * all.train_bytes as f64 {
            chosen = (shape, speeds);
        }
    }
    Ok(chosen)
}

/// Patches of four, for a BLT that is only measured.
fn static_lengths(id_count: usize) -> Vec<u32> {
    let rest = id_count as u32 - 1;
    let mut lengths = vec![1];
    lengths.extend(std::iter::repeat_n(4, (rest / 4) as usize));
    lengths.extend((!rest.is_multiple_of(4)).then_some(rest % 4));
    lengths
}

/// The median of ten steps. The step before them, which compiles, is not counted.
async fn seconds_per_byte<E: Engine>(
    engine: &E,
    clock: &dyn Fn() -> f64,
    config: ModelConfig,
    rows: Vec<Row>,
    shape: &Shape,
) -> Result<f64> {
    let model = LoadedModel::create(engine, config, true).await?;
    model.initialise(engine, 0)?;
    let (batch_bytes, rate) = (shape.batch_bytes, shape.blt_learning_rate);
    let training = Training::new(engine, model, rows, batch_bytes, rate, Random::new(0, 0), 0.0);
    let mut training = training.await?;
    training.step().await?;
    training.wait().await?;
    let mut measured = Vec::new();
    for _ in 0..MEASURED_STEPS {
        let before = training.byte_count;
        let seconds = training.timed_step(clock).await?;
        measured.push(seconds / (training.byte_count - before).max(1) as f64);
    }
    Ok(median(&measured))
}

/// Floating-point operations a byte of training, by the plan.
async fn work_per_byte<E: Engine>(engine: &E, config: ModelConfig, shape: &Shape) -> Result<f64> {
    let counts = Counts::default()
        .with(Axis::Bytes, shape.batch_bytes)
        .with(Axis::Patches, shape.batch_bytes * 2 / 9)
        .with(Axis::ByteRows, 64)
        .with(Axis::HashRows, shape.batch_bytes);
    let model = LoadedModel::create(engine, config, true).await?;
    let recording = compile(training_graph(&model.config)?, "measure", &model.layout, counts)?;
    Ok(recording.cost(&counts).flops as f64 / shape.batch_bytes as f64)
}
