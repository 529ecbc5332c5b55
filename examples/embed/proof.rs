//! What a script has to have shown: the numbers of the library where nothing shares the device, and
//! frames that did not wait for whole steps.

use super::Anything;
use super::desk::Desk;
use super::frames::Frames;
use super::models::{Models, Part};
use super::options::Options;
use super::script::{SEED, Script, TEMPERATURE, TYPED};
use super::writing::sampling;
use blt_wgpu::blt::LoadedModel;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::eval::Patcher;
use blt_wgpu::generate::sampling::Sampler;
use blt_wgpu::generate::{ModelSource, OnLimit, Stops, TextStream};
use blt_wgpu::gpu::{DeviceKind, GpuEngine, wgpu};
use blt_wgpu::text::encode;
use blt_wgpu::train::{AdamW, Trainer};
use pollster::block_on;
use std::time::Instant;

/// On hardware no more than one frame in a hundred takes longer while models learn: 30 frames a
/// second.
const MOST_P99_MS: f32 = 33.0;
/// Steps that are timed; the first one compiles.
const TIMED_STEPS: usize = 4;

/// Compares, prints one line of JSON, and fails where something is not as it has to be. `engine`
/// waits for the device and knows nothing of the app.
pub fn check(
    engine: &GpuEngine,
    desk: &Desk,
    (script, frames): (&Script, &Frames),
    options: &Options,
) -> Anything<()> {
    let models = Models::load(engine, options)?;
    let mut failures = Vec::new();
    let mut expect = |is_so: bool, what: &str| {
        if !is_so {
            failures.push(what.to_owned());
        }
    };
    let (text, written) = block_on(written(engine, &models, options.write_count))?;
    expect(
        text == script.written,
        &format!("written beside frames: {:?}, alone: {text:?}", script.written),
    );
    expect(written > 0, "nothing was written");
    let losses = &desk.learning.losses;
    expect(losses.len() == options.step_count, "not all steps were learned");
    let (first, last) =
        (mean(&losses[..losses.len().min(3)]), mean(&losses[losses.len().saturating_sub(3)..]));
    expect(last < first || options.model.is_some(), "the loss does not fall");

    // What is drawn has never been on the host; by what is on the host the text was cut.
    let drawn = desk.scored.buffer.as_ref().ok_or("nothing was scored")?;
    let drawn = read(engine, drawn)?;
    expect(
        drawn == desk.scored.entropies,
        "the entropies that are drawn are not those of the text",
    );
    let bytes = desk.scored.text.len();
    expect(
        desk.text == desk.scored.text && desk.text.starts_with(TYPED),
        "the text is another one",
    );
    expect(desk.starts.len() == bytes && desk.starts[0], "the text was not cut");

    let step_ms = step_ms(engine, &models, options)?;
    let budget_ms = options.budget.as_secs_f64() * 1e3;
    // A step that a few frames have time for may be done in a few frames.
    if step_ms > 6.0 * budget_ms {
        for step in &script.steps {
            let times = &frames.times_ms[step.clone()];
            let (longest, all) =
                (times.iter().copied().fold(0.0, f32::max), times.iter().sum::<f32>());
            let problem = format!("a frame of {longest:.1} ms in a step of {all:.1}");
            expect(times.len() > 3 && longest < all / 2.0, &problem);
        }
    }
    let figures = script.learning_frames;
    if engine.context().caps().kind != DeviceKind::Software {
        expect(figures.p99 < MOST_P99_MS, &format!("99 % of frames below {:.1} ms", figures.p99));
    }
    println!(
        "{{\"device\": \"{}\", \"bytes\": {bytes}, \"patches\": {}, \"written\": {written}, \
         \"first_loss\": {first:.4}, \"last_loss\": {last:.4}, \"step_alone_ms\": {step_ms:.2}, \
         \"step_beside_frames_ms\": {:.2}, \"frames_while_learning\": {}, \"median_ms\": {:.2}, \
         \"p99_ms\": {:.2}, \"longest_ms\": {:.2}}}",
        engine.context().caps().id(),
        desk.patch_count(),
        desk.learning.step_ms,
        figures.count,
        figures.median,
        figures.p99,
        figures.longest,
    );
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n       ").into()),
    }
}

/// What a model writes behind the typed text, and how many bytes that are.
async fn written(
    engine: &GpuEngine,
    models: &Models,
    count: usize,
) -> blt_wgpu::Result<(String, usize)> {
    let sampler = Sampler::new(sampling(TEMPERATURE), SEED)?;
    let source = ModelSource::new(engine, &models.loaded, sampler).await?;
    let stops = Stops { count: Some(count), strings: Vec::new() };
    let mut stream = TextStream::new(source, &stops, OnLimit::Slide)?;
    stream.push(TYPED.as_bytes());
    let mut text = String::new();
    while let Some(piece) = stream.step().await? {
        text += &piece.text;
    }
    let length = text.len();
    Ok((text, length))
}

/// A buffer of the app's, by the app's own means.
fn read(engine: &GpuEngine, buffer: &wgpu::Buffer) -> Anything<Vec<f32>> {
    let (device, queue) = (engine.context().device(), engine.context().queue());
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("proof"),
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    Ok(bytemuck::cast_slice(&staging.get_mapped_range(..)?).to_vec())
}

/// Milliseconds of a step of learning where nothing is drawn; the fastest, so that whoever disturbs
/// does not help.
fn step_ms(engine: &GpuEngine, models: &Models, options: &Options) -> Anything<f64> {
    let part = models.part(options.part);
    let mut patcher = match options.part {
        Part::Model => Patcher::of(engine, &models.loaded)?,
        Part::Entropy => None,
    };
    let mut rows = Vec::new();
    for text in models.corpus[..options.batch_bytes].chunks(256) {
        let tokens = encode(text, true, false);
        let lengths = match &mut patcher {
            Some(patcher) => block_on(patcher.cut(&tokens[..tokens.len() - 1]))?.patch_lengths,
            None => Vec::new(),
        };
        rows.push(Row::from_tokens(tokens, lengths));
    }
    let batch = part.batch(&rows)?;
    let model = block_on(LoadedModel::create(engine, part.config.clone(), true))?;
    model.initialise(engine, 1)?;
    let mut trainer = block_on(Trainer::new(engine, model, &AdamW::default()))?;
    let mut fastest = f64::INFINITY;
    for index in 0..TIMED_STEPS {
        let began = Instant::now();
        block_on(trainer.micro(&batch, (1.0 / batch.target_count) as f32))?;
        trainer.update(1e-3)?;
        block_on(trainer.take_nats())?;
        if index > 0 {
            fastest = fastest.min(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(fastest)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}
