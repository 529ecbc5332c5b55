//! Generation with a shape: texts of random bytes, which streams with caches read and go on with.
//!
//! What they go on with is pushed: a byte that is pushed costs what one that is chosen costs,
//! logits and choice included, and the text is the same everywhere. Where the configuration has an
//! entropy model it cuts the text as it grows, at the threshold that makes patches of
//! [`PATCH_BYTES`]; its weights are random.

use super::fresh::fresh_packed_model;
use super::job::Clock;
use super::shape::BenchShape;
use super::timing::Patience;
use crate::blt::config::{
    EntropyConfig, ModelConfig, PatchingMode, ReferenceEntropyKeys, WeightType,
};
use crate::blt::patching::{Patching, PatchingMode as Mode};
use crate::blt::{LoadedDirectory, LoadedModel, WeightTypes};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::eval::Patcher;
use crate::generate::sampling::{Sampler, SamplingOptions};
use crate::generate::{StreamId, Streams};
use crate::graph::Precision;
use crate::random::Random;
use crate::text::BYTE_OFFSET;

/// Bytes of the prompt, and bytes behind it: those of the peer.
pub(super) const PROMPT_BYTES: usize = 64;
pub(super) const NEW_BYTES: usize = 64;
/// Bytes of a long prompt.
pub(super) const LONG_PROMPT_BYTES: usize = 2048;
/// Streams at the same time.
pub(super) const STREAM_COUNT: usize = 64;
/// Where in a text a byte is early, and where late.
const EARLY: usize = 100;
const LATE: usize = 8000;
/// Bytes of a patch, about: those of the released models.
const PATCH_BYTES: f64 = 4.5;
/// What the random text is for, in the streams of a seed.
const TEXT_STREAM: u64 = 0x7465_7874;

/// A model that generates.
pub(super) struct Generating<'d> {
    device: &'d Device,
    directory: LoadedDirectory<Device>,
    text: Vec<u32>,
}

/// How long it took, a number a repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct GenerationTimes {
    /// Until the first byte of all: plans are compiled and variants checked on the way.
    pub first_byte_ms: f64,
    /// Until a prompt is read.
    pub prefill_ms: Vec<f64>,
    pub long_prefill_ms: Vec<f64>,
    /// All bytes behind a prompt.
    pub decode_ms: Vec<f64>,
    /// The same of many streams together.
    pub streams_ms: Vec<f64>,
    /// Dispatches of a byte, on average.
    pub dispatches: f64,
    /// Milliseconds of a byte early and late in a text; `None` if it would have taken too long.
    pub early_late_ms: Option<[f64; 2]>,
}

/// One repetition.
struct Once {
    prefill_ms: f64,
    decode_ms: f64,
    /// Of the bytes behind the prompt.
    dispatches: u64,
}

impl<'d> Generating<'d> {
    /// Fresh weights on a device; the precision is that of prompts.
    ///
    /// # Errors
    /// If the device has not the memory, or the model has not the positions.
    pub async fn new(
        device: &'d Device,
        shape: &BenchShape,
        precision: Precision,
        weights: WeightType,
    ) -> Result<Self> {
        let mut random = Random::new(0, TEXT_STREAM);
        let length = LATE + NEW_BYTES + 1;
        let text: Vec<u32> = (0..length).map(|_| BYTE_OFFSET + random.below(256) as u32).collect();
        let mut config = shape.model.config.clone();
        make_room(&mut config);
        let mut patcher = None;
        if let (ModelConfig::Blt(blt), Some(entropy)) = (&mut config, entropy_config(shape)?) {
            blt.attach_patcher(entropy.clone());
            let mut config = ModelConfig::Entropy(entropy);
            make_room(&mut config);
            // As a conversion leaves it: blocks are not for what decides about patches.
            let of_patcher = if weights.is_blocks() { WeightType::F32 } else { weights };
            let types = WeightTypes::uniform(&config, of_patcher);
            let model = LoadedModel::create_packed(device, config, &types).await?;
            model.initialise(device, 1)?;
            blt.patching.mode = PatchingMode::Entropy;
            blt.patching.threshold = threshold(device, &model, &text).await?.into();
            patcher = Some(model);
        }
        let model = fresh_packed_model(device, shape, config, weights, precision).await?;
        device.wait().await?;
        Ok(Self { device, directory: LoadedDirectory { model, patcher }, text })
    }

