//! The job that writes: what the model adds to the text, byte by byte.

use super::desk::Desk;
use super::models::Models;
use super::pump::Idle;
use blt_wgpu::Result;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{ModelSource, OnLimit, Stops, TextStream};
use blt_wgpu::gpu::GpuEngine;
use std::cell::RefCell;
use std::time::Instant;

/// Writes whenever that is wanted, until the device is lost.
pub async fn job(engine: &GpuEngine, models: &Models, desk: &RefCell<Desk>, idle: &Idle) {
    loop {
        idle.until(|| desk.borrow().writing.is_wanted.then_some(())).await;
        let done = write(engine, models, desk).await;
        let mut desk = desk.borrow_mut();
        desk.writing.is_wanted = false;
        desk.writing.began = None;
        if let Err(error) = done {
            desk.problem = Some(error.to_string());
            if error.is_loss() {
                return;
            }
        }
    }
}

/// How bytes are chosen at a temperature.
pub fn sampling(temperature: f32) -> SamplingOptions {
    let top_p = if temperature > 0.0 { 0.95 } else { 0.0 };
    SamplingOptions { temperature, top_p, ..SamplingOptions::default() }
}

async fn write(engine: &GpuEngine, models: &Models, desk: &RefCell<Desk>) -> Result<()> {
    let (prompt, options, seed, count) = {
        let mut desk = desk.borrow_mut();
        desk.writing.written = 0;
        desk.writing.begins_at = desk.text.len();
        let writing = &desk.writing;
        let options = sampling(writing.temperature);
        (desk.text.clone(), options, writing.seed, writing.byte_count)
    };
    let source = ModelSource::new(engine, &models.loaded, Sampler::new(options, seed)?).await?;
    let stops = Stops { count: Some(count), strings: Vec::new() };
    let mut stream = TextStream::new(source, &stops, OnLimit::Slide)?;
    stream.push(prompt.as_bytes());
    stream.prefill().await?;
    let began = Instant::now();
    desk.borrow_mut().writing.began = Some(began);
    while let Some(piece) = stream.step().await? {
        let mut desk = desk.borrow_mut();
        let is_wanted = desk.writing.is_wanted;
        let piece = if is_wanted { piece.text } else { piece.text + &stream.cancel().text };
        desk.append(&piece);
        desk.writing.written += piece.len();
        let seconds = began.elapsed().as_secs_f32().max(1e-3);
        desk.writing.bytes_per_second = desk.writing.written as f32 / seconds;
        if !is_wanted {
            break;
        }
    }
    Ok(())
}
