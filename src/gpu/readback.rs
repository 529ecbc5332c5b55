//! Reading buffers back: copy to a mappable buffer, map it, wait.
//!
//! Natively the wait blocks in `poll`, unless a host polls; in a browser the future wakes when the
//! event loop has called back. Mappable buffers are kept for the next time.

use super::ahead::{Ahead, Elements};
use super::context::Context;
use super::spare_buffers::SpareBuffers;
use crate::error::{Error, Result};
use bytemuck::Pod;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

/// What is read is numbers, or words.
pub(super) const ELEMENT_BYTES: usize = 4;

/// Most bytes that are mapped at once.
const CHUNK_BYTES: usize = 64 << 20;

/// Smallest mappable buffer that is made: scalars and rows of logits fit.
const SMALLEST_BYTES: usize = 4 << 10;

/// Most bytes of mappable buffers that are kept: the largest one, and as much beside it.
const MOST_KEPT_BYTES: u64 = 2 * CHUNK_BYTES as u64;

/// Reads buffers of one device.
pub(super) struct Readback {
    spare: SpareBuffers<wgpu::Buffer>,
}

impl Default for Readback {
    fn default() -> Self {
        Self { spare: SpareBuffers::new(MOST_KEPT_BYTES) }
    }
}

/// Regions that are on their way into a mappable buffer, one behind the other.
pub(super) struct Sent {
    regions: Vec<Elements>,
    staging: wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    mapped: Awaited,
}

impl Sent {
    /// Waits for the values of every region; the buffer is free then.
    async fn values<T: Pod>(
        self,
        context: &Context,
    ) -> Result<(Vec<Vec<T>>, Vec<Elements>, wgpu::Buffer)> {
        const { assert!(size_of::<T>() == ELEMENT_BYTES) };
        let Self { regions, staging, bytes, submission, mapped } = self;
        wait_for(context, submission, mapped).await?;
        let mut values = Vec::with_capacity(regions.len());
        {
            let view = staging.get_mapped_range(0..bytes);
            let view = view.map_err(|error| failed(context, &error.to_string()))?;
            let mut rest: &[T] = bytemuck::cast_slice(&view);
            for &(_, _, count) in &regions {
                let (own, behind) = rest.split_at(count);
                values.push(own.to_vec());
                rest = behind;
            }
        }
        staging.unmap();
        Ok((values, regions, staging))
    }
}

impl Readback {
    /// `length` elements of four bytes from element `offset` of a buffer, as they are after all
    /// work submitted before.
    ///
    /// # Errors
    /// If the device is lost or out of memory.
    pub async fn read<T: Pod>(
        &self,
        context: &Context,
        buffer: &wgpu::Buffer,
        offset: usize,
        length: usize,
    ) -> Result<Vec<T>> {
        const { assert!(size_of::<T>() == ELEMENT_BYTES) };
        let mut values = Vec::with_capacity(length);
        while values.len() < length {
            let at = (offset + values.len()) * size_of::<T>();
            let bytes = ((length - values.len()) * size_of::<T>()).min(CHUNK_BYTES);
            let staging = self.staging(context, bytes).await?;
            map_copy(context, buffer, at as u64, &staging, bytes as u64).await?;
            {
                let view = staging.get_mapped_range(0..bytes as u64);
                let view = view.map_err(|error| failed(context, &error.to_string()))?;
                values.extend_from_slice(bytemuck::cast_slice(&view));
            }
            staging.unmap();
            self.spare.keep(staging);
        }
        Ok(values)
    }

    /// Encodes what `encode` does and copies of these regions as they are then.
    ///
    /// # Errors
    /// If the device is lost or out of memory.
    pub async fn encode(
        &self,
        context: &Context,
        encode: impl FnOnce(&mut wgpu::CommandEncoder),
        regions: Vec<Elements>,
    ) -> Result<Ahead> {
        let length: usize = regions.iter().map(|(_, _, count)| count).sum();
        let staging = self.staging(context, length.max(1) * ELEMENT_BYTES).await?;
        let commands =
            context.scoped_now("readback", || commands(context, encode, &regions, &staging))?;
        Ok(Ahead { commands, regions, staging })
    }

