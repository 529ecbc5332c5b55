//! Reading parts of a Store while the replay that writes them goes on.
//!
//! The replay is submitted in pieces, behind each of which a range is copied to one of a few
//! mappable buffers. The host takes the oldest while the device works on those behind it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::context::Context;
use super::plan::GpuPlan;
use super::readback::{ELEMENT_BYTES, Mapping, map};
use super::store::GpuStore;
use crate::engine::{EarlyRead, Inputs, TakeRead};
use crate::error::Result;
use crate::kernels::Step;

/// Buffers that the device writes and the host reads at the same time.
const RING_LENGTH: usize = 4;

/// Mappable buffers that are kept for the next time.
#[derive(Default)]
pub(super) struct StagingRing {
    spare: Mutex<Vec<wgpu::Buffer>>,
}

/// A range on its way to the host.
struct OnTheWay {
    index: usize,
    length: usize,
    staging: wgpu::Buffer,
    mapping: Mapping,
}

impl StagingRing {
    /// Replays a plan and reads ranges of a Store on the way, as
    /// [`Engine::run_reading`](crate::engine::Engine::run_reading) says.
    ///
    /// # Errors
    /// As a replay, or what `take` says.
    pub async fn replay(
        &self,
        context: &Context,
        plan: &GpuPlan,
        store: &GpuStore,
        (step, inputs): (&Step, &Inputs),
        reads: &[EarlyRead],
        take: &mut TakeRead<'_>,
    ) -> Result<()> {
        let _under_way = plan.begin()?;
        plan.upload(context, step, inputs)?;
        let longest = reads.iter().map(|read| read.length).max().unwrap_or(0);
        let mut on_the_way = VecDeque::with_capacity(RING_LENGTH);
        let mut done = 0;
        for (index, read) in reads.iter().enumerate() {
            if on_the_way.len() == RING_LENGTH
                && let Some(oldest) = on_the_way.pop_front()
            {
                self.take(context, oldest, take).await?;
            }
            let staging = self.staging(context, longest).await?;
            let from = store.range(read.arena, read.offset, read.length);
            let bytes = |count: usize| (count * ELEMENT_BYTES) as u64;
            let (offset, length) = (bytes(read.offset), bytes(read.length));
            let behind = read.behind.max(done);
            let submission = plan.submit(context, done..behind, |encoder| {
                encoder.copy_buffer_to_buffer(from, offset, &staging, 0, length);
            })?;
            done = behind;
            let mapping = map(&staging, length, submission);
            on_the_way.push_back(OnTheWay { index, length: read.length, staging, mapping });
        }
        let rest = done..plan.launches().len();
        if !rest.is_empty() {
            plan.submit(context, rest, |_| {})?;
        }
        for oldest in on_the_way {
            self.take(context, oldest, take).await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        context: &Context,
        oldest: OnTheWay,
        take: &mut TakeRead<'_>,
    ) -> Result<()> {
        let OnTheWay { index, length, staging, mapping } = oldest;
        mapping.lend(context, &staging, length, |values| take(index, values.into())).await??;
        self.lock().push(staging);
        Ok(())
    }

    async fn staging(&self, context: &Context, length: usize) -> Result<wgpu::Buffer> {
        let size = (length * ELEMENT_BYTES) as u64;
        let spare = self.lock().pop();
        if let Some(spare) = spare.filter(|spare| spare.size() >= size) {
            return Ok(spare);
        }
        let create = || {
            context.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("gradients"),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        context.scoped("gradients", create).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<wgpu::Buffer>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
