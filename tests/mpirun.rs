//! Processes that `mpirun` starts: one run between them, whatever becomes of one. Built with the
//! feature `mpi` alone; what ranks compute is tested without MPI in `tests/ranks.rs`.
#![cfg(all(feature = "mpi", feature = "cli", unix))]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use blt_wgpu::train::metrics::{Metrics, parse_lines};
use support::runs::{BLT, texts};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A directory with texts and the configuration of a run.
fn place() -> tempfile::TempDir {
    let place = texts();
    fs::write(place.path().join("run.toml"), BLT).unwrap();
    place
}

/// `blt train` of the run `name`, by so many processes of one thread each. One is started without
/// `mpirun`.
fn train(place: &Path, name: &str, count: usize, more: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_blt");
    let mut command = match count {
        1 => Command::new(program),
        _ => {
            let mut command = Command::new("mpirun");
            command.args(["-n", &count.to_string(), program]);
            command
        }
    };
    let root = format!("data.root_dir={:?}", place.to_str().unwrap());
    let (config, out) = (place.join("run.toml"), place.join(name));
    command.args(["train", config.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    command.args(["--device", "cpu", "--set", &root]);
    for set in [
        "grad_acc_steps=4",
        "optim.lr=0.004",
        "optim.warmup=2",
        "optim.clip=0.05",
        "logging.freq=1",
        "checkpoint.dump.every=3",
    ] {
        command.args(["--set", set]);
    }
    command.args(more).env("RAYON_NUM_THREADS", "1");
    // Open MPI asks root whether it means it, counts cores, and may not read other processes.
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
        ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
    ] {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn shown(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{out}{err}")
}

fn ok(output: Output) -> Output {
    assert!(output.status.success(), "{}", shown(&output));
    output
}

fn lines(place: &Path, name: &str) -> Vec<Metrics> {
    let text = fs::read_to_string(place.join(name).join("metrics.jsonl")).unwrap_or_default();
    parse_lines(&text).unwrap()
}

/// That a run has these losses and norms but for rounding.
fn same_but_for_rounding(lines: &[Metrics], expected: &[Metrics]) {
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        for (got, wanted) in
            [(line.interval_loss, expected.interval_loss), (line.grad_norm, expected.grad_norm)]
        {
            let difference = (got - wanted).abs() / wanted;
            assert!(difference < 2e-4, "step {}: {got} {wanted}", line.global_step);
        }
        assert_eq!(line.target_count, expected.target_count);
    }
}

/// Starts a run of two that does not end by itself, and waits until it has saved a checkpoint.
fn begin(place: &Path, name: &str) -> Child {
    let mut command = train(place, name, 2, &["--set", "steps=1000000"]);
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    while lines(place, name).len() < 4 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "{}",
            shown(&child.wait_with_output().unwrap())
        );
        assert!(begin.elapsed() < PATIENCE, "it does not get to its fourth update");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// The ranks of a run: the processes of the program that name its directory.
fn ranks_of(directory: &Path) -> Vec<String> {
    let listing = Command::new("ps").args(["-A", "-o", "pid=,args=", "-ww"]).output().unwrap();
    let is_rank = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(env!("CARGO_BIN_EXE_blt"))
            && line.contains(directory.to_str().unwrap())
    };
    let text = String::from_utf8_lossy(&listing.stdout).into_owned();
    let ids = text.lines().filter(is_rank);
    ids.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

fn send(signal: &str, id: &str) {
    assert!(Command::new("kill").args([signal, id]).status().unwrap().success());
}

#[test]
fn two_and_four_processes_have_the_losses_of_one() {
    let place = place();
    let place = place.path();
    let sets = ["--set", "steps=8", "--set", "eval.every=4"];
    for table in ["dense", "lazy"] {
        let updates = format!("optim.table_updates={table:?}");
        let sets = [&sets[..], &["--set", &updates]].concat();
        let name = |count| format!("{table}-{count}");
        ok(train(place, &name(1), 1, &sets).output().unwrap());
        let expected = lines(place, &name(1));
        assert_eq!(expected.len(), 8);
        for count in [2, 4] {
            let output = ok(train(place, &name(count), count, &sets).output().unwrap());
            same_but_for_rounding(&lines(place, &name(count)), &expected);
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.lines().count(), 1, "the first rank alone says where it is: {said}");
            assert!(PathBuf::from(said.trim()).join("config.json").is_file());
        }
    }
}

#[test]
fn a_killed_rank_ends_the_job_and_another_number_of_ranks_goes_on() {
    let place = place();
    let (directory, expected) = (place.path().join("run"), "straight");
    let child = begin(place.path(), "run");
    let ranks = ranks_of(&directory);
    assert_eq!(ranks.len(), 2);
    send("-9", &ranks[1]);
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    let said = shown(&output);
    // Open MPI names the rank, which are started in their order, MPICH the process.
    let is_named = said.contains("process rank 1 ") || said.contains(&ranks[1]);
    assert!(is_named, "the rank is named: {said}");
    assert!(ranks_of(&directory).is_empty(), "nobody is left");

    // One goes on from the last checkpoint, then four, with the losses of a run never interrupted.
    let last = fs::read_to_string(directory.join("checkpoints/latest")).unwrap();
    let step: u64 = last.trim().trim_start_matches("step-").parse().unwrap();
    let (steps, middle) = (format!("max_steps={}", step + 4), format!("max_steps={}", step + 2));
    let long = ["--set", "steps=1000000", "--set"];
    let set = |value: &'static str| [&long[..], &[value]].concat();
    let resume = |value: &'static str| [&set(value)[..], &["--resume"]].concat();
    let [steps, middle]: [&'static str; 2] = [steps, middle].map(|text| &*text.leak());
    ok(train(place.path(), "run", 1, &resume(middle)).output().unwrap());
    ok(train(place.path(), "run", 4, &resume(steps)).output().unwrap());
    ok(train(place.path(), expected, 1, &set(steps)).output().unwrap());
    same_but_for_rounding(&lines(place.path(), "run"), &lines(place.path(), expected));
}

#[test]
fn a_rank_that_is_asked_to_stop_stops_the_job_in_good_order() {
    let place = place();
    let child = begin(place.path(), "run");
    send("-TERM", &ranks_of(&place.path().join("run"))[1]);
    let output = ok(child.wait_with_output().unwrap());
    let said = shown(&output);
    assert!(said.contains("stopped after step"), "{said}");
    assert!(said.contains("to go on: mpirun -n 2 blt train"), "{said}");
}

#[test]
fn what_goes_wrong_on_a_rank_is_said_and_ends_the_job() {
    let place = place();
    let output = train(place.path(), "run", 2, &["--set", "grad_acc_steps=1"]).output().unwrap();
    assert!(!output.status.success());
    let said = shown(&output);
    assert!(said.contains("expected at least a micro-batch for each of 2 ranks"), "{said}");
    assert!(said.contains("of 2"), "the rank is named: {said}");
    let lossy = ["--restart-on-loss", "3"];
    let output = train(place.path(), "run", 2, &lossy).output().unwrap();
    assert!(shown(&output).contains("--restart-on-loss is for one process"), "{}", shown(&output));
}
