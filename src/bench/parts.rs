//! How each part of the benchmark is measured.

use super::gemm::Gemm;
use super::generating::{Generating, LONG_PROMPT_BYTES, NEW_BYTES, PROMPT_BYTES, STREAM_COUNT};
use super::job::{Bench, Clock, Part, StepTask};
use super::kernel_list::KernelList;
use super::peaks::Peak;
use super::profile::Profile;
use super::row::{BenchRow, Status};
use super::samples::median;
use super::stepping::{Pass, Stepping};
use super::timing::{Patience, Timing};
use crate::blt::Memory;
use crate::device::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::{CompileOptions, Precision};
use crate::kernels::Cost;
use crate::kernels::dense::matmul;
use crate::platform::Platform;

/// Steps before the first sample, at least one and so many if they are short.
const WARM_UP_STEPS: usize = 3;
/// Seconds of steps before the first sample.
const WARM_UP_SECONDS: f64 = 0.5;
/// Seconds after which no further step warms up.
const MOST_WARM_UP_SECONDS: f64 = 5.0;
/// Steps that are profiled.
const PROFILED_STEPS: usize = 5;
/// Samples of a soak that are kept: the row stays readable.
const MOST_SOAK_SAMPLES: usize = 1000;

impl<P: Platform + Sync + 'static> Bench<'_, P> {
    fn patience(&self) -> Patience {
        let (sample_count, seconds) = (self.options.sample_count, self.options.seconds);
        Patience { sample_count, seconds, enough_ms: f64::INFINITY }
    }

    /// One measure of what the device can do at best.
    pub(super) async fn peak(&mut self, peak: Peak, row: BenchRow) -> Result<()> {
        if let Some(missing) = peak.missing(self.device) {
            self.give(row.skipped(missing));
            return Ok(());
        }
        let measure = peak.measure(self.device)?;
        self.verified.check(self.device, measure.kernel, measure.variant).await?;
        let timing = Timing::new(self.device, measure.isolated).await?;
        let samples = timing.samples(&self.platform, self.patience()).await?;
        let mut row = row.timed(samples, measure.work, measure.unit);
        row.shape = measure.shape;
        self.give(row);
        Ok(())
    }

    /// One product of square matrices.
    pub(super) async fn gemm(&mut self, gemm: Gemm, row: BenchRow) -> Result<()> {
        if matches!((self.device, gemm.precision), (Device::Cpu(_), Precision::Mixed)) {
            self.give(row.skipped("the CPU engine multiplies in f32"));
            return Ok(());
        }
        let measure = gemm.measure(self.device)?;
        self.verified.check(self.device, &matmul::KERNEL, measure.variant).await?;
        let timing = Timing::new(self.device, measure.isolated).await?;
        let samples = timing.samples(&self.platform, self.patience()).await?;
        let has_halves = gemm.precision == Precision::Mixed;
        let mut row = self.rated(row, samples, &measure.cost, has_halves);
        (row.variant, row.shape) = (measure.variant_name, measure.shape);
        self.give(row);
        Ok(())
    }

    /// A row with the rate of some work in the unit that bounds it, against the peaks.
    fn rated(&self, row: BenchRow, samples: Vec<f64>, cost: &Cost, has_halves: bool) -> BenchRow {
        let ms = median(&samples).unwrap_or(0.0);
        let rate = self.roofline.rate(cost, ms, has_halves);
        let mut row = row.timed(samples, 0.0, rate.unit);
        row.flops = Some(cost.flops);
        row.bytes = Some(cost.read_bytes + cost.written_bytes);
        (row.rate, row.percent_of_peak) = (Some(rate.value), rate.percent_of_peak);
        row
    }

    /// One kernel at one size.
    pub(super) async fn kernel(
        &mut self,
        list: &KernelList,
        index: usize,
        row: BenchRow,
    ) -> Result<()> {
        let entry = &list.entries[index];
        let dispatch = list.dispatch(entry);
        self.verified.check(self.device, dispatch.kernel, dispatch.variant).await?;
        let timing = Timing::new(self.device, list.isolate(entry)?).await?;
        let samples = timing.samples(&self.platform, self.patience()).await?;
        let row = self.rated(row, samples, &list.cost(entry), list.has_halves(entry));
        self.give(row);
        Ok(())
    }

