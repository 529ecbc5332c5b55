//! How long a dispatch takes by itself: repeated in one pass until the clock of the host is sure.

use super::isolate::Isolated;
use super::job::Clock;
use super::samples::median;
use crate::device::{Device, DevicePlan, DeviceStore};
use crate::engine::{Engine, Inputs};
use crate::error::{Error, Result};
use crate::graph::StoreLayout;
use crate::kernels::Step;
use std::ops::Range;

/// A sample lasts at least so long: what a submission costs by itself, and the quantum of any
/// clock, is little beside it.
const SAMPLE_MS: f64 = 20.0;
/// Most dispatches in one sample.
const MOST_DISPATCHES: usize = 1 << 15;
/// Work before the first sample: a GPU that idled while shaders were compiled and results compared
/// runs up to four times slower for a while.
const WARM_UP_SECONDS: f64 = 0.4;
/// Submissions of nothing, of which the middle one is taken off every sample.
const EMPTY_COUNT: usize = 7;

/// How many samples to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub sample_count: usize,
    /// Seconds after which no further sample is begun; there is one at least.
    pub seconds: f64,
    /// Milliseconds of one dispatch beyond which the first sample is enough.
    pub enough_ms: f64,
}

/// A dispatch on a device, ready to be timed.
pub(super) struct Timing<'d> {
    device: &'d Device,
    plan: DevicePlan,
    isolated: Isolated,
    // The arenas of an empty Store, which plans are compiled over.
    _store: DeviceStore,
}

impl<'d> Timing<'d> {
    /// Compiles, and gives the buffers their contents.
    ///
    /// # Errors
    /// If the device has not the memory, or refuses a shader.
    pub async fn new(device: &'d Device, isolated: Isolated) -> Result<Self> {
        let store = device.create_store(&StoreLayout::default()).await?;
        let plan = device.compile(&store, isolated.recording.clone()).await?;
        device.run(&plan, &isolated.step, &isolated.inputs)?;
        device.wait().await?;
        Ok(Self { device, plan, isolated, _store: store })
    }

    /// Milliseconds of one dispatch, a number a sample.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if somebody wants to stop, or if the device is lost.
    pub async fn samples(&self, clock: &Clock, patience: Patience) -> Result<Vec<f64>> {
        let range = self.isolated.first..self.isolated.recording.dispatches.len();
        let empty_ms = self.empty_ms(clock).await?;
        let most = MOST_DISPATCHES.div_ceil(range.len());
        let mut count = 1;
        loop {
            let ms = self.repeated_ms(clock, range.clone(), count).await? - empty_ms;
            if ms >= SAMPLE_MS || count >= most {
                break;
            }
            let wanted = (SAMPLE_MS * 1.2 / ms.max(1e-3) * count as f64).ceil() as usize;
            count = wanted.clamp(count + 1, count * 100).min(most);
        }
        if self.device.abilities().hardware {
            let begin = clock.monotonic_seconds();
            while clock.monotonic_seconds() - begin < WARM_UP_SECONDS {
                self.repeated_ms(clock, range.clone(), count).await?;
            }
        }
        let begin = clock.monotonic_seconds();
        let mut samples = Vec::new();
        while samples.len() < patience.sample_count.max(1) {
            if clock.is_stop_requested() {
                return Err(Error::Cancelled);
            }
            if !samples.is_empty() && clock.monotonic_seconds() - begin > patience.seconds {
                break;
            }
            let ms = self.repeated_ms(clock, range.clone(), count).await? - empty_ms;
            if ms <= 0.0 {
                let problem = "the clock says that it took no time";
                return Err(Error::device(self.device.name(), problem));
            }
            samples.push(ms / (count * range.len()) as f64);
            if samples[0] > patience.enough_ms {
                break;
            }
        }
        Ok(samples)
    }

    /// What a submission costs by itself; on the CPU engine next to nothing.
    async fn empty_ms(&self, clock: &Clock) -> Result<f64> {
        let mut samples = Vec::new();
        for _ in 0..EMPTY_COUNT {
            samples.push(self.repeated_ms(clock, 0..0, 1).await?);
        }
        Ok(median(&samples).unwrap_or(0.0))
    }

    async fn repeated_ms(&self, clock: &Clock, range: Range<usize>, count: usize) -> Result<f64> {
        let (step, inputs) = (&self.isolated.step, &self.isolated.inputs);
        let count = u32::try_from(count).expect("few repetitions");
        self.device.repeated_ms(&self.plan, step, inputs, clock, (range, count)).await
    }
}

/// Milliseconds of the single dispatches of a plan that was just replayed with this step and these
/// inputs, for devices without timestamps; `None` where even the most repetitions take no time.
///
/// # Errors
/// If the device is lost.
pub(super) async fn repeated_dispatch_times(
    (device, plan): (&Device, &DevicePlan),
    dispatch_count: usize,
    step: &Step,
    inputs: &Inputs,
    clock: &Clock,
) -> Result<Vec<Option<f64>>> {
    let repeated = async |range: Range<usize>, count: u32| {
        device.repeated_ms(plan, step, inputs, clock, (range, count)).await
    };
    let empty_ms = repeated(0..0, 1).await?;
    let mut times = Vec::new();
    for index in 0..dispatch_count {
        let (mut count, mut ms) = (1, 0.0);
        while count <= MOST_DISPATCHES as u32 {
            ms = repeated(index..index + 1, count).await? - empty_ms;
            if ms >= SAMPLE_MS {
                break;
            }
            count *= 4;
        }
        let count = count.min(MOST_DISPATCHES as u32);
        times.push((ms > 0.0).then_some(ms / f64::from(count)));
    }
    Ok(times)
}
