//! The benchmark as a state machine: parts in, rows out.

use super::device_id::DeviceId;
use super::profile::Profile;
use super::row::BenchRow;
use super::shape::{BenchShape, precision_name};
use super::stepping::{Pass, Stepping};
use crate::device::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::Precision;
use crate::platform::Platform;
use std::collections::VecDeque;

/// The clock that times are taken with; kernels of the CPU engine read it inside its pool.
pub type Clock = dyn Platform + Sync;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The forward pass of every shape.
    Model,
    /// A training step of every shape.
    Train,
}

impl Part {
    /// Every part with its name, in the order they are run.
    pub const NAMES: [(&'static str, Self); 2] = [("model", Self::Model), ("train", Self::Train)];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, part)| *part == self).map_or("", |(name, _)| name)
    }
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    pub parts: Vec<Part>,
    pub shapes: Vec<BenchShape>,
    pub precisions: Vec<Precision>,
    /// Samples of everything.
    pub sample_count: usize,
    /// Also say where the time of a training step, or of a forward pass, goes.
    pub profile: bool,
}

/// What a step of the benchmark gave.
#[derive(Clone, Debug)]
pub enum Event {
    /// The next thing begins, for people who wait.
    Began(String),
    Row(Box<BenchRow>),
    Profile(Box<Profile>),
    Finished,
}

/// One part with one shape in one precision.
#[derive(Clone, Debug)]
struct Task {
    part: Part,
    shape: usize,
    precision: Precision,
}

/// A benchmark.
pub struct Bench<'d, P: Platform + Sync + 'static> {
    device: &'d Device,
    platform: P,
    id: DeviceId,
    options: BenchOptions,
    tasks: VecDeque<Task>,
    current: Option<Task>,
    /// What was measured and not given away yet.
    ready: VecDeque<Event>,
}

/// Steps before the first sample, at least one and so many if they are short.
const WARM_UP_STEPS: usize = 3;
/// Seconds after which no further step warms up.
const WARM_UP_SECONDS: f64 = 5.0;
/// Steps that are profiled.
const PROFILED_STEPS: usize = 5;

impl<'d, P: Platform + Sync + 'static> Bench<'d, P> {
    /// A benchmark in front of its first part. `host` is the name of the processor, for rows of
    /// the CPU engine.
    pub fn new(device: &'d Device, platform: P, host: &str, options: BenchOptions) -> Self {
        let mut tasks = VecDeque::new();
        for &part in &options.parts {
            for shape in 0..options.shapes.len() {
                for precision in &options.precisions {
                    tasks.push_back(Task { part, shape, precision: *precision });
                }
            }
        }
        let id = DeviceId::of(device, host);
        Self { device, platform, id, options, tasks, current: None, ready: VecDeque::new() }
    }

    /// The device, as in every row.
    pub fn device_id(&self) -> &DeviceId {
        &self.id
    }

    /// Measures until there is something to say, and says it.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the platform asks to stop. Whatever else goes wrong is a row.
    pub async fn step(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.platform.is_stop_requested() {
                return Err(Error::Cancelled);
            }
            if let Some(task) = self.current.take() {
                self.run(task).await?;
                continue;
            }
            let Some(task) = self.tasks.pop_front() else { return Ok(Event::Finished) };
            let name = task.part.name();
            let shape = self.options.shapes[task.shape].describe();
            let text = format!("{name} {shape}, {}", precision_name(task.precision));
            self.current = Some(task);
            return Ok(Event::Began(text));
        }
    }

    /// Runs a task; its rows and what went wrong lie ready afterwards.
    async fn run(&mut self, task: Task) -> Result<()> {
        let shape = &self.options.shapes[task.shape];
        let precision = precision_name(task.precision);
        let row = self.id.row(task.part.name(), "step", &shape.name, precision);
        if task.precision == Precision::Mixed && !self.device.abilities().f16 {
            self.give(row.skipped("the device has no 16-bit floats in shaders"));
            return Ok(());
        }
        let done = match task.part {
            Part::Model => self.steps(&task, Pass::Forward).await,
            Part::Train => self.steps(&task, Pass::Train).await,
        };
        match done {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                self.give(row.failed(&error));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Steps of a shape: their time, what encoding takes of it, dispatches, memory, profile.
    async fn steps(&mut self, task: &Task, pass: Pass) -> Result<()> {
        let shape = &self.options.shapes[task.shape];
        let precision = precision_name(task.precision);
        let row = |what: &str| self.id.row(task.part.name(), what, &shape.name, precision);
        let clock: &Clock = &self.platform;
        let mut stepping = Stepping::new(self.device, shape, task.precision, pass).await?;
        let begin = clock.monotonic_seconds();
        for index in 0..WARM_UP_STEPS {
            if index == 0 || clock.monotonic_seconds() - begin < WARM_UP_SECONDS {
                stepping.step(clock).await?;
            }
        }
        stepping.settle(clock).await?;
        let left_out_count = stepping.left_out_count().await?;
        let (mut wall_ms, mut submit_ms) = (Vec::new(), Vec::new());
        for _ in 0..self.options.sample_count.max(1) {
            if clock.is_stop_requested() {
                return Err(Error::Cancelled);
            }
            let time = stepping.step(clock).await?;
            wall_ms.push(time.wall_ms);
            submit_ms.push(time.submit_ms);
        }
        if stepping.left_out_count().await? != left_out_count {
            let problem = "updates were left out while it was timed: their gradients overflowed";
            return Err(Error::device("training step", problem));
        }
        let byte_count = shape.batch_bytes() as f64;
        let mut rows = vec![
            row("step").timed(wall_ms, byte_count, "bytes/s"),
            row("dispatch_count").counted(stepping.dispatch_count() as f64, "dispatches"),
            row("peak_memory").counted(stepping.memory_bytes() as f64, "bytes"),
        ];
        let submit = row("encode_submit");
        rows.push(match self.device {
            Device::Cpu(_) => submit.skipped("the CPU engine computes where it is called"),
            #[cfg(feature = "gpu")]
            Device::Gpu(_) => submit.timed(submit_ms, 1.0, "steps/s"),
        });
        let profile = match self.options.profile {
            true => Some(Profile::take(&mut stepping, clock, PROFILED_STEPS).await),
            false => None,
        };
        if let Some(profile) = &profile {
            match profile {
                Ok(profile) => {
                    rows.extend(profile.rows(&self.id, &shape.name, precision));
                }
                Err(error) => rows.push(row("profile").failed(error)),
            }
        }
        rows.into_iter().for_each(|row| self.give(row));
        if let Some(Ok(profile)) = profile {
            self.ready.push_back(Event::Profile(Box::new(profile)));
        }
        Ok(())
    }

    fn give(&mut self, row: BenchRow) {
        self.ready.push_back(Event::Row(Box::new(row)));
    }
}
