//! What a job needs from the machine it runs on besides a device: a clock, and someone who may ask
//! it to stop.
//!
//! Nothing below the program reads a clock, a signal or the environment by itself; jobs are handed
//! a [`Platform`]. A browser has its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The surroundings of a job.
pub trait Platform {
    /// Seconds since some fixed moment; never goes back.
    fn monotonic_seconds(&self) -> f64;

    /// Seconds since 1970-01-01T00:00:00Z, for time stamps only.
    fn unix_seconds(&self) -> u64;

    /// Whether the job should stop when it next can.
    fn is_stop_requested(&self) -> bool;
}

impl<P: Platform + ?Sized> Platform for &P {
    fn monotonic_seconds(&self) -> f64 {
        (**self).monotonic_seconds()
    }

    fn unix_seconds(&self) -> u64 {
        (**self).unix_seconds()
    }

    fn is_stop_requested(&self) -> bool {
        (**self).is_stop_requested()
    }
}

/// A flag that a signal handler, or another thread, raises; its clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks the job to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Takes that back: it has stopped.
    pub fn withdraw(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The clocks of the operating system and a flag.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Debug)]
pub struct NativePlatform {
    start: std::time::Instant,
    stop: StopFlag,
}

#[cfg(not(target_arch = "wasm32"))]
impl NativePlatform {
    /// A platform whose clock starts now and whose jobs stop when `stop` is raised.
    pub fn new(stop: StopFlag) -> Self {
        Self { start: std::time::Instant::now(), stop }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Default for NativePlatform {
    fn default() -> Self {
        Self::new(StopFlag::default())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Platform for NativePlatform {
    fn monotonic_seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn unix_seconds(&self) -> u64 {
        // A clock that stands before 1970 is worth a wrong time stamp, not an end of the run.
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }

    fn is_stop_requested(&self) -> bool {
        self.stop.is_requested()
    }
}

/// Values that a thread of its own makes ahead of their reader, in order.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub struct Ahead<T> {
    values: Option<std::sync::mpsc::Receiver<T>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + 'static> Ahead<T> {
    /// Begins to make values; `give` waits while `most_ahead` of them wait to be read, and says
    /// whether anybody still wants them.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn new(
        name: &str,
        most_ahead: usize,
        make: impl FnOnce(&mut dyn FnMut(T) -> bool) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, values) = std::sync::mpsc::sync_channel(most_ahead);
        let work = move || make(&mut |value| sender.send(value).is_ok());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { values: Some(values), thread: Some(thread) })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<T> Iterator for Ahead<T> {
    type Item = T;

    /// The next value, for which it waits; `None` when all have been made.
    ///
    /// # Panics
    /// If the thread has panicked.
    fn next(&mut self) -> Option<T> {
        let next = self.values.as_ref().and_then(|values| values.recv().ok());
        if next.is_none()
            && let Some(Err(panic)) = self.thread.take().map(std::thread::JoinHandle::join)
        {
            std::panic::resume_unwind(panic);
        }
        next
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<T> Drop for Ahead<T> {
    /// The thread ends at its next value; it is waited for.
    fn drop(&mut self) {
        drop(self.values.take());
        if let Some(thread) = self.thread.take() {
            // Whoever drops this does not want to know how it went.
            let _ = thread.join();
        }
    }
}

/// Threads that do pieces of work, whoever of them is free.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub struct Workers {
    work: Option<std::sync::mpsc::Sender<Work>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

#[cfg(not(target_arch = "wasm32"))]
type Work = Box<dyn FnOnce() + Send>;

/// A value that is being made.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub struct Promise<T>(std::sync::mpsc::Receiver<T>);

#[cfg(not(target_arch = "wasm32"))]
impl Workers {
    /// So many threads; with none, work is done where it is asked for.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn new(name: &str, count: usize) -> std::io::Result<Self> {
        let (work, waiting) = std::sync::mpsc::channel::<Work>();
        let waiting = Arc::new(std::sync::Mutex::new(waiting));
        let mut workers = Self { work: Some(work), threads: Vec::with_capacity(count) };
        for index in 0..count {
            let waiting = Arc::clone(&waiting);
            let next = move || {
                // A worker that panicked held no lock: it was at its work.
                waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv()
            };
            let work = move || {
                while let Ok(work) = next() {
                    work();
                }
            };
            let builder = std::thread::Builder::new().name(format!("{name} {index}"));
            workers.threads.push(builder.spawn(work)?);
        }
        Ok(workers)
    }

    /// Has a value made.
    pub fn run<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> Promise<T> {
        let (sender, receiver) = std::sync::mpsc::channel();
        // Nobody may want the value any more when it is there.
        let work = move || drop(sender.send(make()));
        match &self.work {
            Some(waiting) if !self.threads.is_empty() => {
                // It fails when every worker has panicked, and then so does who waits.
                let _ = waiting.send(Box::new(work));
            }
            _ => work(),
        }
        Promise(receiver)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.work.take());
        for thread in self.threads.drain(..) {
            // Whoever waits for what a panicked worker was to make, panics.
            let _ = thread.join();
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<T> Promise<T> {
    /// The value, for which it waits.
    ///
    /// # Panics
    /// If what makes it has panicked.
    pub fn wait(self) -> T {
        self.0.recv().expect("a worker panicked")
    }
}

/// A thread that holds a value, which never leaves it, and does what it is asked with it, in order.
#[cfg(not(target_arch = "wasm32"))]
pub struct Keeper<S> {
    work: std::sync::mpsc::Sender<KeptWork<S>>,
}

#[cfg(not(target_arch = "wasm32"))]
type KeptWork<S> = Box<dyn FnOnce(&mut S) + Send>;

#[cfg(not(target_arch = "wasm32"))]
impl<S: 'static> Keeper<S> {
    /// Begins to keep what `make` makes there. The thread ends, and drops it, when nothing can be
    /// asked any more and what was asked is done; nobody waits for that.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn new(name: &str, make: impl FnOnce() -> S + Send + 'static) -> std::io::Result<Self> {
        let (work, asked) = std::sync::mpsc::channel::<KeptWork<S>>();
        let keep = move || {
            let mut kept = make();
            while let Ok(work) = asked.recv() {
                work(&mut kept);
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(keep)?;
        Ok(Self { work })
    }

    /// Has something done with what is kept.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Promise<T> {
        let (sender, receiver) = std::sync::mpsc::channel();
        // Nobody may want the value any more when it is there; and where the thread has panicked
        // so does who waits.
        let work = move |kept: &mut S| drop(sender.send(work(kept)));
        let _ = self.work.send(Box::new(work));
        Promise(receiver)
    }
}

/// What a thread leaves, and who waits for it.
#[cfg(not(target_arch = "wasm32"))]
struct Slot<T> {
    value: Option<T>,
    waker: Option<std::task::Waker>,
}

/// Begins work on a thread of its own; the future, which blocks nobody, has what it gives. For what
/// takes the processor long beside a host that draws: on a pool its other users would wait for it.
#[cfg(not(target_arch = "wasm32"))]
pub fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> {
    let slot = Arc::new(std::sync::Mutex::new(Slot { value: None, waker: None }));
    let left = Arc::clone(&slot);
    let thread = std::thread::spawn(move || {
        let value = work();
        let mut slot = left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        slot.value = Some(value);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    });
    std::future::poll_fn(move |context| {
        let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(value) = slot.value.take() {
            return std::task::Poll::Ready(value);
        }
        // One that is over and has left nothing has panicked, and said why.
        assert!(!thread.is_finished(), "a thread of the engine panicked");
        slot.waker = Some(context.waker().clone());
        std::task::Poll::Pending
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_make_what_they_are_asked_for() {
        for count in [0, 1, 3] {
            let workers = Workers::new("squares", count).unwrap();
            let promises: Vec<_> = (0..50_u64).map(|n| workers.run(move || n * n)).collect();
            let squares: Vec<_> = promises.into_iter().map(Promise::wait).collect();
            assert_eq!(squares, (0..50).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn values_come_in_order_and_no_more_are_made_than_are_wanted() {
        let make = |give: &mut dyn FnMut(u32) -> bool| {
            for value in 0.. {
                if !give(value) {
                    return;
                }
            }
        };
        let mut ahead = Ahead::new("numbers", 2, make).unwrap();
        assert_eq!([ahead.next(), ahead.next(), ahead.next()], [Some(0), Some(1), Some(2)]);
        drop(ahead);
        let few = |give: &mut dyn FnMut(u32) -> bool| assert!(give(7));
        let mut ahead = Ahead::new("numbers", 2, few).unwrap();
        assert_eq!([ahead.next(), ahead.next(), ahead.next()], [Some(7), None, None]);
    }

    #[test]
    fn a_keeper_does_things_in_order_with_what_need_not_be_sent() {
        let keeper = Keeper::new("numbers", || std::rc::Rc::new(std::cell::Cell::new(1))).unwrap();
        let add = |number| keeper.run(move |kept| kept.replace(kept.get() * 2 + number));
        let before: Vec<_> = [3, 4, 5].map(add).into_iter().map(Promise::wait).collect();
        assert_eq!(before, [1, 5, 14]);
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_of_the_thread_is_passed_on() {
        let mut ahead: Ahead<u32> = Ahead::new("numbers", 2, |_| panic!("on purpose")).unwrap();
        ahead.next();
    }

    #[test]
    fn a_raised_flag_is_seen_through_its_clones() {
        let flag = StopFlag::default();
        let platform = NativePlatform::new(flag.clone());
        assert!(!platform.is_stop_requested());
        flag.request();
        let is_requested = |platform: &dyn Platform| platform.is_stop_requested();
        assert!(is_requested(&platform) && is_requested(&&platform));
        flag.withdraw();
        assert!(!is_requested(&platform));
    }

    #[test]
    fn the_clock_goes_forward() {
        let platform = NativePlatform::default();
        let first = platform.monotonic_seconds();
        assert!(first >= 0.0 && platform.monotonic_seconds() >= first);
        assert!(platform.unix_seconds() > 1_700_000_000);
    }

    #[test]
    fn who_waits_is_not_blocked_and_is_woken() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut work = std::pin::pin!(elsewhere(move || gone.recv().map(|()| 7)));
        assert!(
            work.as_mut()
                .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
                .is_pending()
        );
        go.send(()).unwrap();
        assert_eq!(pollster::block_on(work), Ok(7));
    }
}
