//! Bars in groups: one thing that was measured, a bar for every machine that did it.

use super::super::bars::{Bar, bar_table};
use super::super::markup::Text;
use super::machine::{Key, Machine};
use crate::bench::{BenchRow, rate_text, short_number, spread};

/// The keys of rows that are wanted, each once, in the order in which they first come.
pub(super) fn keys<'a>(
    machines: &'a [Machine<'_>],
    wanted: impl Fn(&BenchRow) -> bool,
) -> Vec<Key<'a>> {
    let mut keys: Vec<Key<'a>> = Vec::new();
    for machine in machines {
        for row in machine.rows.iter().filter(|row| wanted(row)) {
            let key = Key::of(row);
            if !keys.contains(&key) && machine.find(&key).is_some() {
                keys.push(key);
            }
        }
    }
    keys
}

/// A group for every key, two beside each other: bars as long as rates are high.
pub(super) fn groups(machines: &[Machine<'_>], keys: &[Key<'_>]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let groups = keys.iter().map(|key| group(machines, key));
    format!("<div class=\"two groups\">\n{}</div>\n", groups.collect::<String>())
}

fn group(machines: &[Machine<'_>], key: &Key<'_>) -> String {
    let of = |machine| Machine::all(machine, key).into_iter().map(move |row| (machine, row));
    let rows: Vec<(&Machine<'_>, &BenchRow)> = machines.iter().flat_map(of).collect();
    // Of what has no rate, less is more: memory, dispatches and drift are shown by size alone.
    let largest = rows.iter().filter_map(|(_, row)| row.rate).fold(0.0, f64::max).max(1e-300);
    let bars = rows.iter().map(|(machine, row)| Bar {
        name: machine.name.clone(),
        note: note(row, key),
        value: rate_text(row),
        value_note: value_note(row),
        share: row.rate.unwrap_or(0.0) / largest,
        color: machine.color(),
    });
    let bars: Vec<_> = bars.collect();
    let words = [key.shape, key.precision].into_iter().filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join(", ");
    format!(
        "<div class=\"group\"><h3>{}<small>{}</small></h3>\n{}</div>\n",
        Text(&title(key)),
        Text(&words),
        bar_table(&format!("{} {words}", title(key)), ["machine", "rate"], &bars),
    )
}

/// The variant, and the number type where its row calls it otherwise than the group.
fn note(row: &BenchRow, key: &Key<'_>) -> String {
    let precision = if row.precision == key.precision { "" } else { row.precision.as_str() };
    let words = [row.variant.as_str(), precision].into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(", ")
}

/// What a key is about, in words.
pub(super) fn title(key: &Key<'_>) -> String {
    let title = match (key.kind, key.kernel) {
        ("peak", "stream_copy") => "Copying memory",
        ("peak", "stream_read") => "Reading memory",
        ("peak", "stream_write") => "Writing memory",
        ("peak", "fma_f32") => "Multiply-adds in f32",
        ("peak", "fma_f16") => "Multiply-adds in f16",
        ("peak", "matrix_f16") => "Matrix unit, f16 to f32",
        ("peak", "launch") => "Small dispatches",
        ("gemm", "matmul") => "Matrix product",
        ("train", "step") => "Training step",
        ("model", "step") => "Forward pass",
        ("generate", "decode") => "Generation",
        ("generate", "prefill") => "Reading a prompt",
        (kind, "peak_memory") => return format!("Memory, {kind}"),
        (kind, "dispatch_count") => return format!("Dispatches, {kind}"),
        (kind, "encode_submit") => return format!("Encoding and submitting, {kind}"),
        (_, kernel) => kernel,
    };
    title.to_owned()
}

/// `303 ms ± 1.2 %, 41 % of peak`.
fn value_note(row: &BenchRow) -> String {
    let mut words = Vec::new();
    if let Some(ms) = row.median_ms {
        let spread = spread(&row.samples_ms).filter(|_| row.samples_ms.len() > 2);
        let spread = spread.map_or_else(String::new, |it| format!(" ± {:.1} %", it.percent()));
        words.push(format!("{} ms{spread}", short_number(ms)));
    }
    words.extend(row.percent_of_peak.map(|percent| format!("{percent:.0} % of peak")));
    words.join(", ")
}
