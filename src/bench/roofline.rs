//! What a device can do at best, as it was measured, and how near to it a dispatch comes.

use super::row::{BenchRow, Status};
use crate::kernels::Cost;

/// Measured peaks of a device; `None` where there is no such thing or it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Roofline {
    /// Bytes read and written by a copy, GB/s.
    pub copy: Option<f64>,
    /// GB/s.
    pub read: Option<f64>,
    /// GB/s.
    pub write: Option<f64>,
    /// GFLOP/s.
    pub fma_f32: Option<f64>,
    /// GFLOP/s.
    pub fma_f16: Option<f64>,
    /// GFLOP/s of f16 products that add up in f32.
    pub matrix_f16: Option<f64>,
}

/// What a dispatch is bound by, and how fast it is in that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub value: f64,
    pub unit: &'static str,
    /// The time that the work takes at the peaks over the time that it took. Beyond 100 where data
    /// came from a cache.
    pub percent_of_peak: Option<f64>,
}

impl Roofline {
    /// Takes a row of kind `peak` in.
    pub fn add(&mut self, row: &BenchRow) {
        let place = match row.kernel.as_str() {
            "stream_copy" => &mut self.copy,
            "stream_read" => &mut self.read,
            "stream_write" => &mut self.write,
            "fma_f32" => &mut self.fma_f32,
            "fma_f16" => &mut self.fma_f16,
            "matrix_f16" => &mut self.matrix_f16,
            _ => return,
        };
        if row.kind == "peak" && row.status == Status::Ok {
            *place = row.rate;
        }
    }

    /// The largest bandwidth of any stream, GB/s.
    pub fn bandwidth(&self) -> Option<f64> {
        [self.copy, self.read, self.write].into_iter().flatten().reduce(f64::max)
    }

    /// Multiply-adds of operands in f16 or f32, GFLOP/s.
    pub fn arithmetic(&self, has_halves: bool) -> Option<f64> {
        let halves = [self.matrix_f16, self.fma_f16];
        let all = halves.into_iter().filter(|_| has_halves).chain([self.fma_f32]);
        all.flatten().reduce(f64::max)
    }

    /// The rate of some work in the unit that bounds it. Without peaks it is GFLOP/s where a byte
    /// brings more than ten operations.
    pub fn rate(&self, cost: &Cost, ms: f64, has_halves: bool) -> Rate {
        let (flops, bytes) = (cost.flops as f64, (cost.read_bytes + cost.written_bytes) as f64);
        let peaks = self.arithmetic(has_halves).zip(self.bandwidth());
        let bounds_ms = peaks
            .map(|(arithmetic, bandwidth)| [flops / arithmetic * 1e-6, bytes / bandwidth * 1e-6]);
        let by_arithmetic = match bounds_ms {
            Some([arithmetic, memory]) => arithmetic > memory,
            None => flops > 10.0 * bytes,
        };
        let (work, unit) = if by_arithmetic { (flops, "GFLOP/s") } else { (bytes, "GB/s") };
        let value = if ms > 0.0 { work / ms * 1e-6 } else { 0.0 };
        let percent = bounds_ms.filter(|_| ms > 0.0).map(|[a, b]| a.max(b) / ms * 100.0);
        Rate { value, unit, percent_of_peak: percent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roofline() -> Roofline {
        Roofline {
            copy: Some(900.0),
            read: Some(1000.0),
            fma_f32: Some(10_000.0),
            matrix_f16: Some(100_000.0),
            ..Roofline::default()
        }
    }

    #[test]
    fn work_is_measured_by_what_bounds_it() {
        let product = Cost { flops: 1_000_000_000, read_bytes: 1_000_000, written_bytes: 0 };
        let rate = roofline().rate(&product, 0.2, false);
        assert_eq!((rate.unit, rate.value), ("GFLOP/s", 5000.0));
        assert!((rate.percent_of_peak.unwrap() - 50.0).abs() < 1e-9);
        // The matrix unit would take 0.01 ms, memory 0.001.
        let halves = roofline().rate(&product, 0.2, true);
        assert!((halves.percent_of_peak.unwrap() - 5.0).abs() < 1e-9);
        let copy = Cost { flops: 0, read_bytes: 500_000_000, written_bytes: 500_000_000 };
        let rate = roofline().rate(&copy, 2.0, false);
        assert_eq!((rate.unit, rate.value), ("GB/s", 500.0));
        assert!((rate.percent_of_peak.unwrap() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn without_peaks_there_is_a_rate_and_no_percentage() {
        let work = Cost { flops: 2_000_000, read_bytes: 1000, written_bytes: 0 };
        let rate = Roofline::default().rate(&work, 1.0, false);
        assert_eq!((rate.unit, rate.percent_of_peak), ("GFLOP/s", None));
    }

    #[test]
    fn failed_rows_are_no_peaks() {
        let row = BenchRow {
            kind: "peak".into(),
            kernel: "fma_f32".into(),
            rate: Some(7.0),
            ..BenchRow::default()
        };
        let mut roofline = Roofline::default();
        roofline.add(&BenchRow { status: Status::Failed, ..row.clone() });
        assert_eq!(roofline, Roofline::default());
        roofline.add(&row);
        assert_eq!(roofline.fma_f32, Some(7.0));
    }
}