    /// Generates again and again.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if somebody wants to stop, or if the device is lost.
    pub async fn times(&self, clock: &Clock, patience: Patience) -> Result<GenerationTimes> {
        let mut times = GenerationTimes::default();
        let begin = clock.monotonic_seconds();
        let mut solo = Streams::new(self.device, &self.directory, 1).await?;
        self.once(&mut solo, clock, 1, 1).await?;
        times.first_byte_ms = (clock.monotonic_seconds() - begin) * 1e3;
        // Once for the plans that the first byte has not needed.
        self.once(&mut solo, clock, 1, NEW_BYTES).await?;
        let (mut dispatches, mut bytes) = (0, 0);
        self.repeat(
            clock,
            patience,
            async |times: &mut GenerationTimes| {
                let once = self.once(&mut solo, clock, 1, NEW_BYTES).await?;
                times.prefill_ms.push(once.prefill_ms);
                times.decode_ms.push(once.decode_ms);
                dispatches += once.dispatches;
                bytes += NEW_BYTES;
                Ok(())
            },
            &mut times,
        )
        .await?;
        times.dispatches = dispatches as f64 / bytes as f64;
        self.prefill(&mut solo, clock, LONG_PROMPT_BYTES).await?;
        self.repeat(
            clock,
            patience,
            async |times: &mut GenerationTimes| {
                let ms = self.prefill(&mut solo, clock, LONG_PROMPT_BYTES).await?;
                times.long_prefill_ms.push(ms);
                Ok(())
            },
            &mut times,
        )
        .await?;
        let mut many = Streams::new(self.device, &self.directory, STREAM_COUNT).await?;
        self.once(&mut many, clock, STREAM_COUNT, NEW_BYTES).await?;
        self.repeat(
            clock,
            patience,
            async |times: &mut GenerationTimes| {
                let once = self.once(&mut many, clock, STREAM_COUNT, NEW_BYTES).await?;
                times.streams_ms.push(once.decode_ms);
                Ok(())
            },
            &mut times,
        )
        .await?;
        drop(many);
        let long_ms = times.long_prefill_ms[0] * (LATE / LONG_PROMPT_BYTES) as f64;
        if long_ms < 1e3 * patience.seconds {
            let early = self.bytes_at(&mut solo, clock, EARLY).await?;
            times.early_late_ms = Some([early, self.bytes_at(&mut solo, clock, LATE).await?]);
        }
        Ok(times)
    }

    /// Repeats a measurement until there are enough samples, or the time is over; once at least.
    async fn repeat(
        &self,
        clock: &Clock,
        patience: Patience,
        mut measure: impl AsyncFnMut(&mut GenerationTimes) -> Result<()>,
        times: &mut GenerationTimes,
    ) -> Result<()> {
        let begin = clock.monotonic_seconds();
        for count in 0..patience.sample_count.max(1) {
            if clock.is_stop_requested() {
                return Err(Error::Cancelled);
            }
            if count > 0 && clock.monotonic_seconds() - begin > patience.seconds {
                break;
            }
            measure(times).await?;
        }
        Ok(())
    }

