//! How long dispatches take on whichever device it is, for the benchmark.

use super::{Device, DevicePlan};
use crate::engine::Inputs;
use crate::error::Result;
use crate::kernels::Step;
use crate::platform::Platform;
use std::ops::Range;

/// The time of every dispatch of one replay.
#[derive(Clone, Debug, PartialEq)]
pub struct DispatchTimes {
    /// The clock that was read, and how.
    pub method: &'static str,
    /// In milliseconds; `None` where the device's clock gave none.
    pub times_ms: Vec<Option<f64>>,
}

impl Device {
    /// Milliseconds of some dispatches of a plan, run `count` times one after the other, by the
    /// clock of the host. They run with the step and the inputs of the plan's last replay, which
    /// these are.
    ///
    /// # Errors
    /// If the device is lost; on the CPU engine, as [`Engine::run`](crate::engine::Engine::run).
    pub async fn repeated_ms(
        &self,
        plan: &DevicePlan,
        step: &Step,
        inputs: &Inputs,
        clock: &(dyn Platform + Sync),
        (range, count): (Range<usize>, u32),
    ) -> Result<f64> {
        match (self, plan) {
            (Self::Cpu(engine), DevicePlan::Cpu(plan)) => {
                // Inside the pool, as in a replay.
                rayon::scope(|_| {
                    let begin = clock.monotonic_seconds();
                    for _ in 0..count {
                        engine.run_range(plan, step, inputs, range.clone(), |_| {})?;
                    }
                    Ok((clock.monotonic_seconds() - begin) * 1e3)
                })
            }
            #[cfg(feature = "gpu")]
            (Self::Gpu(engine), DevicePlan::Gpu(plan)) => {
                // Encoded already when the clock starts.
                let encoded = engine.encode_repeated(plan, range, count)?;
                let begin = clock.monotonic_seconds();
                engine.run_encoded(encoded).await?;
                Ok((clock.monotonic_seconds() - begin) * 1e3)
            }
            #[cfg(feature = "gpu")]
            _ => unreachable!("a plan is timed on the device that made it"),
        }
    }

    /// Replays a plan and times each of its dispatches; `None` where there is no clock for single
    /// dispatches, on a GPU without timestamps: nothing has run then.
    ///
    /// # Errors
    /// As [`Engine::run`](crate::engine::Engine::run).
    pub async fn dispatch_times(
        &self,
        plan: &DevicePlan,
        step: &Step,
        inputs: &Inputs,
        clock: &(dyn Platform + Sync),
    ) -> Result<Option<DispatchTimes>> {
        match (self, plan) {
            (Self::Cpu(engine), DevicePlan::Cpu(plan)) => {
                let mut seconds = Vec::with_capacity(plan.recording().dispatches.len() + 1);
                // Inside the pool, as `HostEngine::run` does it.
                rayon::scope(|_| {
                    engine.replay(plan, step, inputs, |_| seconds.push(clock.monotonic_seconds()))
                })?;
                let times_ms = seconds.windows(2).map(|pair| Some((pair[1] - pair[0]) * 1e3));
                Ok(Some(DispatchTimes { method: "host clock", times_ms: times_ms.collect() }))
            }
            #[cfg(feature = "gpu")]
            (Self::Gpu(engine), DevicePlan::Gpu(plan)) => {
                if !engine.context().caps().timestamps {
                    return Ok(None);
                }
                let times_ms = engine.profile(plan, step, inputs).await?;
                let method = "timestamps, a pass for every dispatch";
                Ok(Some(DispatchTimes { method, times_ms }))
            }
            #[cfg(feature = "gpu")]
            _ => unreachable!("a plan is profiled on the device that made it"),
        }
    }
}