    /// Submits what was encoded and reads its regions. Meanwhile encodes `again` with the same
    /// copies, for the next time, if there is one.
    ///
    /// # Errors
    /// If the device is lost or out of memory.
    pub async fn submit<T: Pod>(
        &self,
        context: &Context,
        ahead: Ahead,
        again: Option<impl FnOnce(&mut wgpu::CommandEncoder)>,
    ) -> Result<(Vec<Vec<T>>, Option<Ahead>)> {
        let sent = self.send(context, ahead).await?;
        let next = match again {
            Some(encode) => {
                let encode = || commands(context, encode, &sent.regions, &sent.staging);
                Some(context.scoped_now("readback", encode)?)
            }
            None => None,
        };
        let (values, regions, staging) = sent.values(context).await?;
        match next {
            Some(commands) => Ok((values, Some(Ahead { commands, regions, staging }))),
            None => {
                self.spare.keep(staging);
                Ok((values, None))
            }
        }
    }

    /// Submits what was encoded and waits for nothing; [`Self::receive`] does.
    ///
    /// # Errors
    /// If the device is lost or out of memory.
    pub async fn send(&self, context: &Context, ahead: Ahead) -> Result<Sent> {
        let bytes = (ahead.length().max(1) * ELEMENT_BYTES) as u64;
        let Ahead { commands, regions, staging } = ahead;
        let (answer, mapped) = answer();
        let submit = || {
            let submission = context.queue.submit([commands]);
            staging.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
                answer.give(result.is_ok())
            });
            submission
        };
        context.pace.turn().await;
        let submission = context.scoped("readback", submit).await?;
        context.pace.submitted(&context.queue);
        Ok(Sent { regions, staging, bytes, submission, mapped })
    }

    /// The regions of what was sent.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn receive<T: Pod>(&self, context: &Context, sent: Sent) -> Result<Vec<Vec<T>>> {
        let (values, _, staging) = sent.values(context).await?;
        self.spare.keep(staging);
        Ok(values)
    }

    /// A mappable buffer of at least so many bytes, taken out of where it is kept.
    async fn staging(&self, context: &Context, bytes: usize) -> Result<wgpu::Buffer> {
        if let Some(spare) = self.spare.take(bytes as u64) {
            return Ok(spare);
        }
        let size = bytes.next_power_of_two().max(SMALLEST_BYTES) as u64;
        let create = || {
            context.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("readback"),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        context.scoped("readback", create).await
    }
}

/// What `encode` encodes, and copies of regions to the start of `staging`, one behind the other.
fn commands(
    context: &Context,
    encode: impl FnOnce(&mut wgpu::CommandEncoder),
    regions: &[Elements],
    staging: &wgpu::Buffer,
) -> wgpu::CommandBuffer {
    let mut encoder = context.device.create_command_encoder(&Default::default());
    encode(&mut encoder);
    let bytes = |count: usize| (count * ELEMENT_BYTES) as u64;
    let mut to = 0;
    for (buffer, first, count) in regions {
        encoder.copy_buffer_to_buffer(buffer, bytes(*first), staging, to, bytes(*count));
        to += bytes(*count);
    }
    encoder.finish()
}

/// A buffer that is being mapped.
pub(super) struct Mapping {
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    mapped: Awaited,
}

/// Begins to map the first bytes of a buffer, as they are behind a submission.
pub(super) fn map(
    staging: &wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
) -> Mapping {
    let (answer, mapped) = answer();
    staging.map_async(wgpu::MapMode::Read, 0..bytes, move |result| answer.give(result.is_ok()));
    Mapping { bytes, submission, mapped }
}

impl Mapping {
    /// Waits, lends so many elements and unmaps the buffer.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn lend<T>(
        self,
        context: &Context,
        staging: &wgpu::Buffer,
        length: usize,
        look: impl FnOnce(&[f32]) -> T,
    ) -> Result<T> {
        wait_for(context, self.submission, self.mapped).await?;
        let seen = {
            let view = staging.get_mapped_range(0..self.bytes);
            let view = view.map_err(|error| failed(context, &error.to_string()))?;
            look(&bytemuck::cast_slice(&view)[..length])
        };
        staging.unmap();
        Ok(seen)
    }
}

