//! The benchmark as a state machine: parts in, rows out.

use super::device_id::DeviceId;
use super::gemm::Gemm;
use super::kernel_list::KernelList;
use super::peaks::Peak;
use super::profile::Profile;
use super::roofline::Roofline;
use super::row::BenchRow;
use super::shape::{BenchShape, precision_name};
use super::verified::Verified;
use crate::blt::config::WeightType;
use crate::device::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::{Precision, Recompute};
use crate::platform::Platform;
use std::collections::VecDeque;
use std::rc::Rc;

/// The clock that times are taken with; kernels of the CPU engine read it inside its pool.
pub type Clock = dyn Platform + Sync;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the device can do at best.
    Peaks,
    /// Products of square matrices.
    Gemm,
    /// Every kernel at the sizes of a training step.
    Kernels,
    /// The forward pass of every shape.
    Model,
    /// Where the memory of a training step of every shape goes; nothing runs.
    Memory,
    /// A training step of every shape.
    Train,
    /// Bytes after a prompt.
    Generate,
}

impl Part {
    /// Every part with its name, in the order they are run.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("peaks", Self::Peaks),
        ("gemm", Self::Gemm),
        ("kernels", Self::Kernels),
        ("model", Self::Model),
        ("memory", Self::Memory),
        ("train", Self::Train),
        ("generate", Self::Generate),
    ];

    /// The name of a part.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, part)| *part == self).map_or("", |(name, _)| name)
    }
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    pub parts: Vec<Part>,
    pub shapes: Vec<BenchShape>,
    pub precisions: Vec<Precision>,
    /// Types of weights with which texts are generated.
    pub weights: Vec<WeightType>,
    /// What training steps compute again to save memory.
    pub recomputes: Vec<Recompute>,
    /// Samples of everything.
    pub sample_count: usize,
    /// Seconds after which no further sample of one thing is begun.
    pub seconds: f64,
    /// Part of the names of the kernels that are measured one by one; empty: all.
    pub kernel: String,
    /// Also say where the time of a training step, or of a forward pass, goes.
    pub profile: bool,
    /// Seconds for which steps go on after they were measured, to see whether they become slower.
    pub soak_seconds: f64,
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

/// One thing to measure.
pub(super) enum Task {
    Peak(Peak),
    Gemm(Gemm),
    /// Lists the kernels of a shape; they become tasks of their own.
    List(StepTask),
    Kernel(Rc<KernelList>, usize),
    Steps(StepTask),
}

/// A part with a shape in a precision.
#[derive(Clone, Copy)]
pub(super) struct StepTask {
    pub part: Part,
    pub shape: usize,
    pub precision: Precision,
    pub recompute: Recompute,
    /// Of generation; f32 otherwise.
    pub weights: WeightType,
}

/// A benchmark.
pub struct Bench<'d, P: Platform + Sync + 'static> {
    pub(super) device: &'d Device,
    pub(super) platform: P,
    pub(super) id: DeviceId,
    pub(super) options: BenchOptions,
    pub(super) roofline: Roofline,
    pub(super) verified: Verified,
    tasks: VecDeque<Task>,
    current: Option<Task>,
    /// What was measured and not given away yet.
    ready: VecDeque<Event>,
}

