//! Generation with a shape: a prompt of random bytes, then the likeliest byte after the other.
//!
//! Where the configuration has an entropy model it cuts the text as it grows, as the peer does it;
//! its weights are random, so that about every byte is a patch of its own.

use super::fresh::fresh_model;
use super::job::Clock;
use super::shape::BenchShape;
use super::timing::Patience;
use crate::blt::config::{
    DEFAULT_PATCHING_THRESHOLD, EntropyConfig, ModelConfig, PatchingMode, ReferenceEntropyKeys,
};
use crate::blt::{LoadedDirectory, LoadedModel};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::generate::sampling::{Sampler, SamplingOptions};
use crate::generate::{ModelSource, OnLimit, Stops, TextStream};
use crate::graph::Precision;
use crate::random::Random;
use crate::text::{BYTE_OFFSET, EOS_ID};

/// Bytes of the prompt, and bytes that are generated: those of the peer.
pub(super) const PROMPT_BYTES: usize = 64;
pub(super) const NEW_BYTES: usize = 64;
/// What the random prompt is for, in the streams of a seed.
const PROMPT_STREAM: u64 = 0x70_726f_6d70;

/// A model that generates.
pub(super) struct Generating<'d> {
    device: &'d Device,
    directory: LoadedDirectory<Device>,
    prompt: Vec<u32>,
}

/// How long it took, a number a repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct GenerationTimes {
    /// Until the logits of the first byte of all: plans are compiled and variants checked on the
    /// way.
    pub first_byte_ms: f64,
    /// Until the logits of the first new byte.
    pub prefill_ms: Vec<f64>,
    /// All bytes after the first.
    pub decode_ms: Vec<f64>,
}

impl<'d> Generating<'d> {
    /// Fresh weights on a device.
    ///
    /// # Errors
    /// If the device has not the memory, or the model has not the positions.
    pub async fn new(device: &'d Device, shape: &BenchShape, precision: Precision) -> Result<Self> {
        let mut config = shape.model.config.clone();
        make_room(&mut config);
        let mut patcher = None;
        if let (ModelConfig::Blt(blt), Some(entropy)) = (&mut config, entropy_config(shape)?) {
            blt.patching.mode = PatchingMode::Entropy;
            blt.patching.threshold = DEFAULT_PATCHING_THRESHOLD;
            blt.attach_patcher(entropy.clone());
            let mut config = ModelConfig::Entropy(entropy);
            make_room(&mut config);
            let model = LoadedModel::create(device, config, false).await?;
            model.initialise(device, 1)?;
            patcher = Some(model);
        }
        let model = fresh_model(device, shape, config, None, precision).await?;
        let mut random = Random::new(0, PROMPT_STREAM);
        let prompt = (0..PROMPT_BYTES).map(|_| BYTE_OFFSET + random.below(256) as u32).collect();
        device.wait().await?;
        Ok(Self { device, directory: LoadedDirectory { model, patcher }, prompt })
    }

    /// Generates again and again.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if somebody wants to stop, or if the device is lost.
    pub async fn times(&self, clock: &Clock, patience: Patience) -> Result<GenerationTimes> {
        let [first_byte_ms, _] = self.once(clock).await?;
        let begin = clock.monotonic_seconds();
        let mut times = GenerationTimes { first_byte_ms, ..GenerationTimes::default() };
        while times.decode_ms.len() < patience.sample_count.max(1) {
            if clock.is_stop_requested() {
                return Err(Error::Cancelled);
            }
            let late = clock.monotonic_seconds() - begin > patience.seconds;
            if late && !times.decode_ms.is_empty() {
                break;
            }
            let [prefill_ms, decode_ms] = self.once(clock).await?;
            times.prefill_ms.push(prefill_ms);
            times.decode_ms.push(decode_ms);
        }
        Ok(times)
    }

    async fn once(&self, clock: &Clock) -> Result<[f64; 2]> {
        let options = SamplingOptions { banned_ids: vec![EOS_ID], ..SamplingOptions::default() };
        let sampler = Sampler::new(options, 0)?;
        let begin = clock.monotonic_seconds();
        let source = ModelSource::new(self.device, &self.directory, sampler).await?;
        let stops = Stops { count: Some(NEW_BYTES), ..Stops::default() };
        let mut stream = TextStream::new(source, &stops, OnLimit::Error)?;
        stream.push_ids(&self.prompt)?;
        stream.prefill().await?;
        let prefilled = clock.monotonic_seconds();
        while stream.step().await?.is_some() {}
        let end = clock.monotonic_seconds();
        Ok([(prefilled - begin) * 1e3, (end - prefilled) * 1e3])
    }
}

/// Positions for the prompt and what follows it, one patch a byte.
fn make_room(config: &mut ModelConfig) {
    let stacks = match config {
        ModelConfig::Entropy(config) => vec![&mut config.transformer],
        ModelConfig::Blt(config) => {
            vec![&mut config.encoder, &mut config.global, &mut config.decoder]
        }
    };
    for stack in stacks {
        stack.max_positions = stack.max_positions.max(PROMPT_BYTES + NEW_BYTES + 1);
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
