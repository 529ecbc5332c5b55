//! Ctrl-C: the first asks the job to stop after its step, the second ends the process.

use anyhow::Context;
use blt_wgpu::Error;
use blt_wgpu::platform::StopFlag;
use std::sync::OnceLock;

/// 128 + SIGINT.
const INTERRUPTED: i32 = 130;

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
        if flag().is_requested() {
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

/// Stops a job between two steps.
///
/// # Errors
/// [`Error::Cancelled`] if somebody wants the program to stop.
pub fn check() -> blt_wgpu::Result<()> {
    if is_requested() { Err(Error::Cancelled) } else { Ok(()) }
}