impl<'d, P: Platform + Sync + 'static> Bench<'d, P> {
    /// A benchmark in front of its first part. `host` is the name of the processor, for rows of
    /// the CPU engine. Products, kernels and profiles are compared with the peaks, so these come
    /// with them.
    pub fn new(device: &'d Device, platform: P, host: &str, mut options: BenchOptions) -> Self {
        let compared = [Part::Gemm, Part::Kernels];
        let needs_peaks = options.profile || compared.iter().any(|it| options.parts.contains(it));
        if needs_peaks && !options.parts.contains(&Part::Peaks) {
            options.parts.insert(0, Part::Peaks);
        }
        let mut tasks = VecDeque::new();
        for &part in &options.parts {
            if part == Part::Peaks {
                tasks.extend(Peak::ALL.map(Task::Peak));
                continue;
            }
            if part == Part::Gemm {
                let precisions = options.precisions.iter();
                let all = precisions.flat_map(|&precision| Gemm::all(device, precision));
                tasks.extend(all.map(Task::Gemm));
                continue;
            }
            for shape in 0..options.shapes.len() {
                for &precision in &options.precisions {
                    let weights = WeightType::F32;
                    let task = |&recompute| StepTask { part, shape, precision, recompute, weights };
                    match part {
                        Part::Generate => {
                            let task = task(&Recompute::None);
                            let all = options.weights.iter();
                            tasks.extend(
                                all.map(|&weights| Task::Steps(StepTask { weights, ..task })),
                            );
                        }
                        Part::Kernels => tasks.push_back(Task::List(task(&Recompute::None))),
                        Part::Memory | Part::Train => {
                            let all = options.recomputes.iter();
                            tasks.extend(all.map(|it| Task::Steps(task(it))));
                        }
                        _ => tasks.push_back(Task::Steps(task(&Recompute::None))),
                    }
                }
            }
        }
        Self {
            device,
            platform,
            id: DeviceId::of(device, host),
            options,
            roofline: Roofline::default(),
            verified: Verified::default(),
            tasks,
            current: None,
            ready: VecDeque::new(),
        }
    }

    /// The device, as in every row.
    pub fn device_id(&self) -> &DeviceId {
        &self.id
    }

    /// The peaks that were measured so far.
    pub fn roofline(&self) -> &Roofline {
        &self.roofline
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
            let text = self.describe(&task);
            self.current = Some(task);
            return Ok(Event::Began(text));
        }
    }

    fn describe(&self, task: &Task) -> String {
        match task {
            Task::Peak(peak) => format!("peak: {}", peak.kernel().0.name),
            Task::Gemm(gemm) => format!("product of {0} x {0}, {1}", gemm.side, gemm.operands()),
            Task::Kernel(list, index) => {
                let entry = &list.entries[*index];
                format!("{} {}", list.dispatch(entry).variant_name(), list.describe(entry))
            }
            Task::List(task) | Task::Steps(task) => {
                let shape = self.options.shapes[task.shape].describe() + &recompute_text(task);
                format!("{} {shape}, {}", task.part.name(), precision_text(task))
            }
        }
    }

    /// Runs a task; its rows lie ready afterwards, and if it went wrong, one that says so.
    async fn run(&mut self, task: Task) -> Result<()> {
        let row = self.row_of(&task);
        let mixed = match &task {
            Task::Steps(StepTask { part: Part::Memory, .. }) => false,
            Task::List(task) | Task::Steps(task) => task.precision == Precision::Mixed,
            Task::Gemm(gemm) => gemm.precision == Precision::Mixed,
            Task::Peak(_) | Task::Kernel(..) => false,
        };
        if mixed && !self.device.abilities().f16 {
            self.give(row.skipped("the device has no 16-bit floats in shaders"));
            return Ok(());
        }
        let done = match task {
            Task::Peak(peak) => self.peak(peak, row.clone()).await,
            Task::Gemm(gemm) => self.gemm(gemm, row.clone()).await,
            Task::List(task) => self.list(task),
            Task::Kernel(list, index) => self.kernel(&list, index, row.clone()).await,
            Task::Steps(task) if task.part == Part::Generate => self.generate(task).await,
            Task::Steps(task) if task.part == Part::Memory => self.memory(task),
            Task::Steps(task) => self.steps(task).await,
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

    /// The row of a task before anything is measured.
    fn row_of(&self, task: &Task) -> BenchRow {
        match task {
            Task::Peak(peak) => {
                let (kernel, variant) = peak.kernel();
                let mut row = self.id.row("peak", kernel.name, "", "f32");
                row.variant = kernel.variants[variant].name.to_owned();
                if *peak == Peak::Launch {
                    row.kernel = "launch".into();
                }
                if matches!(peak, Peak::FmaF16 | Peak::MatrixF16) {
                    row.precision = "f16".into();
                }
                row
            }
            Task::Gemm(gemm) => {
                let side = gemm.side;
                let shape = format!("{side} x {side} x {side} nt");
                self.id.row("gemm", "matmul", &shape, gemm.operands())
            }
            Task::Kernel(list, index) => {
                let entry = &list.entries[*index];
                let dispatch = list.dispatch(entry);
                let (shape, precision) = (list.describe(entry), precision_name(list.precision));
                let mut row = self.id.row("kernel", dispatch.kernel.name, &shape, precision);
                let name = dispatch.variant_name();
                row.variant = name[dispatch.kernel.name.len() + 1..].to_owned();
                row
            }
            Task::List(task) | Task::Steps(task) => {
                let what = match task.part {
                    Part::Kernels => "list",
                    Part::Generate => "decode",
                    Part::Memory => "total",
                    _ => "step",
                };
                self.step_row(*task, what)
            }
        }
    }

    /// A row of a part with a shape in a precision.
    pub(super) fn step_row(&self, task: StepTask, what: &str) -> BenchRow {
        let shape = &(self.options.shapes[task.shape].name.clone() + &recompute_text(&task));
        let kind = task.part.name();
        let kind = if task.part == Part::Kernels { "kernel" } else { kind };
        self.id.row(kind, what, shape, &precision_text(&task))
    }

    /// The kernels of a shape become the next tasks.
    fn list(&mut self, task: StepTask) -> Result<()> {
        let shape = &self.options.shapes[task.shape];
        let list = KernelList::new(self.device, shape, task.precision, &self.options.kernel)?;
        let list = Rc::new(list);
        for index in (0..list.entries.len()).rev() {
            self.tasks.push_front(Task::Kernel(Rc::clone(&list), index));
        }
        Ok(())
    }

    pub(super) fn give(&mut self, row: BenchRow) {
        self.roofline.add(&row);
        self.ready.push_back(Event::Row(Box::new(row)));
    }

    pub(super) fn give_profile(&mut self, profile: Profile) {
        self.ready.push_back(Event::Profile(Box::new(profile)));
    }
}

/// What numbers a step computes with, and reads.
fn precision_text(task: &StepTask) -> String {
    match task.weights {
        WeightType::F32 => precision_name(task.precision).to_owned(),
        weights => format!("{}, {} weights", precision_name(task.precision), weights.name()),
    }
}

/// What a step computes again, behind the name of its shape.
fn recompute_text(task: &StepTask) -> String {
    match task.recompute {
        Recompute::None => String::new(),
        recompute => format!(", recompute {}", recompute.name()),
    }
}