    /// Reads the prompts of so many streams, and so many bytes behind them.
    async fn once(
        &self,
        streams: &mut Streams<'_, Device>,
        clock: &Clock,
        stream_count: usize,
        byte_count: usize,
    ) -> Result<Once> {
        let mut ids = Vec::new();
        for index in 0..stream_count {
            let text = &self.text[index * PROMPT_BYTES..];
            let id = streams.open(&text[..PROMPT_BYTES], sampler()?)?;
            streams.push(id, &text[PROMPT_BYTES..PROMPT_BYTES + byte_count])?;
            ids.push(id);
        }
        let begin = clock.monotonic_seconds();
        read_prompts(streams).await?;
        self.device.wait().await?;
        let prefilled = clock.monotonic_seconds();
        let before = streams.dispatch_count();
        step(streams, byte_count).await?;
        let end = clock.monotonic_seconds();
        ids.into_iter().for_each(|id| streams.close(id));
        Ok(Once {
            prefill_ms: (prefilled - begin) * 1e3,
            decode_ms: (end - prefilled) * 1e3,
            dispatches: streams.dispatch_count() - before,
        })
    }

    /// Milliseconds of reading a prompt of so many bytes.
    async fn prefill(
        &self,
        streams: &mut Streams<'_, Device>,
        clock: &Clock,
        length: usize,
    ) -> Result<f64> {
        let begin = clock.monotonic_seconds();
        let id = self.read(streams, length).await?;
        self.device.wait().await?;
        let end = clock.monotonic_seconds();
        streams.close(id);
        Ok((end - begin) * 1e3)
    }

    /// Milliseconds of a byte behind so many.
    async fn bytes_at(
        &self,
        streams: &mut Streams<'_, Device>,
        clock: &Clock,
        length: usize,
    ) -> Result<f64> {
        let id = self.read(streams, length).await?;
        streams.push(id, &self.text[length..length + NEW_BYTES])?;
        // Once for plans and caches that have grown.
        step(streams, NEW_BYTES / 4).await?;
        let begin = clock.monotonic_seconds();
        step(streams, NEW_BYTES / 2).await?;
        let end = clock.monotonic_seconds();
        streams.close(id);
        Ok((end - begin) * 1e3 / (NEW_BYTES / 2) as f64)
    }

    async fn read(&self, streams: &mut Streams<'_, Device>, length: usize) -> Result<StreamId> {
        let id = streams.open(&self.text[..length], sampler()?)?;
        read_prompts(streams).await?;
        Ok(id)
    }
}

async fn read_prompts(streams: &mut Streams<'_, Device>) -> Result<()> {
    match streams.prefill().await?.pop() {
        None => Ok(()),
        Some((_, error)) => Err(error),
    }
}

async fn step(streams: &mut Streams<'_, Device>, count: usize) -> Result<()> {
    for _ in 0..count {
        for (_, added) in streams.step().await? {
            added?;
        }
    }
    Ok(())
}

fn sampler() -> Result<Sampler> {
    Sampler::new(SamplingOptions::default(), 0)
}

/// The threshold above which one in [`PATCH_BYTES`] entropies of a text lies.
async fn threshold(device: &Device, model: &LoadedModel<Device>, text: &[u32]) -> Result<f32> {
    let patching = Patching::new(Mode::Entropy { threshold: 0.0 });
    let mut patcher = Patcher::new(device, patching, Some(model))?;
    let mut entropies = patcher.entropies(&text[..LONG_PROMPT_BYTES]).await?;
    entropies.sort_by(f32::total_cmp);
    Ok(entropies[(entropies.len() as f64 * (1.0 - 1.0 / PATCH_BYTES)) as usize])
}

/// Positions for the longest text, one patch a byte.
fn make_room(config: &mut ModelConfig) {
    let stacks = match config {
        ModelConfig::Entropy(config) => vec![&mut config.transformer],
        ModelConfig::Blt(config) => {
            vec![&mut config.encoder, &mut config.global, &mut config.decoder]
        }
    };
    for stack in stacks {
        stack.max_positions = stack.max_positions.max(LATE + NEW_BYTES + 2);
    }
}

/// The entropy model of a configuration, if it has one.
fn entropy_config(shape: &BenchShape) -> Result<Option<EntropyConfig>> {
    if shape.run.entropy_model.is_empty() {
        return Ok(None);
    }
    let keys = ReferenceEntropyKeys::from_table(shape.run.entropy_model.clone())?;
    Ok(Some(keys.into_config()?.config))
}