/// Copies bytes to the start of `staging` and waits until they are mapped.
async fn map_copy(
    context: &Context,
    buffer: &wgpu::Buffer,
    at: u64,
    staging: &wgpu::Buffer,
    bytes: u64,
) -> Result<()> {
    let (answer, mapped) = answer();
    let submit = || {
        let mut encoder = context.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, at, staging, 0, bytes);
        let submission = context.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |result| answer.give(result.is_ok()));
        submission
    };
    let submission = context.scoped("readback", submit).await?;
    wait_for(context, submission, mapped).await
}

/// Waits until a submission is done and its buffer mapped.
async fn wait_for(
    context: &Context,
    submission: wgpu::SubmissionIndex,
    mapped: Awaited,
) -> Result<()> {
    if !context.pace.is_beside_host() {
        ask_often(context, &mapped)?;
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        // Blocks natively; does nothing in a browser.
        context.device.poll(wait).map_err(|error| failed(context, &error.to_string()))?;
    }
    if mapped.await { Ok(()) } else { Err(failed(context, "a buffer could not be mapped")) }
}

/// How often a thread asks for an answer before it sleeps: for some milliseconds, in which a step
/// of generation is done, whose time waking up would add to.
const ASKS: usize = 5000;

/// Asks for an answer, unless a processor computes it, until it is there or the thread had better
/// sleep.
fn ask_often(context: &Context, mapped: &Awaited) -> Result<()> {
    if cfg!(target_arch = "wasm32") || !context.caps().abilities().hardware {
        return Ok(());
    }
    for _ in 0..ASKS {
        if mapped.is_given() {
            break;
        }
        let poll = context.device.poll(wgpu::PollType::Poll);
        poll.map_err(|error| failed(context, &error.to_string()))?;
    }
    Ok(())
}

/// Waits until all work submitted so far is done.
///
/// # Errors
/// If the device is lost.
pub(super) async fn wait(context: &Context) -> Result<()> {
    context.check()?;
    let (answer, done) = answer();
    context.queue.on_submitted_work_done(move || answer.give(true));
    if !context.pace.is_beside_host() {
        let poll = context.device.poll(wgpu::PollType::wait_indefinitely());
        poll.map_err(|error| failed(context, &error.to_string()))?;
    }
    if done.await { Ok(()) } else { Err(failed(context, "submitted work was dropped")) }
}

/// Why a readback failed: the loss of the device, if it is lost.
fn failed(context: &Context, problem: &str) -> Error {
    let error = match context.check() {
        Err(found) => found,
        Ok(()) => Error::device("readback", problem),
    };
    context.or_loss(error)
}

/// The giving end of an answer.
struct Answer(Arc<Mutex<AnswerState>>);

/// The waiting end of an answer: whether it went well.
struct Awaited(Arc<Mutex<AnswerState>>);

#[derive(Default)]
struct AnswerState {
    given: Option<bool>,
    waker: Option<Waker>,
}

fn answer() -> (Answer, Awaited) {
    let state = Arc::default();
    (Answer(Arc::clone(&state)), Awaited(state))
}

impl Awaited {
    fn is_given(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).given.is_some()
    }
}

impl Answer {
    fn give(self, well: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).given = Some(well);
    }
}

impl Drop for Answer {
    /// An end that is dropped without a word answers no.
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.given.get_or_insert(false);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Awaited {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<bool> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.given {
            Some(well) => Poll::Ready(well),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_arrives_and_silence_is_a_no() {
        let poll = |awaited: Awaited| {
            let mut context = TaskContext::from_waker(Waker::noop());
            std::pin::pin!(awaited).poll(&mut context)
        };
        let (given, awaited) = answer();
        given.give(true);
        assert_eq!(poll(awaited), Poll::Ready(true));
        let (dropped, awaited) = answer();
        drop(dropped);
        assert_eq!(poll(awaited), Poll::Ready(false));
        let (_silent, awaited) = answer();
        assert_eq!(poll(awaited), Poll::Pending);
    }
}
