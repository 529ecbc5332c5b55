//! What a job needs from where it runs: a clock, someone who may stop it, and turns for others.

use blt_wgpu::platform::Platform;
use std::future::Future;

/// The surroundings of a job of the page.
pub trait Surroundings: Platform {
    /// Lets others have a turn: in a Worker, the messages that have come, one of which may ask
    /// this job to stop.
    fn breathe(&self) -> impl Future<Output = ()>;
}

/// Nobody else wants a turn in a thread of its own.
#[cfg(not(target_arch = "wasm32"))]
impl Surroundings for blt_wgpu::platform::NativePlatform {
    async fn breathe(&self) {}
}

/// That the job may go on.
///
/// # Errors
/// [`blt_wgpu::Error::Cancelled`] if it was asked to stop.
pub async fn go_on(surroundings: &impl Surroundings) -> blt_wgpu::Result<()> {
    surroundings.breathe().await;
    match surroundings.is_stop_requested() {
        true => Err(blt_wgpu::Error::Cancelled),
        false => Ok(()),
    }
}