    /// Steps of a shape: their time, what encoding takes of it, dispatches, memory, profile, soak.
    pub(super) async fn steps(&mut self, task: StepTask) -> Result<()> {
        let shape = &self.options.shapes[task.shape];
        let pass = if task.part == Part::Train { Pass::Train } else { Pass::Forward };
        let (precision, recompute) = (task.precision, task.recompute);
        let mut stepping = Stepping::new(self.device, shape, precision, pass, recompute).await?;
        let byte_count = shape.batch_bytes() as f64;
        for (kernel, variant) in stepping.variants() {
            self.verified.check(self.device, kernel, variant).await?;
        }
        warm_up(&mut stepping, &self.platform).await?;
        let left_out_count = stepping.left_out_count().await?;
        let Patience { sample_count, seconds, .. } = self.patience();
        let times = sampled(&mut stepping, &self.platform, sample_count, seconds).await?;
        if stepping.left_out_count().await? != left_out_count {
            let problem = "updates were left out while it was timed: their gradients overflowed";
            return Err(Error::device("training step", problem));
        }
        let of = |what: &str| self.step_row(task, what);
        let walls = times.iter().map(|time| time.wall_ms).collect();
        let submits = times.iter().map(|time| time.submit_ms).collect();
        let submit = match self.device {
            Device::Cpu(_) => {
                of("encode_submit").skipped("the CPU engine computes where it is called")
            }
            #[cfg(feature = "gpu")]
            Device::Gpu(_) => of("encode_submit"),
        };
        let submit = match submit.status {
            Status::Ok => submit.timed(submits, 1.0, "steps/s"),
            _ => submit,
        };
        let mut rows = vec![
            of("step").timed(walls, byte_count, "bytes/s"),
            of("dispatch_count").counted(stepping.dispatch_count() as f64, "dispatches"),
            of("peak_memory").counted(stepping.memory_bytes() as f64, "bytes"),
            submit,
        ];
        if self.options.soak_seconds > 0.0 {
            let seconds = self.options.soak_seconds;
            let times = sampled(&mut stepping, &self.platform, usize::MAX, seconds).await?;
            let walls: Vec<f64> = times.iter().map(|time| time.wall_ms).collect();
            rows.push(soak(of("soak"), walls));
        }
        if self.options.profile {
            let clock: &Clock = &self.platform;
            match Profile::take(&mut stepping, clock, PROFILED_STEPS).await {
                Ok(mut profile) => {
                    profile.roofline = self.roofline;
                    rows.extend(profile.rows(|kernel| of_profile(of(kernel))));
                    rows.into_iter().for_each(|row| self.give(row));
                    self.give_profile(profile);
                    return Ok(());
                }
                Err(error) => rows.push(of_profile(of("profile")).failed(&error)),
            }
        }
        rows.into_iter().for_each(|row| self.give(row));
        Ok(())
    }

    /// Where the memory of a training step goes.
    pub(super) fn memory(&mut self, task: StepTask) -> Result<()> {
        let shape = &self.options.shapes[task.shape];
        let (precision, recompute) = (task.precision, task.recompute);
        let abilities = self.device.abilities();
        let options = CompileOptions { abilities, precision, recompute, ..CompileOptions::BASE };
        let memory = Memory::of_training(shape, &options, self.device.max_binding_elements())?;
        let parts = memory.parts().into_iter().filter(|(_, bytes)| *bytes > 0);
        for (name, bytes) in parts.chain([("total", memory.total())]) {
            self.give(self.step_row(task, name).counted(bytes as f64, "bytes"));
        }
        Ok(())
    }

