//! Error scopes: what wgpu reports on the side becomes an [`Error`] with a subject.
//!
//! wgpu keeps a stack of scopes for every thread, so they are pushed and popped by the same
//! function; only the answers are awaited.

use crate::error::{Error, Result};
use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

/// Runs `work` and waits for what the device has to say about it.
pub(super) async fn scoped<T>(
    device: &wgpu::Device,
    subject: &str,
    work: impl FnOnce() -> T,
) -> Result<T> {
    let scopes = Scopes::push(device);
    let value = work();
    match scopes.pop().await {
        None => Ok(value),
        Some(error) => Err(device_error(subject, &error)),
    }
}

/// Runs `work` and asks the device about it once, without waiting. Native devices answer at once;
/// a browser answers later, to the handler of uncaptured errors, since no scope is pushed there.
pub(super) fn scoped_now<T>(
    device: &wgpu::Device,
    subject: &str,
    work: impl FnOnce() -> T,
) -> Result<T> {
    if cfg!(target_arch = "wasm32") {
        return Ok(work());
    }
    let scopes = Scopes::push(device);
    let value = work();
    match pin!(scopes.pop()).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(Some(error)) => Err(device_error(subject, &error)),
        Poll::Ready(None) | Poll::Pending => Ok(value),
    }
}

/// One open scope of each kind.
pub(super) struct Scopes {
    memory: wgpu::ErrorScopeGuard,
    internal: wgpu::ErrorScopeGuard,
    validation: wgpu::ErrorScopeGuard,
}

impl Scopes {
    /// Opens the scopes of this thread.
    pub fn push(device: &wgpu::Device) -> Self {
        Self {
            memory: device.push_error_scope(wgpu::ErrorFilter::OutOfMemory),
            internal: device.push_error_scope(wgpu::ErrorFilter::Internal),
            validation: device.push_error_scope(wgpu::ErrorFilter::Validation),
        }
    }

    /// Closes them at once; the future is the first error of any.
    pub fn pop(self) -> impl Future<Output = Option<wgpu::Error>> {
        // The innermost scope first.
        let validation = self.validation.pop();
        let internal = self.internal.pop();
        let memory = self.memory.pop();
        async move {
            let errors = [validation.await, internal.await, memory.await];
            errors.into_iter().flatten().next()
        }
    }
}

/// An error of wgpu, said of `subject`.
pub(super) fn device_error(subject: &str, error: &wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory {
            subject: subject.into(),
            hint: "use a smaller batch or model, or a device with more memory".into(),
        },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::device(subject, description.trim())
        }
    }
}
