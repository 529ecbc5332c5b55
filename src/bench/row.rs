//! One row of a benchmark: one line of JSON, the same from every machine.

use super::samples::median;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Version of the fields of a row. A reader refuses rows of another.
pub const SCHEMA: u32 = 1;

/// How a row came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Ok,
    /// It does not apply here; `reason` says why.
    Skipped,
    /// It was tried and went wrong; `reason` says how.
    Failed,
}

/// One measurement, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    pub schema: u32,
    /// `peak`, `kernel`, `model`, `train`, `generate`, `profile`.
    pub kind: String,
    /// What the driver calls the device.
    pub device: String,
    /// `vulkan`, `metal`, `dx12`, `webgpu`, `cpu`, or that of a peer.
    pub backend: String,
    pub driver: String,
    /// What kernels may use beyond the core, for example `f16`.
    pub features: Vec<String>,
    /// Of the program; `unknown` where it was built outside a repository.
    pub commit: String,
    /// The kernel, or what else was measured: `step`, `encode_submit`, `peak_memory`.
    pub kernel: String,
    pub variant: String,
    /// A named shape, or sizes.
    pub shape: String,
    /// `f32` or `mixed`; `f32, f16 weights` where those are packed.
    pub precision: String,
    /// Every sample, in the order they were taken.
    pub samples_ms: Vec<f64>,
    pub median_ms: Option<f64>,
    /// What was measured, in `unit`; from the median where there are samples.
    pub rate: Option<f64>,
    pub unit: String,
    /// Of one kernel at one size: floating-point operations, and bytes read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `rate` in percent of what the device was measured to do at best.
    pub percent_of_peak: Option<f64>,
    pub status: Status,
    /// Why it was skipped or failed; empty otherwise, or a remark.
    pub reason: String,
}

impl BenchRow {
    /// Times, and the work of each sample as a rate: `work` is in units of `unit` times seconds.
    #[must_use]
    pub fn timed(mut self, samples_ms: Vec<f64>, work: f64, unit: &str) -> Self {
        self.median_ms = median(&samples_ms);
        self.rate = self.median_ms.filter(|ms| *ms > 0.0).map(|ms| work / ms * 1e3);
        self.samples_ms = samples_ms;
        self.unit = unit.to_owned();
        self
    }

    /// A number that is no time.
    #[must_use]
    pub fn counted(mut self, value: f64, unit: &str) -> Self {
        self.rate = Some(value);
        self.unit = unit.to_owned();
        self
    }

    /// The same row without a measurement.
    #[must_use]
    pub fn skipped(mut self, reason: impl Into<String>) -> Self {
        self.status = Status::Skipped;
        self.reason = reason.into();
        self
    }

    /// The same row, after it went wrong.
    #[must_use]
    pub fn failed(mut self, error: &Error) -> Self {
        self.status = Status::Failed;
        self.reason = error.to_string();
        self
    }

    /// The row as one line.
    ///
    /// # Errors
    /// If a number is not finite: no such row is written.
    pub fn to_line(&self) -> Result<String> {
        let numbers = self.samples_ms.iter().copied();
        let numbers = numbers.chain(self.median_ms).chain(self.rate).chain(self.percent_of_peak);
        if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
            let subject = format!("row {} {} {}", self.kind, self.kernel, self.shape);
            return Err(Error::input(subject, format!("{number} is no measurement")));
        }
        serde_json::to_string(self)
            .map_err(|error| Error::input("a row of the benchmark", error.to_string()))
    }

    /// The rows of a file of lines; `name` is for messages. Empty lines are passed over.
    ///
    /// # Errors
    /// A line that is no row of this schema, with its number.
    pub fn parse_lines(name: &str, text: &str) -> Result<Vec<Self>> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let rows = lines.map(|(index, line)| {
            let fail = |problem: String| {
                Error::input(format!("{name}, line {}", index + 1), problem)
                    .with_hint("write it anew with `blt bench --json`; the file may be cut off")
            };
            let row: Self = serde_json::from_str(line)
                .map_err(|error| fail(format!("expected a row of a benchmark: {error}")))?;
            match row.schema {
                SCHEMA => Ok(row),
                other => Err(fail(format!("expected rows of schema {SCHEMA}, got {other}"))),
            }
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> BenchRow {
        let row = BenchRow { schema: SCHEMA, kind: "train".into(), ..BenchRow::default() };
        row.timed(vec![3.0, 1.0, 2.0], 16.0, "bytes/s")
    }

    #[test]
    fn the_rate_is_that_of_the_median() {
        let row = row();
        assert_eq!((row.median_ms, row.rate), (Some(2.0), Some(8000.0)));
        assert_eq!(row.samples_ms, [3.0, 1.0, 2.0]);
    }

    #[test]
    fn rows_come_back_from_their_lines() {
        let rows = [row(), row().skipped("no such thing")];
        let text = rows.iter().map(|row| row.to_line().unwrap() + "\n").collect::<String>();
        assert_eq!(BenchRow::parse_lines("a.jsonl", &text).unwrap(), rows);
    }

    #[test]
    fn a_cut_off_file_and_another_schema_are_said_with_the_line() {
        let line = row().to_line().unwrap();
        let message = |text: &str| {
            let error = BenchRow::parse_lines("a.jsonl", text).unwrap_err();
            format!("{error} {}", error.hint().unwrap())
        };
        let cut = message(&format!("{line}\n{}", &line[..40]));
        assert!(cut.starts_with("a.jsonl, line 2: expected a row") && cut.contains("cut off"));
        let other = message(&line.replace("\"schema\":1", "\"schema\":7"));
        assert!(other.contains("expected rows of schema 1, got 7"), "{other}");
    }

    #[test]
    fn a_number_that_is_none_is_not_written() {
        let mut row = row();
        row.rate = Some(f64::INFINITY);
        assert!(row.to_line().unwrap_err().to_string().contains("inf is no measurement"));
    }
}
