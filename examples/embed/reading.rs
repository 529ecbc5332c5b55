//! The job that reads: entropies of the text on the desk, as often as it changes.

use super::desk::{Desk, Scored};
use super::models::Models;
use super::pump::Idle;
use blt_wgpu::Result;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{LoadedModel, PlanSlot, entropies_graph};
use blt_wgpu::engine::Engine;
use blt_wgpu::eval::bits_per_byte::{Window, windows};
use blt_wgpu::gpu::{GpuEngine, wgpu};
use blt_wgpu::kernels::Step;
use blt_wgpu::text::encode;
use std::cell::RefCell;

/// Reads until the device is lost.
pub async fn job(engine: &GpuEngine, models: &Models, desk: &RefCell<Desk>, idle: &Idle) {
    let mut plan = PlanSlot::new("entropies", entropies_graph);
    loop {
        let changed = || {
            let desk = desk.borrow();
            let scored = (desk.scored.edit_count, desk.scored.weights_count);
            let now = (desk.edit_count, desk.weights_count);
            (scored != now).then(|| (desk.text.clone(), now))
        };
        let (text, (edit_count, weights_count)) = idle.until(changed).await;
        let mut scored = Scored { text, edit_count, weights_count, ..Scored::default() };
        let done = match models.loaded.entropy_model() {
            Some(model) => read(engine, model, &mut plan, &mut scored).await,
            None => Ok(()),
        };
        let mut desk = desk.borrow_mut();
        if let Err(error) = done {
            desk.problem = Some(error.to_string());
            if error.is_loss() {
                return;
            }
        }
        desk.scored = scored;
        desk.cut();
    }
}

/// Entropies of a text, which stay on the device for those who draw, and a copy for those who cut.
async fn read(
    engine: &GpuEngine,
    model: &LoadedModel<GpuEngine>,
    plan: &mut PlanSlot<GpuEngine>,
    scored: &mut Scored,
) -> Result<()> {
    let ids = encode(scored.text.as_bytes(), true, false);
    let kept = buffer(engine, ids.len());
    for window in windows(ids.len(), context(model)) {
        let Window { start, end, score_from } = window;
        let ids = ids[start..end].to_vec();
        let (targets, weights) = (vec![0; ids.len()], vec![0.0; ids.len()]);
        let batch = model.batch(&[Row { ids, targets, weights, patch_lengths: Vec::new() }])?;
        let step = Step::of(batch.counts);
        let plan = plan.get(engine, model, &batch.counts).await?;
        let reading = engine.begin(plan, &step, &batch.inputs, &["entropies"]).await?;
        // Behind the replay and before the next one: a copy on the device, for the tiles.
        let region = engine.output_region(plan, "entropies", &step)?;
        let bytes = |count: usize| count as u64 * 4;
        let from = region.offset_bytes + bytes(score_from - start);
        let device = engine.context().device();
        let mut encoder = device.create_command_encoder(&Default::default());
        let (to, length) = (bytes(score_from), bytes(end - score_from));
        encoder.copy_buffer_to_buffer(&region.buffer, from, &kept, to, length);
        engine.context().queue().submit([encoder.finish()]);
        let entropies = reading.finish().await?.swap_remove(0);
        scored.entropies.extend(&entropies[score_from - start..]);
    }
    scored.buffer = Some(kept);
    Ok(())
}

fn buffer(engine: &GpuEngine, length: usize) -> wgpu::Buffer {
    let usage =
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
    engine.context().device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("entropies of the text"),
        size: length.max(1) as u64 * 4,
        usage,
        mapped_at_creation: false,
    })
}

/// Positions of the entropy model.
fn context(model: &LoadedModel<GpuEngine>) -> usize {
    match &model.config {
        ModelConfig::Entropy(config) => config.transformer.max_positions,
        ModelConfig::Blt(config) => config.encoder.max_positions,
    }
}
