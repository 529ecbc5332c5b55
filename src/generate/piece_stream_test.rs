//! Pieces by polling, without an executor.

use super::text_stream_test::{Scripted, say, stream};
use super::{End, OnLimit, PieceStream, Stops};
use crate::text::encode;
use futures_core::{FusedStream, Stream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

type Pieces<'a, 's> = PieceStream<'a, &'s mut Scripted>;

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls once: `None` while there is nothing to be had yet, else the text of the next item.
fn poll(pieces: &mut Pieces<'_, '_>, waker: &Waker) -> Option<Option<Result<String, String>>> {
    match Pin::new(pieces).poll_next(&mut Context::from_waker(waker)) {
        Poll::Pending => None,
        Poll::Ready(item) => {
            let text = |item: crate::error::Result<_>| match item {
                Ok(super::Piece { text, .. }) => Ok(text),
                Err(error) => Err(error.to_string()),
            };
            Some(item.map(text))
        }
    }
}

#[test]
fn every_piece_comes_once_and_whoever_waits_is_woken() {
    let mut script = Scripted::delayed(&say("né!"), 2);
    let mut text = stream(&mut script, &Stops::default(), OnLimit::Error);
    text.push(b"x");
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let (mut pieces, mut polled) = (text.piece_stream(), Vec::new());
    while !pieces.is_terminated() {
        let rung = bell.0.load(Ordering::Relaxed);
        let item = poll(&mut pieces, &waker);
        assert!(item.is_some() || bell.0.load(Ordering::Relaxed) > rung, "it would sleep for ever");
        polled.push(item);
    }
    let piece = |text: &str| Some(Some(Ok(text.to_owned())));
    let mut expected = Vec::new();
    for text in ["n", "", "é", "!", ""] {
        expected.extend([None, None, piece(text)]);
    }
    expected.push(Some(None));
    assert_eq!(polled, expected);
    assert_eq!(poll(&mut pieces, &waker), Some(None), "as often as it is asked");
    drop(pieces);
    assert_eq!(text.end(), Some(End::EndOfText));
}

#[test]
fn dropped_at_any_time_it_goes_on_where_it_was() {
    let mut script = Scripted::delayed(&say("né!"), 3);
    let mut text = stream(&mut script, &Stops::default(), OnLimit::Error);
    text.push(b"x");
    let mut all = String::new();
    for poll_count in 0.. {
        if text.end().is_some() {
            break;
        }
        // Dropped within the first step, the second, and so on.
        let mut pieces = text.piece_stream();
        for _ in 0..poll_count {
            match poll(&mut pieces, Waker::noop()) {
                Some(Some(Ok(piece))) => all.push_str(&piece),
                None | Some(None) => {}
                Some(Some(Err(error))) => panic!("{error}"),
            }
        }
    }
    assert_eq!(all, "né!");
    assert_eq!(text.ids(), [encode(b"x", true, false), say("né!")].concat());
    let read: Vec<usize> = script.asked.iter().map(Vec::len).collect();
    assert_eq!(read, [2, 3, 4, 5, 6], "every id was handed over once");
}

#[test]
fn an_error_is_the_last_item_as_with_the_iterator() {
    let mut script = Scripted::new(&encode(b"a", false, false));
    let mut text = stream(&mut script, &Stops::default(), OnLimit::Error);
    text.push(b"x");
    let mut pieces = text.piece_stream();
    assert_eq!(poll(&mut pieces, Waker::noop()), Some(Some(Ok("a".into()))));
    let error = || Some(Some(Err("script: has ended".to_owned())));
    assert_eq!(poll(&mut pieces, Waker::noop()), error());
    assert!(pieces.is_terminated());
    assert_eq!(poll(&mut pieces, Waker::noop()), Some(None));
    drop(pieces);
    // The text itself can be tried again.
    assert_eq!(poll(&mut text.piece_stream(), Waker::noop()), error());
    assert_eq!(text.pieces().map(|piece| piece.is_err()).collect::<Vec<_>>(), [true]);
}
