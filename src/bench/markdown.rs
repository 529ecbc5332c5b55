//! Rows as tables in Markdown: a table for every kind, and only the columns that vary.
//!
//! What is the same in every row of a table stands once above it.

use super::row::{BenchRow, Status};
use super::samples::spread;

/// A column: its title, and what a row has there.
type Column = (&'static str, fn(&BenchRow) -> String);

/// The columns that say what was measured, and on what.
const WHAT: [Column; 9] = [
    ("device", |row| row.device.clone()),
    ("backend", |row| row.backend.clone()),
    ("driver", |row| row.driver.clone()),
    ("features", |row| row.features.join(", ")),
    ("commit", |row| row.commit.clone()),
    ("kernel", |row| row.kernel.clone()),
    ("variant", |row| row.variant.clone()),
    ("shape", |row| row.shape.clone()),
    ("precision", |row| row.precision.clone()),
];

/// The columns that say what came out.
const RESULT: [Column; 5] = [
    ("ms", |row| row.median_ms.map_or_else(String::new, short_number)),
    ("± %", |row| {
        let spread = spread(&row.samples_ms).filter(|_| row.samples_ms.len() > 2);
        spread.map_or_else(String::new, |spread| format!("{:.1}", spread.percent()))
    }),
    ("rate", rate_text),
    ("% of peak", |row| row.percent_of_peak.map_or_else(String::new, |it| format!("{it:.0}"))),
    ("remark", remark),
];

/// All rows, kind by kind, in the order in which kinds first come.
pub fn markdown(rows: &[BenchRow]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for row in rows {
        if !kinds.contains(&row.kind.as_str()) {
            kinds.push(&row.kind);
        }
    }
    let tables = kinds.into_iter().map(|kind| {
        let rows: Vec<_> = rows.iter().filter(|row| row.kind == kind).collect();
        table(kind, &rows)
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn table(kind: &str, rows: &[&BenchRow]) -> String {
    let values = |column: &Column| rows.iter().map(|row| (column.1)(row)).collect::<Vec<_>>();
    let varies = |values: &[String]| values.iter().any(|value| *value != values[0]);
    // A table in which nothing varies still says in its rows what they are about.
    let all_alike = !WHAT.iter().any(|column| varies(&values(column)));
    let mut said = Vec::new();
    let mut columns: Vec<(&str, Vec<String>)> = Vec::new();
    for column in &WHAT {
        let values = values(column);
        if varies(&values) || (all_alike && column.0 == "kernel") {
            columns.push((column.0, values));
        } else if !values[0].is_empty() {
            said.push(format!("{} {}", column.0, escaped(&values[0])));
        }
    }
    for column in &RESULT {
        let values = values(column);
        if values.iter().any(|value| !value.is_empty()) {
            columns.push((column.0, values));
        }
    }
    let mut text = format!("### {kind}\n\n");
    if !said.is_empty() {
        text += &format!("{}\n\n", said.join("; "));
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    text += &line(columns.iter().map(|(title, _)| (*title).to_owned()).collect());
    let is_number = |title: &str| ["ms", "± %", "rate", "% of peak"].contains(&title);
    let rule = columns.iter().map(|(title, _)| if is_number(title) { "---:" } else { "---" });
    text += &line(rule.map(str::to_owned).collect());
    for index in 0..rows.len() {
        text += &line(columns.iter().map(|(_, values)| escaped(&values[index])).collect());
    }
    text
}

/// A number in about four digits.
pub fn short_number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 0.001 => format!("{value:.2e}"),
        size if size < 1.0 => format!("{value:.4}"),
        size if size < 100.0 => format!("{value:.2}"),
        size if size < 10_000.0 => format!("{value:.0}"),
        _ => format!("{value:.0}"),
    }
}

/// The rate in a unit that leaves few digits.
pub fn rate_text(row: &BenchRow) -> String {
    let Some(rate) = row.rate else { return String::new() };
    let (value, unit) = match row.unit.as_str() {
        "GFLOP/s" if rate >= 1000.0 => (rate / 1e3, "TFLOP/s"),
        "bytes/s" if rate >= 1e6 => (rate / 1e6, "MB/s"),
        "bytes/s" if rate >= 1e3 => (rate / 1e3, "kB/s"),
        "dispatches/s" if rate >= 1e6 => (rate / 1e6, "M dispatches/s"),
        "dispatches/s" if rate >= 1e3 => (rate / 1e3, "k dispatches/s"),
        "bytes" => (rate / f64::from(1 << 30), "GiB"),
        unit => (rate, unit),
    };
    format!("{} {unit}", short_number(value))
}

fn remark(row: &BenchRow) -> String {
    match row.status {
        Status::Ok => row.reason.clone(),
        Status::Skipped => format!("skipped: {}", row.reason),
        Status::Failed => format!("failed: {}", row.reason),
    }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, shape: &str) -> BenchRow {
        let row = BenchRow {
            kind: "kernel".into(),
            device: "A".into(),
            kernel: kernel.into(),
            shape: shape.into(),
            precision: "f32".into(),
            ..BenchRow::default()
        };
        row.timed(vec![2.0, 1.0, 3.0], 40.0, "GFLOP/s")
    }

    #[test]
    fn columns_that_do_not_vary_are_said_once() {
        let text = markdown(&[row("matmul", "a|b"), row("matmul", "c")]);
        let expected = "### kernel\n\ndevice A; kernel matmul; precision f32\n\n\
            | shape | ms | ± % | rate |\n| --- | ---: | ---: | ---: |\n\
            | a\\|b | 2.00 | 25.0 | 20.00 TFLOP/s |\n| c | 2.00 | 25.0 | 20.00 TFLOP/s |\n";
        assert_eq!(text, expected);
        let other = BenchRow { device: "B".into(), ..row("add", "c") };
        let text = markdown(&[row("matmul", "c"), other]);
        assert!(text.contains("| device | kernel | ms |") && text.contains("shape c"), "{text}");
    }

    #[test]
    fn rows_without_a_measurement_say_why() {
        let skipped = BenchRow { median_ms: None, rate: None, samples_ms: vec![], ..row("a", "b") }
            .skipped("no such unit");
        let text = markdown(&[row("a", "b"), skipped]);
        assert!(text.contains("|  |  |  | skipped: no such unit |"), "{text}");
    }

    #[test]
    fn kinds_have_tables_of_their_own() {
        let peak = BenchRow { kind: "peak".into(), ..row("stream_copy", "") };
        let text = markdown(&[peak, row("matmul", "a")]);
        let titles: Vec<_> = text.lines().filter(|line| line.starts_with("###")).collect();
        assert_eq!(titles, ["### peak", "### kernel"]);
        assert!(text.contains("| kernel | ms |"), "{text}");
    }

    #[test]
    fn rates_have_few_digits() {
        let of = |value, unit: &str| rate_text(&BenchRow::default().counted(value, unit));
        assert_eq!(of(1234.5, "GFLOP/s"), "1.23 TFLOP/s");
        assert_eq!(of(54_135.8, "bytes/s"), "54.14 kB/s");
        assert_eq!(of(11_217_910_352.0, "bytes"), "10.45 GiB");
        assert_eq!(of(532.0, "dispatches"), "532 dispatches");
        assert_eq!(short_number(0.00012), "1.20e-4");
    }
}
