//! The test stages: what each of them proves, and the commands that prove it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// One line of the table.
#[derive(Debug)]
pub struct Stage {
    pub name: &'static str,
    pub proves: &'static str,
    pub steps: &'static [Step],
}

/// One command of a stage. All steps of a stage run, whatever became of those before.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Look for what the machine must have, install it or say how to.
    Setup,
    /// `cargo test` with these arguments.
    Test(&'static [&'static str]),
    /// The same where the machine has MPI and what it takes to build against it; left out, with
    /// what is missing, elsewhere.
    MpiTest(&'static [&'static str]),
    /// `cargo test` of every file in `tests/` but these.
    TestAllBut(&'static [&'static str]),
    /// The `cargo test` that writes the base WGSL, as browsers get it, into `$BLT_WGSL_DIR`.
    WriteWgsl(&'static [&'static str]),
    /// Every file that was written there must compile in headless Chromium.
    CompileWgsl,
    /// The package of `web/` must do in headless Chromium what the program does.
    WebTest,
    /// Runs the desktop example with these arguments, on a display of its own where there is none.
    Desktop(&'static [&'static str]),
    /// Any other cargo command.
    Cargo(&'static [&'static str]),
    /// A cargo command for wasm32, with whichever standard library there is for it.
    Wasm(&'static [&'static str]),
}

use Step::{
    Cargo, CompileWgsl, Desktop, MpiTest, Setup, Test, TestAllBut, Wasm, WebTest, WriteWgsl,
};

/// Integration tests that have a stage of their own; `engine` runs all others.
const SHADER_TESTS: &str = "shaders";

/// The feature that brings what the desktop example needs.
pub const EMBED: &str = "embed-example";

pub const STAGES: &[Stage] = &[
    Stage {
        name: "setup",
        proves: "the machine has a Vulkan driver, a browser and the wasm32 standard library",
        steps: &[Setup],
    },
    Stage {
        name: "unit",
        proves: "each module alone; the links and the examples of the documentation",
        steps: &[
            Test(&["--lib", "--bins"]),
            Test(&["--doc"]),
            Test(&["--package", "xtask"]),
            Test(&["--package", "blt-web"]),
            Cargo(&["doc", "--no-deps"]),
        ],
    },
    Stage {
        name: "engine",
        proves: "kernels, models and the program on the CPU engine and on a Vulkan adapter",
        steps: &[TestAllBut(&[SHADER_TESTS])],
    },
    Stage {
        name: "parquet",
        proves: "texts in Parquet files are read, by the feature of that name",
        steps: &[Test(&["--lib", "--features", "parquet", "text::"])],
    },
    Stage {
        name: "mpi",
        proves: "processes that mpirun starts train one model; left out where there is no MPI",
        steps: &[MpiTest(&["--features", "mpi", "--test", "mpirun"])],
    },
    Stage {
        name: "shaders",
        proves: "shaders translate to SPIR-V, MSL and, without matrices, HLSL; bindings are Rust's",
        steps: &[Test(&["--test", SHADER_TESTS])],
    },
    Stage {
        name: "wasm",
        proves: "the library compiles for wasm32, with its CPU engine alone and with WebGPU",
        steps: &[
            Wasm(&["check", "--lib", "--no-default-features"]),
            Wasm(&["check", "--lib", "--no-default-features", "--features", "gpu"]),
        ],
    },
    Stage {
        name: "browser",
        proves: "Chromium's own compiler takes every base variant",
        steps: &[WriteWgsl(&["--test", SHADER_TESTS, "browser_wgsl"]), CompileWgsl],
    },
    Stage {
        name: "web-test",
        proves: "in Chromium the package cuts, writes and trains as the program does",
        steps: &[WebTest],
    },
    Stage {
        name: "desktop",
        proves: "a window draws on while models read, write and learn on its device",
        steps: &[
            Cargo(&["clippy", "--example", "embed", "--features", EMBED, "--", "-D", "warnings"]),
            Desktop(&[
                "--script",
                "--steps",
                "4",
                "--model",
                "web/model",
                "--screenshot",
                "target/desktop/window.png",
            ]),
            Desktop(&[
                "--offscreen",
                "--dark",
                "--script",
                "--learn",
                "model",
                "--steps",
                "4",
                "--screenshot",
                "target/desktop/texture.png",
            ]),
        ],
    },
    Stage {
        name: "package",
        proves: "what would be published is whole: it builds from the package alone",
        steps: &[Cargo(&["package", "--package", "blt-wgpu", "--allow-dirty"])],
    },
];

