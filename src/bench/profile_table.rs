//! A profile as a table for people.

use super::profile::{Profile, ProfileLine};
use std::fmt::Write;

/// Lines of the longest table.
const MOST_LINES: usize = 60;

impl Profile {
    /// Three tables, the longest times first: by kernel, by place in the model, by work.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:.3} ms in {} dispatches ({})\n",
            self.total_ms(),
            self.dispatches.len(),
            self.method
        );
        for note in &self.notes {
            writeln!(text, "note: {note}").expect("writing to a string cannot fail");
        }
        for (title, lines) in [
            ("kernel", self.by_kernel()),
            ("place in the model", self.by_label()),
            ("kernel and sizes", self.by_work()),
        ] {
            self.write_table(&mut text, title, &lines);
        }
        text
    }

    fn write_table(&self, text: &mut String, title: &str, lines: &[ProfileLine]) {
        let total_ms = self.total_ms().max(1e-9);
        let mut row = |cells: [&str; 8]| {
            let [ms, percent, count, mean, gflops, gbytes, peak, name] = cells;
            let times = format!("{ms:>10} {percent:>6} {count:>5} {mean:>9}");
            writeln!(text, "{times} {gflops:>10} {gbytes:>9} {peak:>6}  {name}")
                .expect("writing to a string cannot fail");
        };
        row([""; 8]);
        row(["ms", "%", "count", "ms each", "GFLOP/s", "GB/s", "% peak", title]);
        for line in lines.iter().take(MOST_LINES) {
            row([
                &format!("{:.3}", line.time_ms),
                &format!("{:.1}", line.time_ms / total_ms * 100.0),
                &line.dispatch_count.to_string(),
                &format!("{:.4}", line.time_ms / line.dispatch_count as f64),
                &format!("{:.1}", line.gflops()),
                &format!("{:.1}", line.gigabytes_per_second()),
                &self.rate(line).percent_of_peak.map_or("-".into(), |it| format!("{it:.0}")),
                &line.name,
            ]);
        }
        if lines.len() > MOST_LINES {
            let left_ms: f64 = lines[MOST_LINES..].iter().map(|line| line.time_ms).sum();
            let left = lines.len() - MOST_LINES;
            writeln!(text, "{left_ms:>10.3} in {left} more lines")
                .expect("writing to a string cannot fail");
        }
    }
}
