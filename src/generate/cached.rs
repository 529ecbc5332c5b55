//! A text of its own among the streams that keep caches.

use super::added::Added;
use super::sampling::Sampler;
use super::source::Source;
use super::streams::{BYTES_A_SUBMISSION, StreamId, Streams};
use crate::blt::{LoadedDirectory, Positions};
use crate::engine::Engine;
use crate::error::Result;

/// More ids than this are read at once, with all before them, rather than one a step.
const MOST_PUSHED: usize = 32;

/// A source whose steps cost the same however long the text is.
pub struct Cached<'m, E: Engine> {
    streams: Streams<'m, E>,
    sampler: Sampler,
    stream: Option<StreamId>,
    origin: u64,
    /// Ids that were pushed and not read.
    waiting_count: usize,
}

impl<'m, E: Engine> Cached<'m, E> {
    /// A source without a text.
    ///
    /// # Errors
    /// As [`Streams::new`].
    pub async fn new(
        engine: &'m E,
        directory: &'m LoadedDirectory<E>,
        sampler: Sampler,
    ) -> Result<Self> {
        Self::with_bytes_a_submission(engine, directory, sampler, BYTES_A_SUBMISSION).await
    }

    /// The same where a device takes so many steps in one submission, see
    /// [`Streams::with_bytes_a_submission`].
    ///
    /// # Errors
    /// As [`Streams::new`].
    pub async fn with_bytes_a_submission(
        engine: &'m E,
        directory: &'m LoadedDirectory<E>,
        sampler: Sampler,
        bytes: usize,
    ) -> Result<Self> {
        let streams = Streams::with_bytes_a_submission(engine, directory, 1, bytes).await?;
        Ok(Self { streams, sampler, stream: None, origin: 0, waiting_count: 0 })
    }

    /// Whether what is added from now on has its logits, see [`Streams::keep_logits`]; at first it
    /// has not.
    pub fn keep_logits(&mut self, keeps: bool) {
        self.streams.keep_logits(keeps);
    }
}

impl<E: Engine> Source for Cached<'_, E> {
    fn positions(&self) -> Positions {
        self.streams.positions()
    }

    fn begin(&mut self, ids: &[u32], origin: u64) -> Result<()> {
        let sampler = self.sampler.at(origin);
        let stream = match self.stream {
            None => self.streams.open(ids, sampler)?,
            Some(old) => self.streams.replace(old, ids, sampler)?,
        };
        (self.stream, self.origin, self.waiting_count) = (Some(stream), origin, 0);
        Ok(())
    }

    fn push(&mut self, ids: &[u32]) -> Result<()> {
        let Some(stream) = self.stream else { return self.begin(ids, self.origin) };
        if ids.len() > MOST_PUSHED && self.waiting_count == 0 {
            let all = [self.streams.ids(stream), ids].concat();
            if all.len() <= self.positions().bytes {
                return self.begin(&all, self.origin);
            }
        }
        self.streams.push(stream, ids)?;
        self.waiting_count += ids.len();
        Ok(())
    }

    async fn prefill(&mut self) -> Result<()> {
        match self.streams.prefill().await?.pop() {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }

    async fn step(&mut self) -> Result<Added> {
        loop {
            if let Some((_, added)) = self.streams.step().await?.pop() {
                let added = added?;
                self.waiting_count -= usize::from(added.was_pushed);
                return Ok(added);
            }
            // It stands behind the end of a text. As a prompt that end has something behind it.
            let ids = self.stream.map(|stream| self.streams.ids(stream).to_vec());
            self.begin(&ids.unwrap_or_default(), self.origin)?;
        }
    }
}
