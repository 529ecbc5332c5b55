//! A row as `blt bench --json` writes it.

use serde_json::{Value, json};

/// What is known before and after a measurement.
pub struct Row {
    device: String,
    precision: String,
    kind: &'static str,
    kernel: &'static str,
    shape: String,
    pub variant: &'static str,
    samples_ms: Vec<f64>,
    rate: Option<f64>,
    unit: &'static str,
    reason: String,
}

impl Row {
    /// A row without a measurement.
    pub fn new(
        device: &str,
        precision: &str,
        kind: &'static str,
        kernel: &'static str,
        shape: String,
    ) -> Self {
        Self {
            device: format!("{device}, Burn"),
            precision: precision.to_owned(),
            kind,
            kernel,
            shape,
            variant: "",
            samples_ms: Vec::new(),
            rate: None,
            unit: "",
            reason: String::new(),
        }
    }

    /// With samples, and the work of each in units of `unit` times seconds.
    pub fn timed(mut self, samples_ms: Vec<f64>, work: f64, unit: &'static str) -> Self {
        self.samples_ms = samples_ms;
        self.rate = self.median_ms().map(|ms| work / ms * 1e3);
        self.unit = unit;
        self
    }

    fn median_ms(&self) -> Option<f64> {
        let mut sorted = self.samples_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let high = *sorted.get(middle)?;
        let low = if sorted.len() % 2 == 0 { sorted[middle - 1] } else { high };
        Some((low + high) / 2.0)
    }

    pub fn to_json(&self) -> Value {
        let compiler = if cfg!(feature = "spirv") { "SPIR-V" } else { "WGSL" };
        json!({
            "schema": 1,
            "kind": self.kind,
            "device": self.device,
            "backend": "wgpu",
            "driver": format!("{compiler} compiler"),
            "features": ["fusion", "autotune"],
            "commit": "burn 0.22",
            "kernel": self.kernel,
            "variant": self.variant,
            "shape": self.shape,
            "precision": self.precision,
            "samples_ms": self.samples_ms,
            "median_ms": self.median_ms(),
            "rate": self.rate,
            "unit": self.unit,
            "percent_of_peak": null,
            "status": if self.reason.is_empty() { "ok" } else { "failed" },
            "reason": self.reason,
        })
    }
}

/// The row of what went wrong.
pub fn failed(mut row: Row, problem: &str) -> Row {
    row.reason = problem.to_owned();
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_what_blt_bench_reads() {
        let row = Row::new("A", "f32", "gemm", "matmul", "2 x 2 x 2".into());
        let row = row.timed(vec![3.0, 1.0, 2.0, 4.0], 5.0, "GFLOP/s").to_json();
        assert_eq!((&row["schema"], &row["status"]), (&json!(1), &json!("ok")));
        assert_eq!((&row["median_ms"], &row["rate"]), (&json!(2.5), &json!(2000.0)));
        let row = Row::new("A", "f32", "gemm", "matmul", String::new());
        let row = failed(row, "no memory").to_json();
        assert_eq!((&row["status"], &row["reason"]), (&json!("failed"), &json!("no memory")));
    }
}
