//! A training that the Worker steps.

use super::browser::Browser;
use super::values::{Given, plain, thrown};
use crate::archive::tar;
use crate::training::Training;
use crate::{Failure, Kind};
use blt_wgpu::platform::Platform as _;
use js_sys::Uint8Array;
use std::cell::RefCell;
use wasm_bindgen::prelude::*;

/// A training on the device of a [`Session`](super::session::Session).
#[wasm_bindgen]
pub struct TrainingHandle {
    browser: Browser,
    /// Taken out while it is stepped.
    training: RefCell<Option<Training<'static>>>,
}

impl TrainingHandle {
    pub fn new(browser: Browser, training: Training<'static>) -> Self {
        Self { browser, training: RefCell::new(Some(training)) }
    }

    fn take(&self) -> Given<Training<'static>> {
        let busy = || thrown(Failure::new(Kind::Busy, "the training is at a step"));
        self.training.borrow_mut().take().ok_or_else(busy)
    }
}

#[wasm_bindgen]
impl TrainingHandle {
    /// What one step did; null when all are done.
    ///
    /// # Errors
    /// As [`Training::step`].
    pub async fn step(&self) -> Given {
        let mut training = self.take()?;
        self.browser.stop().withdraw();
        let stepped = training.step(&self.browser).await;
        *self.training.borrow_mut() = Some(training);
        stepped.map(|step| plain(&step)).map_err(thrown)
    }

    /// What is trained so far, a model directory in a tar archive.
    ///
    /// # Errors
    /// As [`Training::files`].
    pub async fn archive(&self) -> Given<Uint8Array> {
        let training = self.take()?;
        let files = training.files().await;
        *self.training.borrow_mut() = Some(training);
        let files = files.map_err(thrown)?;
        let bytes = tar("blt-model", &files, self.browser.unix_seconds());
        Ok(Uint8Array::from(&bytes[..]))
    }
}
