//! The source that suits a model.

use super::added::Added;
use super::cached::Cached;
use super::recompute::Recompute;
use super::sampling::Sampler;
use super::source::Source;
use super::streams::{BYTES_A_SUBMISSION, can_stream, check_bytes_a_submission};
use crate::blt::{LoadedDirectory, Positions};
use crate::engine::Engine;
use crate::error::Result;

/// Caches where a model can be read with them, else everything again.
pub enum ModelSource<'m, E: Engine> {
    Cached(Box<Cached<'m, E>>),
    Recompute(Box<Recompute<'m, E>>),
}

impl<'m, E: Engine> ModelSource<'m, E> {
    /// A source without a text.
    ///
    /// # Errors
    /// A directory without the entropy model that its patches need; a device without the memory.
    pub async fn new(
        engine: &'m E,
        directory: &'m LoadedDirectory<E>,
        sampler: Sampler,
    ) -> Result<Self> {
        Self::with_bytes_a_submission(engine, directory, sampler, BYTES_A_SUBMISSION).await
    }

    /// The same where a device takes so many steps in one submission, see
    /// [`Streams::with_bytes_a_submission`](super::Streams::with_bytes_a_submission).
    ///
    /// # Errors
    /// As [`Self::new`], and for a number of steps that no device is asked for.
    pub async fn with_bytes_a_submission(
        engine: &'m E,
        directory: &'m LoadedDirectory<E>,
        sampler: Sampler,
        bytes: usize,
    ) -> Result<Self> {
        check_bytes_a_submission(bytes)?;
        if can_stream(&directory.model.config) {
            let cached = Cached::with_bytes_a_submission(engine, directory, sampler, bytes).await?;
            return Ok(Self::Cached(Box::new(cached)));
        }
        Recompute::new(engine, directory, sampler).map(Box::new).map(Self::Recompute)
    }

    /// Whether what is added from now on surely has its logits, and with them probability and
    /// entropy of the model ([`ByteEvent`](super::ByteEvent)). Where caches are they are left out
    /// at first: on a GPU they are more to wait for than the ids.
    pub fn keep_logits(&mut self, keeps: bool) {
        if let Self::Cached(source) = self {
            source.keep_logits(keeps);
        }
    }
}

impl<E: Engine> Source for ModelSource<'_, E> {
    fn positions(&self) -> Positions {
        match self {
            Self::Cached(source) => source.positions(),
            Self::Recompute(source) => source.positions(),
        }
    }

    fn begin(&mut self, ids: &[u32], origin: u64) -> Result<()> {
        match self {
            Self::Cached(source) => source.begin(ids, origin),
            Self::Recompute(source) => source.begin(ids, origin),
        }
    }

    fn push(&mut self, ids: &[u32]) -> Result<()> {
        match self {
            Self::Cached(source) => source.push(ids),
            Self::Recompute(source) => source.push(ids),
        }
    }

    async fn prefill(&mut self) -> Result<()> {
        match self {
            Self::Cached(source) => source.prefill().await,
            Self::Recompute(source) => source.prefill().await,
        }
    }

    async fn step(&mut self) -> Result<Added> {
        match self {
            Self::Cached(source) => source.step().await,
            Self::Recompute(source) => source.step().await,
        }
    }
}
