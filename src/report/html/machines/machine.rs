//! The machines of a page: who they are, and which colour each has everywhere on it.

use crate::bench::{BenchRow, Roofline, Status};

/// Colours of the page, in the order in which machines get them; further machines share the last.
const COLORS: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];
/// The same as lines of a chart.
const LINES: [&str; 6] = ["line m0", "line m1", "line m2", "line m3", "line m4", "line m5"];
const DASHES: [&str; 6] = ["dash m0", "dash m1", "dash m2", "dash m3", "dash m4", "dash m5"];
const DOTS: [&str; 6] = ["dots m0", "dots m1", "dots m2", "dots m3", "dots m4", "dots m5"];

/// A device with one driver and one build of the program.
pub(super) struct Machine<'a> {
    /// The device, with what tells it from others of its name.
    pub name: String,
    pub rows: Vec<&'a BenchRow>,
    index: usize,
}

impl Machine<'_> {
    pub fn color(&self) -> &'static str {
        COLORS[self.index.min(COLORS.len() - 1)]
    }

    pub fn line(&self) -> &'static str {
        LINES[self.index.min(LINES.len() - 1)]
    }

    pub fn dash(&self) -> &'static str {
        DASHES[self.index.min(DASHES.len() - 1)]
    }

    pub fn dots(&self) -> &'static str {
        DOTS[self.index.min(DOTS.len() - 1)]
    }

    /// What it can do at best.
    pub fn roofline(&self) -> Roofline {
        let mut roofline = Roofline::default();
        self.rows.iter().for_each(|row| roofline.add(row));
        roofline
    }

    /// Its last good row of a key in every number type that has that class, in their order.
    pub fn all(&self, key: &Key<'_>) -> Vec<&BenchRow> {
        let mut found: Vec<&BenchRow> = Vec::new();
        let rows = self.rows.iter().copied();
        for row in rows.filter(|row| Key::of(row) == *key && row.status == Status::Ok) {
            match found.iter_mut().find(|other| other.precision == row.precision) {
                Some(other) => *other = row,
                None => found.push(row),
            }
        }
        found
    }

    /// Its last good row of a key.
    pub fn find(&self, key: &Key<'_>) -> Option<&BenchRow> {
        let mut rows = self.rows.iter().rev();
        rows.find(|row| Key::of(row) == *key && row.status == Status::Ok).copied()
    }
}

/// What makes rows of two machines comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub kind: &'a str,
    pub kernel: &'a str,
    /// Of peaks it is how much work a sample was, and does not tell them apart.
    pub shape: &'a str,
    /// [`precision_class`]: what a peer calls otherwise stands beside ours.
    pub precision: &'a str,
}

impl<'a> Key<'a> {
    pub fn of(row: &'a BenchRow) -> Self {
        let shape = if row.kind == "peak" { "" } else { row.shape.as_str() };
        let precision = precision_class(&row.precision);
        Self { kind: &row.kind, kernel: &row.kernel, shape, precision }
    }
}

/// Number types that do the same: operands of 16 bits with sums and weights of 32, whether their
/// rows say `mixed`, `f16` or `bf16`; `compiled` is the way to run and no type.
fn precision_class(precision: &str) -> &str {
    match precision.strip_suffix(" compiled").unwrap_or(precision) {
        "bf16" | "f16" => "mixed",
        precision => precision,
    }
}

/// The machines of some rows, in the order in which they first come.
pub(super) fn machines(rows: &[BenchRow]) -> Vec<Machine<'_>> {
    let who =
        |row: &BenchRow| [&row.device, &row.backend, &row.driver, &row.commit].map(String::clone);
    let mut found: Vec<([String; 4], Vec<&BenchRow>)> = Vec::new();
    for row in rows {
        match found.iter_mut().find(|(known, _)| *known == who(row)) {
            Some((_, rows)) => rows.push(row),
            None => found.push((who(row), vec![row])),
        }
    }
    let ids: Vec<_> = found.iter().map(|(who, _)| who.clone()).collect();
    let named = found.into_iter().enumerate().map(|(index, (who, rows))| Machine {
        name: name(&who, &ids),
        rows,
        index,
    });
    named.collect()
}

/// The device, then of backend, driver and commit what tells it from its namesakes.
fn name(who: &[String; 4], all: &[[String; 4]]) -> String {
    let mut name = who[0].clone();
    let mut namesakes: Vec<_> = all.iter().filter(|other| other[0] == who[0]).collect();
    for part in 1..4 {
        if namesakes.iter().any(|other| other[part] != who[part]) {
            name += &format!(", {}", who[part]);
            namesakes.retain(|other| other[part] == who[part]);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namesakes_are_told_apart_by_what_differs() {
        let row = |device: &str, backend: &str, commit: &str| BenchRow {
            device: device.into(),
            backend: backend.into(),
            commit: commit.into(),
            ..BenchRow::default()
        };
        let rows = [
            row("A", "vulkan", "1"),
            row("A", "dx12", "1"),
            row("A", "vulkan", "2"),
            row("B", "metal", "1"),
            row("A", "vulkan", "1"),
        ];
        let machines = machines(&rows);
        let names: Vec<_> = machines.iter().map(|machine| machine.name.as_str()).collect();
        assert_eq!(names, ["A, vulkan, 1", "A, dx12", "A, vulkan, 2", "B"]);
        assert_eq!(machines[0].rows.len(), 2);
        assert_eq!([machines[0].color(), machines[3].color()], ["m0", "m3"]);
    }
}
