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

#[cfg(test)]
mod tests {
    use super::*;

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
}
