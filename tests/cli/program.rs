//! Running the program and reading what it leaves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// What a run of the program gave.
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// The one line of JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let run = self.ok();
        let text = String::from_utf8(run.stdout).unwrap();
        assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// That it failed with this code, said `error:` first and all of `parts`, and no result.
    #[track_caller]
    pub fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in: {}", self.stderr);
        }
        assert!(self.stdout.is_empty(), "{}", String::from_utf8_lossy(&self.stdout));
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blt"));
    command.args(arguments).env_remove("WGPU_BACKEND").env_remove("WGPU_ADAPTER_NAME");
    command.stdin(Stdio::null());
    command
}

pub fn run(mut command: Command) -> Run {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Run { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
}

/// The same with these bytes on stdin.
pub fn run_with_stdin(mut command: Command, bytes: &[u8]) -> Run {
    let pipe = || Stdio::piped();
    let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
    // Who refuses its arguments may be gone before it reads.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Run { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
}

/// Ctrl-C, as a terminal sends it.
#[cfg(unix)]
pub fn press_ctrl_c(child: &std::process::Child) {
    send("INT", child);
}

/// A signal by its name.
#[cfg(unix)]
pub fn send(signal: &str, child: &std::process::Child) {
    let kill = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

pub fn blt(arguments: &[&str]) -> Run {
    run(command(arguments))
}

/// The same on the CPU engine.
pub fn blt_cpu(arguments: &[&str]) -> Run {
    blt(&[arguments, &["--device", "cpu"]].concat())
}

/// The GPU that tests run on, for `--device`: the one that `BLT_TEST_DEVICE` or
/// `WGPU_ADAPTER_NAME` names, or the first. `None`, and a line in the file `BLT_SKIP_LOG`, if there
/// is none and `BLT_ALLOW_NO_GPU=1`.
#[cfg(feature = "gpu")]
pub fn gpu(test: &str) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = variable("BLT_TEST_DEVICE").or_else(|| variable("WGPU_ADAPTER_NAME"));
    let found = blt(&["devices", "--json"]).json();
    let devices = found["devices"].as_array().unwrap();
    let ids = devices.iter().skip(1).map(|device| device["id"].as_str().unwrap().to_owned());
    if let Some(id) = named.or(ids.into_iter().next()) {
        return Some(id);
    }
    assert!(variable("BLT_ALLOW_NO_GPU").is_some_and(|it| it == "1"), "{test} needs a GPU");
    println!("skipped: no gpu: {test}");
    if let Some(path) = variable("BLT_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        std::io::Write::write_all(&mut log.unwrap(), format!("{test}\n").as_bytes()).unwrap();
    }
    None
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect()
}

pub fn joined(values: &[u64]) -> String {
    values.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Some tensors of a file as f64.
pub struct Tensors(Vec<u8>);

impl Tensors {
    pub fn open(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    pub fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let mut names: Vec<_> = file.names().into_iter().map(|it| it.to_string()).collect();
        names.sort();
        names
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("no tensor {name}"));
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|it| f32::from_le_bytes(*it).into()),
            Dtype::I64 => {
                let longs = data.as_chunks().0.iter().map(|it| i64::from_le_bytes(*it) as f64);
                return (tensor.shape().to_vec(), longs.collect());
            }
            other => panic!("{name} has elements of type {other}"),
        };
        (tensor.shape().to_vec(), values.collect())
    }

    pub fn ids(&self) -> Vec<u64> {
        self.get("ids").1.into_iter().map(|id| id as u64).collect()
    }
}

#[track_caller]
pub fn assert_close(
    name: &str,
    got: &(Vec<usize>, Vec<f64>),
    expected: &(Vec<usize>, Vec<f64>),
    by: f64,
) {
    assert_eq!(got.0, expected.0, "{name}");
    for (index, (a, b)) in got.1.iter().zip(&expected.1).enumerate() {
        assert!((a - b).abs() <= by, "{name}[{index}]: expected {b}, got {a}");
    }
}
