//! Ctrl-C: the first asks the job to stop after its step, the second ends the process. While the
//! program waits for a line of its user, the first does.

use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::platform::StopFlag;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Whether the program waits for its user.
static IS_WAITING: AtomicBool = AtomicBool::new(false);

/// The flag that Ctrl-C raises.
pub fn flag() -> &'static StopFlag {
    static FLAG: OnceLock<StopFlag> = OnceLock::new();
    FLAG.get_or_init(StopFlag::default)
}

/// Begins to listen for Ctrl-C and requests to terminate.
///
/// # Errors
/// If the system lets no handler be set.
pub fn install() -> anyhow::Result<()> {
    let handler = || {
        if flag().is_requested() || IS_WAITING.load(Ordering::Relaxed) {
            // The shell's prompt begins a line.
            let _ = writeln!(std::io::stderr());
            std::process::exit(INTERRUPTED);
        }
        flag().request();
    };
    ctrlc::set_handler(handler).context("cannot listen for Ctrl-C")
}

/// Whether somebody wants the program to stop.
pub fn is_requested() -> bool {
    flag().is_requested()
}

/// Waits for the user, who now has nothing else to interrupt.
pub fn while_waiting<T>(wait: impl FnOnce() -> T) -> T {
    flag().withdraw();
    IS_WAITING.store(true, Ordering::Relaxed);
    let result = wait();
    IS_WAITING.store(false, Ordering::Relaxed);
    result
}

/// Stops a job between two steps.
///
/// # Errors
/// [`Error::Cancelled`] if somebody wants the program to stop.
pub fn check() -> blt_wgpu::Result<()> {
    if is_requested() { Err(Error::Cancelled) } else { Ok(()) }
}
