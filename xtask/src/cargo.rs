//! How the stages call cargo: from the root of the repository, with the output passed through.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What the lines `test result: ..` of one `cargo test` add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    pub passed_count: u64,
    pub failed_count: u64,
    pub ignored_count: u64,
}

/// The root of the repository: where the main crate's `Cargo.toml` lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Where the stage `browser` expects the WGSL of the base variants, as a browser is to see it.
pub fn wgsl_directory() -> PathBuf {
    root().join("target").join("wgsl")
}

/// A cargo command in the root of the repository.
pub fn command(arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    // `cargo run` describes xtask in these; build scripts of other crates must not see that.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The same command begun by another program, which is given these arguments and then the command.
pub fn within(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.current_dir(root()).args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// Runs a cargo command to its end; an error if it fails.
pub fn run(mut command: Command) -> Result<()> {
    let line = show(&command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

/// Runs a `cargo test`, passes its output through and counts its tests. The flag says whether
/// cargo was content; the counts are there in both cases.
pub fn test(mut command: Command) -> Result<(TestCounts, bool)> {
    let line = show(&command);
    eprintln!("$ {line}");
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    count(command)
}

/// Runs a program that says what became of tests as libtest does, passes its output through and
/// counts them. The flag says whether it was content; the counts are there in both cases.
pub fn count(mut command: Command) -> Result<(TestCounts, bool)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut counts = TestCounts::default();
    for text in BufReader::new(stdout).split(b'\n') {
        let text = String::from_utf8_lossy(&text?).into_owned();
        println!("{text}");
        counts.add_line(&text);
    }
    let status = child.wait()?;
    Ok((counts, status.success()))
}

/// The command as a person would type it, settings of the environment first.
pub fn show(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        Some(format!("{}={value}", name.to_string_lossy()))
    });
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    let words: Vec<String> = settings.chain([program]).chain(arguments).collect();
    words.join(" ")
}

impl TestCounts {
    /// Adds one line of output if it is libtest's summary of a test binary.
    fn add_line(&mut self, line: &str) {
        let Some((_, summary)) = line.split_once("test result: ") else { return };
        for part in summary.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let Some(Ok(count)) = words.next().map(str::parse::<u64>) else { continue };
            match words.next() {
                Some("passed") => self.passed_count += count,
                Some("failed") => self.failed_count += count,
                Some("ignored") => self.ignored_count += count,
                _ => {}
            }
        }
    }
}

impl std::ops::AddAssign for TestCounts {
    fn add_assign(&mut self, other: Self) {
        self.passed_count += other.passed_count;
        self.failed_count += other.failed_count;
        self.ignored_count += other.ignored_count;
    }
}

#[cfg(test)]
mod tests {
    use super::TestCounts;

    #[test]
    fn summaries_of_libtest_are_added_up() {
        let mut counts = TestCounts::default();
        for line in [
            "running 12 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
             finished in 0.31s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out",
        ] {
            counts.add_line(line);
        }
        let expected = TestCounts { passed_count: 15, failed_count: 2, ignored_count: 1 };
        assert_eq!(counts, expected);
    }
}
