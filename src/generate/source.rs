//! Where the ids of a text come from.

use super::added::Added;
use crate::blt::Positions;
use crate::error::Result;

/// A model that reads a text, and something that chooses how it goes on.
///
/// What is added follows from the ids since [`Self::begin`] and the place of their first one alone,
/// not from how they were handed in.
#[allow(async_fn_in_trait, reason = "jobs need no `Send` futures")]
pub trait Source {
    /// What bounds the ids that can be read, and their patches.
    fn positions(&self) -> Positions;

    /// Forgets the text and begins with these ids, of which there are some. They are the end of a
    /// text in which the first of them has position `origin`.
    ///
    /// # Errors
    /// An id outside the vocabulary, or more ids than positions. The text is then as it was.
    fn begin(&mut self, ids: &[u32], origin: u64) -> Result<()>;

    /// Hands in what follows; it may be read later.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    fn push(&mut self, ids: &[u32]) -> Result<()>;

    /// Reads what a step would read first, where that is more than an id.
    ///
    /// # Errors
    /// As [`Self::step`].
    async fn prefill(&mut self) -> Result<()>;

    /// Adds an id: chosen, or one of those that were pushed. A future that is dropped has added
    /// nothing, and an error neither.
    ///
    /// # Errors
    /// [`Positions`](crate::Error::Positions) where the text has more bytes or patches than the
    /// model has positions; logits that are not finite; a device that fails, or has no room.
    async fn step(&mut self) -> Result<Added>;
}
