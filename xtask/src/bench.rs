//! `blt bench` of a program that knows which commit it was built from.

use std::process::Command;

use anyhow::Result;

use crate::cargo;

/// Builds and runs it.
pub fn run(arguments: &[&str]) -> Result<()> {
    let words = ["run", "--release", "--package", "blt-wgpu", "--bin", "blt", "--", "bench"];
    let words: Vec<String> = words.iter().chain(arguments).map(|&word| word.to_owned()).collect();
    let mut command = cargo::command(&words);
    if let Some(commit) = commit() {
        command.env("BLT_COMMIT", commit);
    }
    cargo::run(command)
}

/// The commit of the checkout, with a `+` where files differ from it; `None` outside of one.
fn commit() -> Option<String> {
    let git = |words: &[&str]| {
        let output = Command::new("git").current_dir(cargo::root()).args(words).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(marked(&commit, &changed))
}

fn marked(commit: &str, changed: &str) -> String {
    if changed.is_empty() { commit.to_owned() } else { format!("{commit}+") }
}

#[cfg(test)]
mod tests {
    use super::marked;

    #[test]
    fn a_changed_checkout_is_marked() {
        assert_eq!(marked("abc", ""), "abc");
        assert_eq!(marked("abc", " M src/lib.rs"), "abc+");
    }
}