    /// Generation: time to the first byte, bytes a second after it.
    pub(super) async fn generate(&mut self, task: StepTask) -> Result<()> {
        let shape = &self.options.shapes[task.shape];
        let generating = Generating::new(self.device, shape, task.precision, task.weights).await?;
        let times = generating.times(&self.platform, self.patience()).await?;
        let first = self.step_row(task, "first_byte");
        self.give(first.timed(vec![times.first_byte_ms], 1.0, "starts/s"));
        let prefill = self.step_row(task, "prefill");
        self.give(prefill.timed(times.prefill_ms, PROMPT_BYTES as f64, "bytes/s"));
        let decode = self.step_row(task, "decode");
        self.give(decode.timed(times.decode_ms, NEW_BYTES as f64, "bytes/s"));
        let dispatches = self.step_row(task, "dispatch_count");
        self.give(dispatches.counted(times.dispatches, "dispatches/byte"));
        let long = self.step_row(task, &format!("prefill_{LONG_PROMPT_BYTES}"));
        self.give(long.timed(times.long_prefill_ms, LONG_PROMPT_BYTES as f64, "bytes/s"));
        let streams = self.step_row(task, &format!("decode_{STREAM_COUNT}"));
        let bytes = (STREAM_COUNT * NEW_BYTES) as f64;
        self.give(streams.timed(times.streams_ms, bytes, "bytes/s"));
        let late = self.step_row(task, "late");
        self.give(match times.early_late_ms {
            None => late.skipped("reading so long a text would take too long"),
            Some([early_ms, late_ms]) => {
                let mut row = late.counted(late_ms / early_ms, "times an early byte");
                row.reason = format!("{early_ms:.3} ms early, {late_ms:.3} ms late");
                row
            }
        });
        Ok(())
    }
}

async fn warm_up(stepping: &mut Stepping<'_>, clock: &Clock) -> Result<()> {
    let begin = clock.monotonic_seconds();
    stepping.step(clock).await?;
    stepping.settle(clock).await?;
    for count in 1.. {
        let seconds = clock.monotonic_seconds() - begin;
        let is_warm = count >= WARM_UP_STEPS && seconds >= WARM_UP_SECONDS;
        if is_warm || seconds >= MOST_WARM_UP_SECONDS {
            break;
        }
        stepping.step(clock).await?;
    }
    Ok(())
}

/// Steps until there are enough of them, or the time is over; one at least.
async fn sampled(
    stepping: &mut Stepping<'_>,
    clock: &Clock,
    most: usize,
    seconds: f64,
) -> Result<Vec<super::stepping::StepTime>> {
    let begin = clock.monotonic_seconds();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < most && clock.monotonic_seconds() - begin < seconds) {
        if clock.is_stop_requested() {
            return Err(Error::Cancelled);
        }
        times.push(stepping.step(clock).await?);
    }
    Ok(times)
}

fn of_profile(row: BenchRow) -> BenchRow {
    BenchRow { kind: "profile".into(), ..row }
}

/// How much slower the last tenth of the steps was than the first.
fn soak(row: BenchRow, walls: Vec<f64>) -> BenchRow {
    let part = (walls.len() / 10).max(1);
    let first = median(&walls[..part]).unwrap_or(0.0);
    let last = median(&walls[walls.len() - part..]).unwrap_or(0.0);
    let drift = if first > 0.0 { (last / first - 1.0) * 100.0 } else { 0.0 };
    let thin = walls.len().div_ceil(MOST_SOAK_SAMPLES);
    let median_ms = median(&walls);
    let mut row = row.counted(drift, "% slower at the end");
    row.reason = format!("{} steps, {first:.3} ms at first, {last:.3} ms at the end", walls.len());
    row.samples_ms = walls.into_iter().step_by(thin).collect();
    row.median_ms = median_ms;
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_says_how_much_slower_the_end_is() {
        let walls: Vec<f64> = (0..100).map(|index| if index < 90 { 10.0 } else { 12.5 }).collect();
        let row = soak(BenchRow::default(), walls);
        assert!((row.rate.unwrap() - 25.0).abs() < 1e-9);
        assert_eq!((row.median_ms, row.samples_ms.len()), (Some(10.0), 100));
        assert!(row.reason.starts_with("100 steps, 10.000 ms at first, 12.500"), "{}", row.reason);
        assert_eq!(soak(BenchRow::default(), vec![3.0]).rate, Some(0.0));
    }
}
