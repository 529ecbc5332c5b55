//! The pieces of an answer as a `futures_core::Stream`, for natives and browsers alike.

use super::answer::Piece;
use super::source::Source;
use super::text_stream::TextStream;
use crate::error::Result;
use futures_core::{FusedStream, Stream};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The pieces of an answer, one a step, until it ends or fails: an error is the last item, as with
/// [`TextStream::pieces`].
///
/// A step begins when it is asked for and no earlier. Dropped in the middle of one, the text is as
/// before that step, and whoever asks for its pieces again gets what comes next.
pub struct PieceStream<'a, S> {
    state: State<'a, S>,
}

enum State<'a, S> {
    Between(&'a mut TextStream<S>),
    Within(Step<'a, S>),
    Ended,
}

/// A step that hands the text back with what it has added.
type Step<'a, S> =
    Pin<Box<dyn Future<Output = (&'a mut TextStream<S>, Result<Option<Piece>>)> + 'a>>;

impl<'a, S: Source> PieceStream<'a, S> {
    pub(super) fn new(text: &'a mut TextStream<S>) -> Self {
        Self { state: State::Between(text) }
    }

    /// The next item, waited for on this thread.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn wait(&mut self) -> Option<Result<Piece>> {
        pollster::block_on(std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)))
    }
}

impl<S: Source> Stream for PieceStream<'_, S> {
    type Item = Result<Piece>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut step = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Poll::Ready(None),
            State::Within(step) => step,
            State::Between(text) => Box::pin(async move {
                let piece = text.step().await;
                (text, piece)
            }),
        };
        match step.as_mut().poll(context) {
            Poll::Pending => {
                self.state = State::Within(step);
                Poll::Pending
            }
            Poll::Ready((text, Ok(Some(piece)))) => {
                self.state = State::Between(text);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready((_, last)) => Poll::Ready(last.transpose()),
        }
    }
}

impl<S: Source> FusedStream for PieceStream<'_, S> {
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}
