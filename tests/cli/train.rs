//! `blt train`: a run of a few steps, resumed and interrupted.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use blt_wgpu::random::Random;
use serde_json::Value;

use crate::init::TINY;
use crate::program::{Run, blt, blt_cpu, command, send, text_of};

/// A text and a configuration that trains on it.
fn prepare(place: &Path) -> String {
    let text = place.join("text.txt");
    std::fs::write(&text, "The quick brown fox jumps over the lazy dog. ".repeat(60)).unwrap();
    let sources = format!("[data]\nsources = [{:?}]\nbatch_size = 2", text_of(&text));
    let config = TINY.replace("[data]", &format!("steps = 4\n{sources}"));
    let rule = "\n[data.patcher_args]\npatching_mode = \"space\"\n";
    let path = place.join("run.toml");
    std::fs::write(&path, config + rule).unwrap();
    text_of(&path).to_owned()
}

#[test]
fn a_run_ends_in_a_model_and_can_be_resumed() {
    let place = tempfile::tempdir().unwrap();
    let config = prepare(place.path());
    let out = place.path().join("run");
    let train =
        |flags: &[&str]| blt_cpu(&[&["train", &config, "--out", text_of(&out)], flags].concat());
    let model = |run: Run| String::from_utf8(run.ok().stdout).unwrap().trim().to_owned();
    let first = model(train(&["--set", "max_steps=2"]));
    blt_cpu(&["generate", "--model", &first, "--prompt", "The ", "-n", "3"]).ok();
    // A run that is there is gone on with, never overwritten.
    train(&[]).fails(1, &["--resume", "--out"]);
    let last = model(train(&["--resume"]));
    assert_ne!(first, last);
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert!(!metrics.is_empty());
    // What a process left that was killed while it removed an old checkpoint.
    let leftover = out.join("checkpoints/.step-0000000001.partial");
    std::fs::create_dir(&leftover).unwrap();
    let again = train(&["--resume"]);
    let said = again.ok();
    assert!(!leftover.exists());
    assert!(
        said.stderr.contains("this run is finished: its 4 updates are done"),
        "{}",
        said.stderr
    );
    assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), last);
    let missing = place.path().join("other");
    let arguments = ["train", &config, "--out", text_of(&missing), "--resume"];
    blt_cpu(&arguments).fails(1, &["no checkpoint"]);
}

