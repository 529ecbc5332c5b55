//! Jobs of models, polled by hand: a few milliseconds of every frame are theirs.

use super::host::Host;
use blt_wgpu::gpu::wgpu;
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Jobs, and the device that they wait for.
pub struct Pump<'a> {
    host: &'a Host,
    idle: &'a Idle,
    jobs: Vec<Pin<Box<dyn Future<Output = ()> + 'a>>>,
}

/// How many jobs wait for people and not for the device.
#[derive(Default)]
pub struct Idle(Cell<usize>);

/// How long a poll of the device may wait for what it is at.
const PATIENCE: Duration = Duration::from_micros(300);

impl<'a> Pump<'a> {
    /// A pump without jobs.
    pub fn new(host: &'a Host, idle: &'a Idle) -> Self {
        Self { host, idle, jobs: Vec::new() }
    }

    /// Adds a job; those that were added first come first.
    pub fn add(&mut self, job: impl Future<Output = ()> + 'a) {
        self.jobs.push(Box::pin(job));
    }

    /// Lets jobs work until the time is up or all of them wait for people. What they have submitted
    /// by then is on the queue, and little of it unfinished (`Context::beside_host`).
    pub fn work(&mut self, budget: Duration) {
        let end = Instant::now() + budget;
        let mut context = Context::from_waker(Waker::noop());
        loop {
            // Callbacks of what is done come from here. A device that is lost fails the jobs.
            let _ = self.host.device.poll(wgpu::PollType::Poll);
            self.idle.0.set(0);
            self.jobs.retain_mut(|job| job.as_mut().poll(&mut context).is_pending());
            let left = end.saturating_duration_since(Instant::now());
            if self.idle.0.get() == self.jobs.len() || left.is_zero() {
                return;
            }
            let timeout = Some(left.min(PATIENCE));
            let wait = wgpu::PollType::Wait { submission_index: None, timeout };
            if self.host.device.poll(wait).is_ok_and(|status| status.is_queue_empty()) {
                // Nothing is under way: a thread compiles. It needs the processor more.
                std::thread::sleep(PATIENCE.min(left));
            }
        }
    }
}

impl Idle {
    /// Waits until somebody wants something: asked in every frame.
    pub async fn until<T>(&self, mut wanted: impl FnMut() -> Option<T>) -> T {
        std::future::poll_fn(|_| match wanted() {
            Some(it) => Poll::Ready(it),
            None => {
                self.0.set(self.0.get() + 1);
                Poll::Pending
            }
        })
        .await
    }
}
