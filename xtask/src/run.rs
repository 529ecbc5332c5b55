//! Runs stages one after the other and prints a table of what became of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::cargo::{self, TestCounts};
use crate::skips::{self, SkipLog};
use crate::stages::{self, Stage, Step};
use crate::{browser, setup, web};

/// What one stage has counted, whether it passed or not.
#[derive(Debug, Default)]
struct Tally {
    tests: TestCounts,
    /// Shaders that Chromium compiled.
    compiled_count: usize,
    skipped: Vec<String>,
    /// Steps that this machine cannot do and need not, with what is missing.
    left_out: Vec<String>,
    problems: Vec<String>,
}

/// One row of the table.
struct Row {
    name: &'static str,
    elapsed: Duration,
    tally: Tally,
}

/// Runs the stages, all of them whatever fails, and prints the table. `false` if one failed.
pub fn run(stages: &[&'static Stage]) -> Result<bool> {
    let start = Instant::now();
    let mut rows = Vec::new();
    for stage in stages {
        eprintln!("\n== {}: {}", stage.name, stage.proves);
        let start = Instant::now();
        let tally = run_stage(stage)?;
        rows.push(Row { name: stage.name, elapsed: start.elapsed(), tally });
    }
    // What the stages wrote on stderr shall come first where both go to one place.
    println!("\n{}", table(&rows, start.elapsed()));
    Ok(rows.iter().all(|row| row.tally.problems.is_empty()))
}

fn run_stage(stage: &Stage) -> Result<Tally> {
    let log = SkipLog::create()?;
    let mut tally = Tally::default();
    for step in stage.steps {
        if let Err(error) = run_step(*step, &log, &mut tally) {
            eprintln!("error: {error:#}");
            tally.problems.push(format!("{error:#}"));
        }
    }
    tally.skipped.extend(log.read()?);
    tally.judge(stage);
    Ok(tally)
}

fn run_step(step: Step, log: &SkipLog, tally: &mut Tally) -> Result<()> {
    match step {
        Step::Setup => setup::prepare(),
        Step::Cargo(arguments) => cargo::run(cargo::command(&owned(arguments))),
        Step::Desktop(arguments) => run_desktop(arguments),
        Step::Wasm(arguments) => cargo::run(setup::wasm_std::command(&owned(arguments))?),
        Step::Test(arguments) => run_tests(owned(arguments), &[], log, tally),
        Step::MpiTest(arguments) => match setup::missing_for_mpi() {
            None => run_tests(owned(arguments), &[], log, tally),
            Some(missing) => {
                tally.left_out.push(missing);
                Ok(())
            }
        },
        Step::TestAllBut(names) => run_tests(stages::tests_but(names)?, &[], log, tally),
        Step::WriteWgsl(arguments) => {
            let directory = cargo::wgsl_directory();
            // Shaders of an earlier run must not pass for those of this one.
            if directory.exists() {
                std::fs::remove_dir_all(&directory)
                    .with_context(|| format!("cannot empty {}", directory.display()))?;
            }
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            let settings = [("BLT_WGSL_DIR", directory.as_os_str())];
            run_tests(owned(arguments), &settings, log, tally)
        }
        Step::WebTest => {
            let (counts, content) = web::test("")?;
            tally.tests += counts;
            match content {
                true => Ok(()),
                false => bail!("{} tests failed in the browser", counts.failed_count),
            }
        }
        Step::CompileWgsl => {
            let outcome = browser::compile_directory(&cargo::wgsl_directory())?;
            tally.compiled_count += outcome.compiled_count;
            tally.skipped.extend(outcome.skipped);
            Ok(())
        }
    }
}

fn run_tests(
    arguments: Vec<String>,
    settings: &[(&str, &std::ffi::OsStr)],
    log: &SkipLog,
    tally: &mut Tally,
) -> Result<()> {
    let head = ["test".to_owned(), "--no-fail-fast".to_owned()];
    let mut command = cargo::command(&head.into_iter().chain(arguments).collect::<Vec<_>>());
    command.envs(settings.iter().copied()).envs(adapter_settings());
    log.watch(&mut command);
    let line = cargo::show(&command);
    let (counts, content) = cargo::test(command)?;
    tally.tests += counts;
    if !content {
        bail!("{} tests failed, or did not build: {line}", counts.failed_count);
    }
    Ok(())
}

/// Runs the desktop example, where there is no display on one that nobody sees.
fn run_desktop(arguments: &[&str]) -> Result<()> {
    let words = ["run", "--example", "embed", "--features", stages::EMBED, "--"];
    let words: Vec<_> = words.iter().chain(arguments).copied().collect();
    let command = cargo::command(&owned(&words));
    let has_display =
        ["DISPLAY", "WAYLAND_DISPLAY"].map(std::env::var_os).iter().any(Option::is_some);
    let mut command = match cfg!(target_os = "linux") && !has_display {
        true => cargo::within("xvfb-run", &["--auto-servernum"], &command),
        false => command,
    };
    command.envs(adapter_settings());
    cargo::run(command)
}

/// On Linux the software driver is the one that everybody has, so it is what tests run on unless
/// an adapter was chosen. Metal and DX12 are left to wgpu.
fn adapter_settings() -> Vec<(&'static str, &'static str)> {
    let chosen = ["WGPU_BACKEND", "WGPU_ADAPTER_NAME"];
    if !cfg!(target_os = "linux") || chosen.iter().any(|name| std::env::var_os(name).is_some()) {
        return Vec::new();
    }
    vec![("WGPU_BACKEND", "vulkan"), ("WGPU_ADAPTER_NAME", "llvmpipe")]
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

impl Tally {
    /// What was counted can fail a stage whose commands all went well.
    fn judge(&mut self, stage: &Stage) {
        let has_tests = stage.steps.iter().any(Step::is_test);
        let is_done = self.problems.is_empty() && self.left_out.is_empty();
        if has_tests && is_done && self.tests.passed_count == 0 {
            self.problems.push("no test ran".to_owned());
        }
        if !self.skipped.is_empty() && !skips::allowed() {
            self.problems.push(format!(
                "{} could not run for want of a GPU: {} (BLT_ALLOW_NO_GPU=1 permits it)",
                self.skipped.len(),
                shorten(&self.skipped),
            ));
        }
    }

    /// The counts in words; nothing is said about what is nought.
    fn describe(&self) -> String {
        let counts = [
            (self.tests.passed_count, "tests passed"),
            (self.tests.failed_count, "tests failed"),
            (self.tests.ignored_count, "tests ignored"),
            (self.compiled_count as u64, "shaders compiled"),
            (self.skipped.len() as u64, "skipped: no GPU"),
        ];
        let parts = counts.iter().filter(|(count, _)| *count > 0);
        let counted = parts.map(|(count, what)| format!("{count} {what}"));
        let left_out = self.left_out.iter().map(|missing| format!("skipped: {missing}"));
        counted.chain(left_out).collect::<Vec<_>>().join(", ")
    }
}

/// The first few names of a list.
fn shorten(names: &[String]) -> String {
    const SHOWN_COUNT: usize = 8;
    let mut text = names[..names.len().min(SHOWN_COUNT)].join("; ");
    if names.len() > SHOWN_COUNT {
        text.push_str("; ..");
    }
    text
}

/// The table, its last line `N passed, N failed`.
fn table(rows: &[Row], elapsed: Duration) -> String {
    let mut lines = vec![format!("{:8} {:7} {:>9}  {}", "stage", "result", "time", "counted")];
    let failed_count = rows.iter().filter(|row| !row.tally.problems.is_empty()).count();
    for row in rows {
        let result = if row.tally.problems.is_empty() { "passed" } else { "FAILED" };
        let time = format!("{:.1} s", row.elapsed.as_secs_f64());
        let line = format!("{:8} {result:7} {time:>9}  {}", row.name, row.tally.describe());
        lines.push(line.trim_end().to_owned());
        let problems = row.tally.problems.iter();
        lines.extend(problems.map(|problem| format!("{:8} {}", "", problem.replace('\n', " "))));
    }
    lines.push(format!("{:8} {:7} {:>9}", "", "", format!("{:.1} s", elapsed.as_secs_f64())));
    lines.push(format!("{} passed, {failed_count} failed", rows.len() - failed_count));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str) -> &'static Stage {
        stages::select(&[name]).unwrap()[0]
    }

    #[test]
    fn a_stage_in_which_no_test_ran_has_failed() {
        let mut tally = Tally::default();
        tally.judge(stage("engine"));
        assert_eq!(tally.problems, ["no test ran"]);
        let mut tally = Tally { left_out: vec!["no mpirun".to_owned()], ..Tally::default() };
        tally.judge(stage("mpi"));
        assert!(tally.problems.is_empty());
        assert_eq!(tally.describe(), "skipped: no mpirun");
        let mut tally = Tally::default();
        tally.judge(stage("mpi"));
        assert_eq!(tally.problems, ["no test ran"]);
        let mut tally = Tally::default();
        tally.judge(stage("package"));
        assert!(tally.problems.is_empty());
    }

    #[test]
    fn the_table_ends_with_the_count() {
        let good = Tally {
            tests: TestCounts { passed_count: 3, ..TestCounts::default() },
            ..Tally::default()
        };
        let bad = Tally { problems: vec!["no test ran".to_owned()], ..Tally::default() };
        let second = Duration::from_secs(1);
        let rows = [
            Row { name: "unit", elapsed: second, tally: good },
            Row { name: "wasm", elapsed: second, tally: bad },
        ];
        let text = table(&rows, 2 * second);
        assert!(text.contains("unit     passed      1.0 s  3 tests passed\n"), "{text}");
        assert!(text.contains("wasm     FAILED"), "{text}");
        assert!(text.ends_with("\n1 passed, 1 failed"), "{text}");
    }
}