/// The program, training for a long time on a device, with what else is set.
#[cfg(unix)]
fn begin(config: &str, out: &Path, device: &str, more: &[&str]) -> Child {
    let words = ["train", config, "--out", text_of(out), "--set", "logging.freq=1"];
    let mut command = command(&[&words[..], &["--device", device], more].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until so many updates have been written down, or the program has ended.
#[cfg(unix)]
fn wait_for_lines(child: &mut Child, out: &Path, count: usize) {
    let begin = Instant::now();
    while losses(out).len() < count && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(120), "no step in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Step, loss and norm of every line, as they are written: numbers print so that they round-trip.
fn losses(out: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let keys = ["global_step", "loss/step_per_gpu", "loss/interval_per_gpu", "optim/grad_norm"];
    lines.map(|line| keys.map(|key| line[key].to_string()).join(" ")).collect()
}

#[cfg(unix)]
#[test]
fn a_signal_saves_a_checkpoint_and_says_how_to_go_on() {
    for signal in ["INT", "TERM"] {
        let place = tempfile::tempdir().unwrap();
        let config = prepare(place.path());
        let out = place.path().join("run dir");
        let mut child = begin(&config, &out, "cpu", &["--set", "steps=1000000"]);
        wait_for_lines(&mut child, &out, 1);
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{signal}: {stderr}");
        assert!(output.stdout.is_empty(), "it has no result yet");
        assert!(out.join("checkpoints/latest").exists());
        // What it says is a command that a shell takes, and that goes on.
        let (_, line) = stderr.split_once("to go on: blt ").expect("it says how to go on");
        let line = line.lines().next().unwrap().replace("steps=1000000", "max_steps=1");
        let program = env!("CARGO_BIN_EXE_blt");
        let mut shell = std::process::Command::new("sh");
        let output = shell.arg("-c").arg(format!("{program} {line}")).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {stderr}");
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let place = tempfile::tempdir().unwrap();
    let config = prepare(place.path());
    let out = place.path().join("run");
    // Both arrive within one update.
    let more = ["--set", "steps=1000000", "--set", "data.batch_size=64"];
    let mut child = begin(&config, &out, "cpu", &more);
    wait_for_lines(&mut child, &out, 1);
    for signal in ["STOP", "INT", "TERM", "CONT"] {
        send(signal, &child);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!out.join("checkpoints/latest").exists(), "nothing was waited for");
}

/// A disk that is full is played by a limit on the size of files, which weights exceed and lines of
/// metrics do not.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let config = prepare(place.path());
    let [out, straight] = ["run", "straight"].map(|name| place.path().join(name));
    let sets = ["--device", "cpu", "--set", "logging.freq=1", "--set", "checkpoint.dump.every=2"];
    let words = |out: &Path, more: &[&str]| {
        let words = [&["train", &config, "--out", text_of(out)], &sets[..], more].concat();
        words.iter().map(|word| word.to_string()).collect::<Vec<_>>()
    };
    let train = |out: &Path, more: &[&str]| {
        blt(&words(out, more).iter().map(String::as_str).collect::<Vec<_>>())
    };
    train(&straight, &[]).ok();
    train(&out, &["--set", "max_steps=2"]).ok();
    let before = crate::convert::names_in(&out.join("checkpoints"));
    let mut command = std::process::Command::new("sh");
    // In blocks of 512 bytes.
    command.args(["-c", "trap '' XFSZ; ulimit -f 40; exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_blt")).args(words(&out, &["--resume"]));
    let full = crate::program::run(command);
    full.fails(1, &["cannot write", "model.safetensors", "ulimit", "step-0000000002"]);
    assert_eq!(crate::convert::names_in(&out.join("checkpoints")), before);
    train(&out, &["--resume"]).ok();
    assert_eq!(losses(&out), losses(&straight));
}

/// Forty updates in one go, and in pieces that end by `kill -9` wherever they are.
#[cfg(unix)]
fn survives_being_killed(device: &str, kill_count: u32) {
    let place = tempfile::tempdir().unwrap();
    let config = prepare(place.path());
    let more = ["--set", "steps=40", "--set", "checkpoint.dump.every=5"];
    let straight = place.path().join("straight");
    let output = begin(&config, &straight, device, &more).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = losses(&straight);
    assert_eq!(expected.len(), 40);

    let out = place.path().join("killed");
    // Killed before the first checkpoint it begins again.
    let go_on = || {
        let resume: &[&str] =
            if out.join("checkpoints/latest").exists() { &["--resume"] } else { &[] };
        begin(&config, &out, device, &[&more[..], resume].concat())
    };
    let mut random = Random::new(u64::from(std::process::id()), 0);
    let mut killed_count = 0;
    for index in 0..kill_count {
        let mut child = go_on();
        // Somewhere in its part of the updates, and somewhere in that one.
        let part = 40 / kill_count;
        let lines = index * part + 1 + random.next_u32() % part;
        wait_for_lines(&mut child, &out, lines as usize);
        std::thread::sleep(Duration::from_micros((random.next_u32() % 20_000).into()));
        child.kill().unwrap();
        killed_count += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed_count > 0, "it was always quicker");
    let output = go_on().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(losses(&out), expected);
    let names = crate::convert::names_in(&out.join("checkpoints"));
    assert!(names.iter().all(|name| !name.contains("partial")), "{names:?}");
    for file in ["model.safetensors", "optimizer-00001.safetensors"] {
        let read =
            |run: &Path| std::fs::read(run.join("checkpoints/step-0000000040").join(file)).unwrap();
        assert!(read(&straight) == read(&out), "{file}");
    }
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_with_the_same_bits() {
    survives_being_killed("cpu", 4);
}

#[cfg(all(unix, feature = "gpu"))]
#[test]
fn a_run_on_a_gpu_that_is_killed_goes_on_with_the_same_bits() {
    let test = "a_run_on_a_gpu_that_is_killed_goes_on_with_the_same_bits";
    if let Some(device) = crate::program::gpu(test) {
        survives_being_killed(&device, 2);
    }
}
