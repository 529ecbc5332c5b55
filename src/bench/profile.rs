//! Where the time of a step goes: every dispatch, by kernel, by place in the model.

use super::cost::cost;
use super::job::Clock;
use super::roofline::{Rate, Roofline};
use super::row::BenchRow;
use super::samples::median;
use super::stepping::Stepping;
use super::timing::repeated_dispatch_times;
use super::work::work;
use crate::engine::Engine;
use crate::error::Result;
use crate::kernels::{Cost, Halves};
use std::collections::BTreeMap;

/// The time of one dispatch of a step.
#[derive(Clone, Debug)]
pub struct DispatchTime {
    /// The Recording it belongs to.
    pub program: String,
    /// `kernel.variant`.
    pub kernel: String,
    /// What this is in the model.
    pub label: String,
    /// Its sizes.
    pub work: String,
    pub cost: Cost,
    /// A binding holds f16.
    pub has_halves: bool,
    /// One a profiled step; empty where the device's clock gave none.
    pub samples_ms: Vec<f64>,
}

/// All dispatches of a step, in order.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    pub dispatches: Vec<DispatchTime>,
    /// How the times were taken.
    pub method: &'static str,
    /// What should be said of them.
    pub notes: Vec<String>,
    /// What the device can do at best, where that was measured.
    pub roofline: Roofline,
}

/// Dispatches that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileLine {
    pub name: String,
    pub dispatch_count: usize,
    pub time_ms: f64,
    pub cost: Cost,
    /// Some of them multiply f16.
    pub has_halves: bool,
}

impl ProfileLine {
    pub fn gflops(&self) -> f64 {
        self.cost.flops as f64 / self.time_ms.max(1e-9) * 1e-6
    }

    /// Bytes that are read and written once, over the time.
    pub fn gigabytes_per_second(&self) -> f64 {
        (self.cost.read_bytes + self.cost.written_bytes) as f64 / self.time_ms.max(1e-9) * 1e-6
    }
}

impl DispatchTime {
    /// The median, or zero where there is no time.
    pub fn time_ms(&self) -> f64 {
        median(&self.samples_ms).unwrap_or(0.0)
    }
}

impl Profile {
    /// Profiles `repeat_count` steps.
    ///
    /// # Errors
    /// If the device fails.
    pub(super) async fn take(
        stepping: &mut Stepping<'_>,
        platform: &Clock,
        repeat_count: usize,
    ) -> Result<Self> {
        let mut profile = Self::default();
        for (index, step, inputs) in stepping.calls() {
            let recording = &stepping.programs[index].recording;
            for dispatch in &recording.dispatches {
                profile.dispatches.push(DispatchTime {
                    program: recording.name.clone(),
                    kernel: dispatch.variant_name(),
                    label: dispatch.label.clone(),
                    work: work(dispatch, &step.counts),
                    cost: cost(dispatch, recording, &step, &inputs),
                    has_halves: dispatch.halves != Halves::NONE,
                    samples_ms: Vec::new(),
                });
            }
        }
        for _ in 0..repeat_count {
            profile.add_step(stepping, platform).await?;
        }
        let silent = profile.dispatches.iter().filter(|it| it.samples_ms.is_empty()).count();
        if silent > 0 {
            let all = profile.dispatches.len();
            profile.notes.push(format!(
                "{silent} of {all} dispatches have no time: their timestamps were missing or went \
                 backwards"
            ));
        }
        Ok(profile)
    }

    async fn add_step(&mut self, stepping: &mut Stepping<'_>, platform: &Clock) -> Result<()> {
        let calls = stepping.next_calls();
        let mut first = 0;
        for (index, step, inputs) in calls {
            let program = &stepping.programs[index];
            let (device, plan) = (stepping.device, &program.plan);
            let times = match device.dispatch_times(plan, &step, &inputs, platform).await? {
                Some(times) => {
                    self.method = times.method;
                    times.times_ms
                }
                None => {
                    self.method = "repeated dispatches, host clock";
                    device.run(plan, &step, &inputs)?;
                    let count = program.recording.dispatches.len();
                    repeated_dispatch_times((device, plan), count, &step, &inputs, platform).await?
                }
            };
            for (dispatch, time) in self.dispatches[first..].iter_mut().zip(&times) {
                dispatch.samples_ms.extend(time);
            }
            first += times.len();
        }
        Ok(())
    }

    /// Time of all dispatches together.
    pub fn total_ms(&self) -> f64 {
        self.dispatches.iter().map(DispatchTime::time_ms).sum()
    }

    /// By kernel and variant, the longest first.
    pub fn by_kernel(&self) -> Vec<ProfileLine> {
        self.grouped(|dispatch| dispatch.kernel.clone())
    }

    /// By place in the model, layers of a stack together, the longest first.
    pub fn by_label(&self) -> Vec<ProfileLine> {
        self.grouped(|dispatch| without_numbers(&dispatch.label))
    }

    /// By kernel and sizes, the longest first.
    pub fn by_work(&self) -> Vec<ProfileLine> {
        self.grouped(|dispatch| format!("{} {}", dispatch.kernel, dispatch.work))
    }

    fn grouped(&self, name: impl Fn(&DispatchTime) -> String) -> Vec<ProfileLine> {
        let mut lines: BTreeMap<String, ProfileLine> = BTreeMap::new();
        for dispatch in &self.dispatches {
            let name = name(dispatch);
            let line = lines.entry(name.clone()).or_default();
            line.name = name;
            line.dispatch_count += 1;
            line.time_ms += dispatch.time_ms();
            line.cost = line.cost + dispatch.cost;
            line.has_halves |= dispatch.has_halves;
        }
        let mut lines: Vec<_> = lines.into_values().collect();
        lines.sort_by(|a, b| b.time_ms.total_cmp(&a.time_ms));
        lines
    }

    /// A row for every kernel; `row` makes that of a kernel without a measurement.
    pub(super) fn rows(&self, row: impl Fn(&str) -> BenchRow) -> Vec<BenchRow> {
        let lines = self.by_kernel().into_iter().map(|line| {
            let (kernel, variant) = line.name.split_once('.').unwrap_or((&line.name, ""));
            let rate = self.rate(&line);
            let mut row = row(kernel).timed(vec![line.time_ms], 0.0, rate.unit);
            row.variant = variant.to_owned();
            (row.rate, row.percent_of_peak) = (Some(rate.value), rate.percent_of_peak);
            row
        });
        lines.collect()
    }

    /// The rate of a line in the unit that bounds it, against the peaks of the device.
    pub fn rate(&self, line: &ProfileLine) -> Rate {
        self.roofline.rate(&line.cost, line.time_ms, line.has_halves)
    }
}

/// A label with its numbers replaced: layers of a stack have one name.
fn without_numbers(label: &str) -> String {
    let parts = label.split('.');
    let parts = parts.map(|part| if part.parse::<u32>().is_ok() { "*" } else { part });
    parts.collect::<Vec<_>>().join(".")
}
