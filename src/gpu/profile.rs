//! How long each dispatch of a plan takes on the device, by its own clock.
//!
//! A profiled replay gives every dispatch a pass of its own with a timestamp at either end, so
//! nothing overlaps: the sum is more than the time of an ordinary replay.

use super::context::Context;
use super::engine::GpuEngine;
use super::launch::{self, Launch};
use super::plan::GpuPlan;
use crate::engine::Inputs;
use crate::error::{Error, Result};
use crate::kernels::Step;
use std::ops::Range;

/// Most dispatches between two queries: a query set holds two timestamps of each.
const QUERY_DISPATCHES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

impl GpuEngine {
    /// Replays a plan and gives the milliseconds of each of its dispatches, in order: zero for one
    /// without workgroups, `None` where the device's clock was not read or went backwards. Browsers
    /// round to 0.1 ms.
    ///
    /// # Errors
    /// If the device has no timestamps, or as [`Engine::run`](crate::engine::Engine::run).
    pub async fn profile(
        &self,
        plan: &GpuPlan,
        step: &Step,
        inputs: &Inputs,
    ) -> Result<Vec<Option<f64>>> {
        let context = &self.context;
        if !context.caps().timestamps {
            return Err(Error::device(context.caps().id(), "the device has no timestamps"));
        }
        plan.upload(context, step, inputs)?;
        let name = &plan.recording().name;
        let period_ms = f64::from(context.queue.get_timestamp_period()) * 1e-6;
        let mut times_ms = Vec::new();
        for launches in plan.launches().chunks(QUERY_DISPATCHES) {
            let resolved = context.scoped(name, || submit_timed(context, launches)).await?;
            let words: Vec<u32> =
                self.readback.read(context, &resolved, 0, launches.len() * 4).await?;
            times_ms.extend(launches.iter().zip(words.chunks_exact(4)).map(|(launch, words)| {
                let tick = |at: usize| u64::from(words[at]) | u64::from(words[at + 1]) << 32;
                match launch.groups.contains(&0) {
                    true => Some(0.0),
                    false => elapsed(tick(0), tick(2)).map(|ticks| ticks as f64 * period_ms),
                }
            }));
        }
        Ok(times_ms)
    }

    /// Encodes dispatches of a plan `count` times in one pass, with the step and the inputs of its
    /// last replay: for timing what is too short to be timed once.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn encode_repeated(
        &self,
        plan: &GpuPlan,
        range: Range<usize>,
        count: u32,
    ) -> Result<Encoded> {
        let (context, launches) = (&self.context, &plan.launches()[range]);
        context.scoped_now(&plan.recording().name, || {
            let mut encoder = context.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in 0..count {
                launch::encode(launches, &mut pass);
            }
            drop(pass);
            Encoded(encoder.finish())
        })
    }

    /// Submits what was encoded and waits for it.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn run_encoded(&self, encoded: Encoded) -> Result<()> {
        self.context.scoped_now("encoded", || self.context.queue.submit([encoded.0]))?;
        self.wait().await
    }
}

/// Dispatches that are ready to be submitted.
pub struct Encoded(wgpu::CommandBuffer);

/// Ticks between two readings of the device's clock; `None` where it was not read or went back.
fn elapsed(begin: u64, end: u64) -> Option<u64> {
    (begin != 0 && end != 0).then(|| end.checked_sub(begin)).flatten()
}

/// Submits launches in a pass each; the buffer holds start and end of each as 64-bit ticks.
fn submit_timed(context: &Context, launches: &[Launch]) -> wgpu::Buffer {
    let count = launches.len() as u32 * 2;
    let queries = context.device.create_query_set(&wgpu::QuerySetDescriptor {
        label: Some("profile"),
        ty: wgpu::QueryType::Timestamp,
        count,
    });
    let resolved = context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("profile"),
        size: u64::from(count) * 8,
        usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let mut encoder = context.device.create_command_encoder(&Default::default());
    for (index, launch) in launches.iter().enumerate() {
        let first = index as u32 * 2;
        let descriptor = wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(first),
                end_of_pass_write_index: Some(first + 1),
            }),
        };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        launch::encode(std::slice::from_ref(launch), &mut pass);
    }
    encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
    context.queue.submit([encoder.finish()]);
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_or_goes_backwards_gives_no_time() {
        assert_eq!(elapsed(5, 12), Some(7));
        assert_eq!(elapsed(5, 5), Some(0));
        assert_eq!(elapsed(12, 5), None);
        assert_eq!([elapsed(0, 5), elapsed(5, 0)], [None, None]);
    }
}
