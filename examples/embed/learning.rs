//! The job that learns: steps of training of one of the models, whose weights the others see.
//!
//! The trainer has a Store of its own, with gradients and moments. After a step its weights are
//! copied on the device to the Store from which texts are read and written.

use super::desk::Desk;
use super::models::{Models, Part};
use super::pump::Idle;
use blt_wgpu::blt::patching::first_patch_of_one;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{LoadedModel, Precision, TableUpdates};
use blt_wgpu::engine::{Engine, StoreCopy};
use blt_wgpu::eval::{PreparedScore, ScoreOptions, Scorer};
use blt_wgpu::gpu::GpuEngine;
use blt_wgpu::random::Random;
use blt_wgpu::text::encode;
use blt_wgpu::train::{AdamW, Trainer};
use blt_wgpu::{Error, Result};
use std::cell::RefCell;
use std::time::Instant;

/// Bytes of a row of a batch: windows of the models of a demo are shorter.
const ROW_BYTES: usize = 256;
/// How the entropies of a batch are computed: all rows in one replay.
const SCORING: ScoreOptions = ScoreOptions { context: ROW_BYTES, batch_bytes: 1 << 16 };

/// Learns whenever that is wanted, until the device is lost.
pub async fn job(engine: &GpuEngine, models: &Models, desk: &RefCell<Desk>, idle: &Idle) {
    let mut lesson = None;
    let mut random = Random::new(7, 0);
    loop {
        let wanted = || {
            let desk = desk.borrow();
            (desk.learning.wanted_steps > 0).then_some(desk.learning.part)
        };
        let part = idle.until(wanted).await;
        desk.borrow_mut().learning.is_busy = true;
        let done = step(engine, models, desk, part, &mut lesson, &mut random).await;
        let mut desk = desk.borrow_mut();
        desk.learning.is_busy = false;
        let learning = &mut desk.learning;
        if learning.wanted_steps != usize::MAX {
            learning.wanted_steps = learning.wanted_steps.saturating_sub(1);
        }
        if let Err(error) = done {
            desk.learning.wanted_steps = 0;
            desk.problem = Some(error.to_string());
            lesson = None;
            if error.is_loss() {
                return;
            }
        }
    }
}

/// A model that is being trained.
struct Lesson<'a> {
    part: Part,
    trainer: Trainer<'a, GpuEngine>,
    /// Copies of all weights from the trainer's Store to that of the others.
    back: Vec<StoreCopy>,
    /// What cuts its rows.
    scorer: Scorer<GpuEngine>,
}

/// One step of the optimiser.
async fn step<'a>(
    engine: &'a GpuEngine,
    models: &Models,
    desk: &RefCell<Desk>,
    part: Part,
    lesson: &mut Option<Lesson<'a>>,
    random: &mut Random,
) -> Result<()> {
    if lesson.as_ref().is_none_or(|lesson| lesson.part != part) {
        *lesson = Some(begin(engine, models, part).await?);
        desk.borrow_mut().learning.losses.clear();
    }
    let Some(lesson) = lesson else { unreachable!("it was made above") };
    let began = Instant::now();
    let (text, learning_rate) = {
        let desk = desk.borrow();
        let text = if desk.learning.learns_text { desk.text.as_bytes() } else { &models.corpus };
        (excerpts(text, models.batch_bytes, random), desk.learning.learning_rate)
    };
    let rows = rows(engine, models, lesson, &text).await?;
    let (model, Lesson { trainer, back, .. }) = (models.part(part), lesson);
    let batch = model.batch(&rows)?;
    trainer.micro(&batch, (1.0 / batch.target_count) as f32).await?;
    trainer.update(learning_rate)?;
    let nats = trainer.take_nats().await?;
    engine.copy(&trainer.settled()?.store, &model.store, back)?;
    let mut desk = desk.borrow_mut();
    desk.weights_count += 1;
    desk.learning.losses.push((nats / batch.target_count / std::f64::consts::LN_2) as f32);
    desk.learning.step_ms = began.elapsed().as_secs_f32() * 1e3;
    Ok(())
}

/// A trainer with the weights of a model.
async fn begin<'a>(engine: &'a GpuEngine, models: &Models, part: Part) -> Result<Lesson<'a>> {
    let known = models.part(part);
    let (config, updates) = (known.config.clone(), TableUpdates::Dense);
    let model = LoadedModel::create_to_train(engine, config, Precision::F32, updates).await?;
    engine.copy(&known.store, &model.store, &weights(known, &model)?)?;
    let back = weights(&model, known)?;
    let adamw = AdamW { beta2: 0.98, ..AdamW::default() };
    let trainer = Trainer::new(engine, model, &adamw).await?;
    Ok(Lesson { part, trainer, back, scorer: Scorer::new(SCORING) })
}

/// Copies of every parameter from one model into another of the same shape.
fn weights(from: &LoadedModel<GpuEngine>, to: &LoadedModel<GpuEngine>) -> Result<Vec<StoreCopy>> {
    let mut copies = Vec::new();
    for spec in &to.parameters {
        let (source, target) = (from.layout.require(&spec.name)?, to.layout.require(&spec.name)?);
        if source.weights != target.weights || source.shards.len() != target.shards.len() {
            return Err(Error::model(&spec.name, "it lies otherwise where it is to be copied"));
        }
        for (source, target) in source.shards.iter().zip(&target.shards) {
            copies.push(StoreCopy {
                from: (source.arena, source.offset),
                to: (target.arena, target.offset),
                length: source.rows * spec.cols,
            });
        }
    }
    Ok(copies)
}

/// Pieces of a text at random places, of so many bytes together.
fn excerpts(text: &[u8], byte_count: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let length = ROW_BYTES.min(text.len());
    let mut excerpts = Vec::new();
    for _ in 0..(byte_count / length.max(1)).clamp(1, byte_count / 64) {
        let start = random.below((text.len() - length + 1) as u64) as usize;
        excerpts.push(text[start..start + length].to_vec());
    }
    excerpts
}

/// A row of each text, cut into patches for a model that reads patches.
async fn rows(
    engine: &GpuEngine,
    models: &Models,
    lesson: &mut Lesson<'_>,
    texts: &[Vec<u8>],
) -> Result<Vec<Row>> {
    let tokens: Vec<_> = texts.iter().map(|text| encode(text, true, false)).collect();
    if tokens.iter().any(|tokens| tokens.len() < 2) {
        return Err(Error::input("text to learn", "it is empty"));
    }
    if lesson.part == Part::Entropy {
        return Ok(tokens.into_iter().map(|it| Row::from_tokens(it, Vec::new())).collect());
    }
    let ids: Vec<&[u32]> = tokens.iter().map(|tokens| &tokens[..tokens.len() - 1]).collect();
    let mut entropies = vec![Vec::new(); ids.len()];
    let patching = models.patching();
    if let Some(model) = models.loaded.entropy_model().filter(|_| patching.mode.needs_entropies()) {
        for windows in PreparedScore::of(&model.config, &ids, SCORING)? {
            lesson.scorer.run(engine, model, &windows, &mut entropies).await?;
        }
    }
    let lengths = ids.iter().zip(&entropies).map(|(ids, entropies)| {
        patching.patch_lengths(ids, entropies).map(|lengths| first_patch_of_one(&lengths))
    });
    let lengths = lengths.collect::<Result<Vec<_>>>()?;
    let rows = tokens.into_iter().zip(lengths);
    Ok(rows.map(|(tokens, lengths)| Row::from_tokens(tokens, lengths)).collect())
}
