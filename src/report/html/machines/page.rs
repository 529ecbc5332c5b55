//! The page of a benchmark.

use super::super::markup::{Text, folded_table};
use super::super::page::{Page, STYLE, section};
use super::groups::{groups, keys};
use super::machine::{Key, Machine, machines};
use super::roofline::{legend, roofline};
use crate::bench::{BenchRow, Status, rate_text, short_number};

const MACHINE_STYLE: &str = include_str!("machines.css");

/// Kernels that are shown as bars: those with the most time; the table has all.
const MOST_KERNELS: usize = 24;

/// Rows of any number of machines as one page. Text of the rows is escaped; nothing is loaded from
/// outside. Sections with nothing to show are left out.
pub fn render(rows: &[BenchRow]) -> String {
    let machines = machines(rows);
    let of = |kinds: &[&str], kernels: &[&str]| {
        let found = keys(&machines, |row| {
            kinds.contains(&row.kind.as_str()) && kernels.contains(&row.kernel.as_str())
        });
        groups(&machines, &found)
    };
    let steps = of(&["train", "model", "generate"], &["step", "decode"]);
    let around = of(
        &["train", "model", "generate"],
        &["peak_memory", "dispatch_count", "encode_submit", "prefill"],
    );
    let mut peaks = keys(&machines, |row| row.kind == "peak");
    peaks.sort_by_key(|key| key.kernel == "launch");
    let sections = [
        section("steps", "Steps", "Longer bars are faster. Bytes are those of the text.", &steps),
        section(
            "peaks",
            "What each can do at best",
            "Measured with kernels that do nothing else, each compared with its oracle before.",
            &groups(&machines, &peaks),
        ),
        section("products", "Products", "", &of(&["gemm"], &["matmul"])),
        section(
            "roofline-section",
            "Roofline",
            "How near the kernels of a training step come to that.",
            &roofline(&machines),
        ),
        section("kernels", "Kernels", kernel_lede(&machines), &kernels(&machines)),
        section("around", "Memory, dispatches, host", "", &around),
        section("missing", "What did not run", "", &missing(&machines)),
        section("rows", "All rows", "", &all_rows(&machines)),
    ];
    let title = title(&machines);
    Page {
        title: &title,
        description: &summary(&machines),
        style: &[STYLE, MACHINE_STYLE],
        masthead: &masthead(&title, &machines),
        sections: &sections.concat(),
        footer: "<p>Medians of all samples; ± is half the distance of the quartiles. Made by \
                 <code>blt bench --html</code>.</p>",
    }
    .render()
}

fn title(machines: &[Machine<'_>]) -> String {
    match machines {
        [machine] => machine.name.clone(),
        _ => "Machines side by side".into(),
    }
}

fn summary(machines: &[Machine<'_>]) -> String {
    let row_count: usize = machines.iter().map(|machine| machine.rows.len()).sum();
    let names: Vec<_> = machines.iter().map(|machine| machine.name.as_str()).collect();
    let count = machines.len();
    let noun = if count == 1 { "machine" } else { "machines" };
    format!("{row_count} rows of {count} {noun}: {}", names.join("; "))
}

fn masthead(title: &str, machines: &[Machine<'_>]) -> String {
    let facts = machines.iter().filter_map(|machine| {
        let row = machine.rows.first()?;
        let mut facts = vec![format!("{}, {}", row.backend, row.driver)];
        facts.extend(row.features.iter().cloned());
        facts.push(format!("commit {}", row.commit));
        Some(format!(
            "<tr><th scope=\"row\"><span class=\"swatch {}\"></span> {}</th>\
             <td>{}</td></tr>\n",
            machine.color(),
            Text(&machine.name),
            Text(&facts.join("; ")),
        ))
    });
    format!(
        "<header>\n<p class=\"origin\">blt bench</p>\n<h1>{}</h1>\n\
         <table class=\"facts\"><caption class=\"unseen\">Machines</caption><tbody>\n{}</tbody>\
         </table>\n</header>\n",
        Text(title),
        facts.collect::<String>(),
    )
}

fn kernel_lede(machines: &[Machine<'_>]) -> &'static str {
    match machines.len() {
        1 => "One dispatch of each, the longest first.",
        _ => "One dispatch of each, those that most machines ran and that take longest first.",
    }
}

fn kernels(machines: &[Machine<'_>]) -> String {
    let mut keys = keys(machines, |row| row.kind == "kernel");
    let weight = |key: &Key<'_>| {
        let times = machines.iter().filter_map(|machine| machine.find(key)?.median_ms);
        let times: Vec<_> = times.collect();
        (times.len(), times.iter().sum::<f64>())
    };
    keys.sort_by(|a, b| {
        let ((a_count, a_ms), (b_count, b_ms)) = (weight(a), weight(b));
        b_count.cmp(&a_count).then(b_ms.total_cmp(&a_ms))
    });
    keys.truncate(MOST_KERNELS);
    match keys.is_empty() {
        true => String::new(),
        false => format!("{}{}", legend(machines.iter()), groups(machines, &keys)),
    }
}

/// Skipped and failed rows with their reasons.
fn missing(machines: &[Machine<'_>]) -> String {
    let rows = machines.iter().flat_map(|machine| {
        let bad = machine.rows.iter().filter(|row| row.status != Status::Ok);
        bad.map(|row| {
            let state = if row.status == Status::Skipped { "skipped" } else { "failed" };
            let what = [&row.kind, &row.kernel, &row.variant, &row.shape, &row.precision];
            let what: Vec<_> = what.into_iter().filter(|it| !it.is_empty()).cloned().collect();
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}: {state}, {}</td></tr>\n",
                Text(&machine.name),
                Text(&what.join(" ")),
                Text(&row.reason),
            )
        })
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<table class=\"facts\"><caption class=\"unseen\">What did not run</caption><tbody>\n\
         {rows}</tbody></table>\n"
    )
}

fn all_rows(machines: &[Machine<'_>]) -> String {
    let columns = [
        "machine",
        "kind",
        "kernel",
        "variant",
        "size or shape",
        "precision",
        "ms",
        "rate",
        "% of peak",
    ];
    let rows = machines.iter().flat_map(|machine| {
        machine.rows.iter().filter(|row| row.status == Status::Ok).map(|row| {
            vec![
                machine.name.clone(),
                row.kind.clone(),
                row.kernel.clone(),
                row.variant.clone(),
                row.shape.clone(),
                row.precision.clone(),
                row.median_ms.map_or_else(String::new, short_number),
                rate_text(row),
                row.percent_of_peak.map_or_else(String::new, |it| format!("{it:.0}")),
            ]
        })
    });
    folded_table("Every row as a table", &columns, &rows.collect::<Vec<_>>())
}
