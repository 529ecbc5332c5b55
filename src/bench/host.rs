//! Times of single dispatches by the clock of the host.

use super::job::Clock;
use crate::cpu::{HostEngine, HostPlan};
use crate::engine::Inputs;
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::gpu::{GpuEngine, GpuPlan};
use crate::kernels::Step;

/// Milliseconds of every dispatch of one replay on the CPU engine.
///
/// # Errors
/// As [`HostEngine::replay`].
pub(super) fn dispatch_times(
    engine: &HostEngine<f32>,
    plan: &HostPlan<f32>,
    step: &Step,
    inputs: &Inputs,
    platform: &Clock,
) -> Result<Vec<Option<f64>>> {
    let mut seconds = Vec::with_capacity(plan.recording().dispatches.len() + 1);
    // Inside the pool, as `HostEngine::run` does it.
    rayon::scope(|_| {
        engine.replay(plan, step, inputs, |_| seconds.push(platform.monotonic_seconds()))
    })?;
    Ok(seconds.windows(2).map(|pair| Some((pair[1] - pair[0]) * 1e3)).collect())
}

/// Submissions whose time is at least this are long enough for the host's clock and for what a
/// submission costs by itself.
#[cfg(feature = "gpu")]
const LONG_ENOUGH_MS: f64 = 20.0;
/// Most repetitions in one pass.
#[cfg(feature = "gpu")]
const MOST_REPEATS: u32 = 4096;

/// Milliseconds of every dispatch of a plan on a device without timestamps: each is repeated in a
/// pass of its own until that takes long enough, and the cost of an empty submission is taken off.
///
/// # Errors
/// If the device fails.
#[cfg(feature = "gpu")]
pub(super) async fn repeated_times(
    engine: &GpuEngine,
    plan: &GpuPlan,
    step: &Step,
    inputs: &Inputs,
    platform: &Clock,
) -> Result<Vec<Option<f64>>> {
    use crate::engine::Engine;
    engine.run(plan, step, inputs)?;
    engine.wait().await?;
    let mut times = Vec::new();
    for index in 0..plan.recording().dispatches.len() {
        let mut count = 1;
        let empty_ms = timed(platform, engine.repeat(plan, index..index, 1)).await?;
        let time = loop {
            let ms = timed(platform, engine.repeat(plan, index..index + 1, count)).await?;
            if ms - empty_ms >= LONG_ENOUGH_MS || count >= MOST_REPEATS {
                break ((ms - empty_ms) / f64::from(count)).max(0.0);
            }
            let wanted = LONG_ENOUGH_MS * 1.2 / (ms - empty_ms).max(1e-3) * f64::from(count);
            count = (wanted.ceil() as u32).clamp(count * 2, MOST_REPEATS);
        };
        times.push((time > 0.0).then_some(time));
    }
    Ok(times)
}

/// Milliseconds until a future is done.
#[cfg(feature = "gpu")]
pub(super) async fn timed(platform: &Clock, work: impl Future<Output = Result<()>>) -> Result<f64> {
    let begin = platform.monotonic_seconds();
    work.await?;
    Ok((platform.monotonic_seconds() - begin) * 1e3)
}