/// The stages of these names in this order, or all of them.
///
/// # Errors
/// A name that is no stage.
pub fn select(names: &[&str]) -> Result<Vec<&'static Stage>> {
    if names.is_empty() {
        return Ok(STAGES.iter().collect());
    }
    let find = |name: &&str| STAGES.iter().find(|stage| stage.name == *name);
    let known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
    names
        .iter()
        .map(|name| {
            find(name).with_context(|| format!("{name}: no such stage: {}", known.join(", ")))
        })
        .collect()
}

/// What `test --list` prints.
pub fn listing() -> String {
    let mut text = String::new();
    for stage in STAGES {
        writeln!(text, "{:8} {}", stage.name, stage.proves).expect("strings take all");
        for step in stage.steps {
            writeln!(text, "{:8}   {}", "", step.describe()).expect("strings take all");
        }
    }
    text
}

impl Step {
    /// Whether it counts tests.
    pub fn is_test(&self) -> bool {
        matches!(self, Test(_) | MpiTest(_) | TestAllBut(_) | WriteWgsl(_) | WebTest)
    }

    /// The step as a person would do it by hand.
    fn describe(&self) -> String {
        match self {
            Setup => "cargo xtask setup".to_owned(),
            Test(arguments) | MpiTest(arguments) => format!("cargo test {}", arguments.join(" ")),
            TestAllBut(names) => {
                format!("cargo test --test NAME for all in tests/ but {}", names.join(", "))
            }
            WriteWgsl(arguments) => {
                format!("BLT_WGSL_DIR=target/wgsl cargo test {}", arguments.join(" "))
            }
            CompileWgsl => "cargo xtask browser target/wgsl".to_owned(),
            WebTest => "cargo xtask web-test".to_owned(),
            Desktop(arguments) => {
                format!("cargo run --example embed --features {EMBED} -- {}", arguments.join(" "))
            }
            Cargo(arguments) => format!("cargo {}", arguments.join(" ")),
            Wasm(arguments) => {
                format!("cargo {} --target wasm32-unknown-unknown", arguments.join(" "))
            }
        }
    }
}

/// `--test NAME` for every integration test of the main crate but the ones named.
///
/// # Errors
/// There are none, or one that is named is not there.
pub fn tests_but(left_out: &[&str]) -> Result<Vec<String>> {
    let names = integration_tests(&cargo::root().join("tests"))?;
    for name in left_out {
        if !names.iter().any(|known| known == name) {
            bail!("tests/{name}.rs: not found, though a stage is named after it");
        }
    }
    let chosen: Vec<String> =
        names.into_iter().filter(|name| !left_out.contains(&name.as_str())).collect();
    if chosen.is_empty() {
        bail!("tests/: no integration tests");
    }
    Ok(chosen.into_iter().flat_map(|name| ["--test".to_owned(), name]).collect())
}

/// What cargo would take for integration tests: `NAME.rs` and `NAME/main.rs`, sorted.
fn integration_tests(directory: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_test = if path.is_dir() {
            path.join("main.rs").is_file()
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
        };
        if let (true, Some(stem)) = (is_test, path.file_stem()) {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_an_unknown_name_is_refused_with_the_known_ones() {
        assert_eq!(select(&[]).unwrap().len(), STAGES.len());
        let chosen = select(&["wasm", "unit"]).unwrap();
        assert_eq!(chosen.iter().map(|stage| stage.name).collect::<Vec<_>>(), ["wasm", "unit"]);
        let error = select(&["units"]).unwrap_err().to_string();
        assert!(error.contains("units") && error.contains("unit, engine"), "{error}");
    }

    #[test]
    fn integration_tests_are_files_and_directories_with_a_main() {
        let directory = std::env::temp_dir().join(format!("blt-xtask-{}", std::process::id()));
        for place in ["parity", "golden"] {
            std::fs::create_dir_all(directory.join(place)).unwrap();
        }
        for file in ["shaders.rs", "parity/main.rs", "golden/vectors.json", "notes.md"] {
            std::fs::write(directory.join(file), "").unwrap();
        }
        let names = integration_tests(&directory).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(names, ["parity", "shaders"]);
    }
}
