//! The surroundings of a job in a Worker.

use crate::Surroundings;
use blt_wgpu::platform::{Platform, StopFlag};
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds since the Worker began; never goes back.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Clock and stop flag of a Worker. A clone is the same.
#[derive(Clone, Default)]
pub struct WorkerClock {
    stop: StopFlag,
}

/// Clock, stop flag and event loop of a Worker. A clone is the same.
#[derive(Clone)]
pub struct Browser {
    clock: WorkerClock,
    /// Gives a promise that is kept once the messages that have come were heard.
    breathe: Function,
}

impl Browser {
    pub fn new(breathe: Function) -> Self {
        Self { clock: WorkerClock::default(), breathe }
    }

    /// Asks the job that runs to stop; the next one begins without.
    pub fn stop(&self) -> &StopFlag {
        &self.clock.stop
    }

    /// The clock alone, which is no value of JavaScript.
    pub fn clock(&self) -> &WorkerClock {
        &self.clock
    }
}

impl Platform for Browser {
    fn monotonic_seconds(&self) -> f64 {
        self.clock.monotonic_seconds()
    }

    fn unix_seconds(&self) -> u64 {
        self.clock.unix_seconds()
    }

    fn is_stop_requested(&self) -> bool {
        self.clock.is_stop_requested()
    }
}

impl Platform for WorkerClock {
    fn monotonic_seconds(&self) -> f64 {
        performance_now() / 1e3
    }

    fn unix_seconds(&self) -> u64 {
        (js_sys::Date::now() / 1e3) as u64
    }

    fn is_stop_requested(&self) -> bool {
        self.stop.is_requested()
    }
}

impl Surroundings for Browser {
    async fn breathe(&self) {
        // It gives a promise that is always kept; were it not so, nobody would wait.
        if let Ok(promise) = self.breathe.call0(&JsValue::NULL) {
            let _ = JsFuture::from(Promise::resolve(&promise)).await;
        }
    }
}
