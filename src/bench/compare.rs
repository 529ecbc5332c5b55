//! Rows beside those of an earlier benchmark: what became faster, what slower, and what is noise.

use super::markdown::short_number;
use super::row::{BenchRow, Status};
use super::samples::spread;
use std::fmt::Write;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Faster,
    Slower,
    /// Within the noise of both.
    Same,
    /// It worked before and does not now.
    Broken,
}

/// A row and its earlier self.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub name: String,
    /// Earlier time over time now; above 1 is faster. `None` if there is no time now.
    pub speedup: Option<f64>,
    /// How far from 1 that must be to mean something.
    pub noise: f64,
    pub base_ms: f64,
    pub ms: Option<f64>,
    pub change: Change,
}

/// Differences below this part are never taken for more than noise.
const LEAST_NOISE: f64 = 0.02;
/// Half distances of quartiles that a difference of medians must exceed.
const NOISE_FACTOR: f64 = 2.0;

/// All rows that were measured in `base`, with what became of them. Rows are the same if kind,
/// device, backend, kernel, shape and precision are; a variant may have changed.
pub fn compare(base: &[BenchRow], rows: &[BenchRow]) -> Vec<Comparison> {
    let measured = base.iter().filter(|row| row.status == Status::Ok && !is_soak(row));
    let found = measured.filter_map(|before| {
        let base_ms = before.median_ms?;
        // The last one, where a file was appended to.
        let now = rows.iter().rfind(|row| key(row) == key(before))?;
        let noise = noise(before).max(noise(now)).max(LEAST_NOISE);
        let ms = now.median_ms.filter(|ms| now.status == Status::Ok && *ms > 0.0);
        let speedup = ms.map(|ms| base_ms / ms);
        let change = match speedup {
            None => Change::Broken,
            Some(speedup) if speedup > 1.0 + noise => Change::Faster,
            Some(speedup) if speedup < 1.0 / (1.0 + noise) => Change::Slower,
            Some(_) => Change::Same,
        };
        Some(Comparison { name: name(now), speedup, noise, base_ms, ms, change })
    });
    found.collect()
}

/// The comparison as a table in Markdown, the largest losses first, and a line that sums up.
pub fn comparison_table(comparisons: &[Comparison]) -> String {
    let mut sorted: Vec<_> = comparisons.iter().collect();
    sorted.sort_by(|a, b| a.speedup.unwrap_or(0.0).total_cmp(&b.speedup.unwrap_or(0.0)));
    let mut text = String::from(
        "| row | before, ms | now, ms | times as fast | noise | |\n\
         | --- | ---: | ---: | ---: | ---: | --- |\n",
    );
    for comparison in &sorted {
        let ms = comparison.ms.map_or_else(|| "-".into(), short_number);
        let speedup = comparison.speedup.map_or_else(|| "-".into(), |it| format!("{it:.3}"));
        let change = match comparison.change {
            Change::Faster => "faster",
            Change::Slower => "**slower**",
            Change::Same => "",
            Change::Broken => "**no time**",
        };
        writeln!(
            text,
            "| {} | {} | {ms} | {speedup} | ± {:.1} % | {change} |",
            comparison.name.replace('|', "\\|"),
            short_number(comparison.base_ms),
            comparison.noise * 100.0,
        )
        .expect("writing to a string cannot fail");
    }
    let count = |change| comparisons.iter().filter(|it| it.change == change).count();
    let [faster, slower, same, broken] =
        [Change::Faster, Change::Slower, Change::Same, Change::Broken].map(count);
    text + &format!(
        "\n{faster} faster, {slower} slower, {same} the same, {broken} without a time\n"
    )
}

fn is_soak(row: &BenchRow) -> bool {
    row.kernel == "soak"
}

fn key(row: &BenchRow) -> [&str; 6] {
    [&row.kind, &row.device, &row.backend, &row.kernel, &row.shape, &row.precision]
}

fn name(row: &BenchRow) -> String {
    let parts = [&row.kind, &row.kernel, &row.shape, &row.precision];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// How far medians of such samples wander, as a part of them.
fn noise(row: &BenchRow) -> f64 {
    spread(&row.samples_ms).map_or(0.0, |spread| spread.percent() / 100.0 * NOISE_FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, samples_ms: Vec<f64>) -> BenchRow {
        let row = BenchRow { kind: "kernel".into(), kernel: kernel.into(), ..BenchRow::default() };
        row.timed(samples_ms, 1.0, "GFLOP/s")
    }

    #[test]
    fn a_slowdown_is_told_from_noise() {
        let base = [row("a", vec![1.0; 5]), row("b", vec![1.0, 1.1, 0.9, 1.2, 0.8])];
        let now = [row("a", vec![1.1; 5]), row("b", vec![1.1, 1.2, 1.0, 1.3, 0.9])];
        let found = compare(&base, &now);
        assert_eq!([found[0].change, found[1].change], [Change::Slower, Change::Same]);
        assert!((found[0].speedup.unwrap() - 1.0 / 1.1).abs() < 1e-12);
        assert_eq!(compare(&now, &base)[0].change, Change::Faster);
        let table = comparison_table(&found);
        assert!(table.contains("| kernel a | 1.00 | 1.10 | 0.909 | ± 2.0 % | **slower** |"));
        assert!(table.ends_with("0 faster, 1 slower, 1 the same, 0 without a time\n"), "{table}");
    }

    #[test]
    fn a_row_that_fails_now_is_broken_and_one_that_is_gone_is_left_out() {
        let base = [row("a", vec![1.0]), row("gone", vec![1.0])];
        let failed = BenchRow { status: Status::Failed, ..row("a", vec![]) };
        let found = compare(&base, &[failed, row("new", vec![1.0])]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].change, found[0].speedup), (Change::Broken, None));
    }

    #[test]
    fn another_device_is_another_row() {
        let other = BenchRow { device: "B".into(), ..row("a", vec![1.0]) };
        assert!(compare(&[row("a", vec![1.0])], &[other]).is_empty());
    }
}
