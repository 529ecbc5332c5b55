//! How work shares a queue with a host that draws: submissions of a replay wait for their turn.
//!
//! A queue is first in, first out: a frame of the host that is submitted behind a whole training
//! step waits for all of it. So at most so many submissions are unfinished at a time, and those of
//! the host come in between.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Whose turn it is on the queue of a device: always ours, unless a host draws on it.
#[derive(Clone, Default)]
pub(super) struct Pace(Option<Arc<Turns>>);

struct Turns {
    most_unfinished: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    unfinished: usize,
    waiting: Vec<Waker>,
}

impl Pace {
    /// Turns beside a host, with at most so many submissions unfinished.
    pub fn beside_host(most_unfinished: usize) -> Self {
        assert!(most_unfinished > 0, "with no submission nothing is ever done");
        Self(Some(Arc::new(Turns { most_unfinished, state: Mutex::default() })))
    }

    /// Whether a host draws on the queue and polls the device.
    pub fn is_beside_host(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until one more submission may be made.
    pub async fn turn(&self) {
        let Some(turns) = &self.0 else { return };
        std::future::poll_fn(|context| {
            let mut state = turns.lock();
            if state.unfinished < turns.most_unfinished {
                return Poll::Ready(());
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Counts what was submitted just now until it is done.
    pub fn submitted(&self, queue: &wgpu::Queue) {
        let Some(turns) = &self.0 else { return };
        turns.lock().unfinished += 1;
        let unfinished = Unfinished(Arc::clone(turns));
        queue.on_submitted_work_done(move || drop(unfinished));
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A submission until it is done, or until its device has forgotten it.
struct Unfinished(Arc<Turns>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.unfinished -= 1;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    /// Whether a turn is given at once.
    fn is_free(pace: &Pace) -> bool {
        pin!(pace.turn()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_turn_waits_for_what_is_unfinished_and_for_nothing_without_a_host() {
        let pace = Pace::beside_host(2);
        let turns = pace.0.clone().unwrap();
        let submit = || {
            turns.lock().unfinished += 1;
            Unfinished(Arc::clone(&turns))
        };
        assert!(is_free(&pace));
        let first = submit();
        assert!(is_free(&pace));
        let second = submit();
        assert!(!is_free(&pace) && !is_free(&pace.clone()));
        drop(first);
        assert!(is_free(&pace));
        drop(second);
        assert_eq!(turns.lock().unfinished, 0);
        assert!(is_free(&Pace::default()) && !Pace::default().is_beside_host());
    }
}
