//! Devices, exit codes, pipes, help.

use std::process::Stdio;

use crate::program::{blt, blt_cpu, command, fixture, run, text_of};

#[test]
fn devices_lists_the_cpu_engine() {
    let found = blt(&["devices", "--json"]).json();
    let devices = found["devices"].as_array().unwrap();
    assert_eq!(devices[0]["id"], "cpu");
    let default = found["default"].as_str().unwrap();
    assert!(devices.iter().any(|device| device["id"] == default));
    let text = String::from_utf8(blt(&["devices"]).ok().stdout).unwrap();
    assert!(text.contains(&format!("* {default}")));
}

/// What a person with a card and no toolchain can run.
#[test]
fn a_device_is_checked_by_every_rule_of_patching() {
    let said = blt_cpu(&["devices", "--check", "--json"]).json();
    assert_eq!(said["device"], "cpu");
    let checked = said["checked"].as_array().unwrap();
    let modes: Vec<_> = checked.iter().map(|it| it["patching"].as_str().unwrap()).collect();
    let every = ["entropy", "monotonic", "combined", "space", "static", "byte"];
    assert_eq!(modes, [every, every].concat());
    for (index, mode) in checked.iter().enumerate() {
        assert_eq!(mode["bytes_a_submission"], if index < every.len() { 1 } else { 4 });
    }
    for mode in checked {
        let count = |name: &str| mode[name].as_u64().unwrap();
        assert_eq!(count("ids"), 3 * 70, "{mode}");
        assert!(mode["largest_difference"].as_f64().unwrap() < 1e-4, "{mode}");
        assert!(count("ties") <= 2, "{mode}");
        // Some patches start and some go on; but for single bytes.
        let patches = count("patches");
        match mode["patching"].as_str().unwrap() {
            "byte" => assert_eq!(patches, 3 * 70),
            "static" => assert!((3..=6).contains(&patches), "{mode}"),
            _ => assert!((4..200).contains(&patches), "{mode}"),
        }
    }
    for (index, mode) in checked.iter().enumerate() {
        let expected = if index % every.len() < 3 { 3 * 70 } else { 0 };
        assert_eq!(mode["same_entropies"], expected, "{mode}");
    }
    let said = blt_cpu(&["devices", "--check"]).ok();
    assert!(
        String::from_utf8(said.stdout).unwrap().ends_with("cpu generates what full passes say\n")
    );
    blt_cpu(&["devices"]).fails(2, &["--check", "hint: "]);
    blt(&["devices", "--long"]).fails(2, &["--check"]);
    blt(&["devices", "--check", "--device", "no such device"]).fails(3, &["no such device"]);
}

#[test]
fn a_device_that_is_not_there_ends_with_3() {
    let model = fixture("k1_ones");
    let arguments = ["generate", "--model", text_of(&model), "--prompt", "a", "-n", "1"];
    let named = blt(&[&arguments[..], &["--device", "no such device"]].concat());
    named.fails(3, &["no such device", "cpu", "hint: "]);
    let mut environment = command(&arguments);
    environment.env("WGPU_ADAPTER_NAME", "no such adapter");
    run(environment).fails(3, &["no such adapter"]);
    let mut flag = command(&[&arguments[..], &["--device", "CPU"]].concat());
    flag.env("WGPU_ADAPTER_NAME", "no such adapter");
    run(flag).ok();
}

#[test]
fn a_reader_that_stops_is_no_error() {
    // More than a pipe holds: another test that forks right now has its ends for a moment too.
    let text = "word ".repeat(20_000);
    let mut command = command(&["patch", "--mode", "space", "--text", &text]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let mut command = command(&["patch", "--mode", "space", "--text", "a b"]);
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    run(command).fails(1, &["cannot write to stdout", "caused by: "]);
}

#[test]
fn nothing_is_coloured_where_nobody_watches() {
    let done = blt(&["patch", "--mode", "space", "--text", "a b"]).ok();
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "<bos>|a |b<eos>\n");
    assert!(!done.stderr.contains('\x1b'));
}

#[test]
fn help_and_usage() {
    let help = blt(&["--help"]).ok();
    assert!(String::from_utf8(help.stdout).unwrap().contains("blt demo"));
    for name in ["demo", "train", "patch", "logits", "eval", "generate", "init", "info", "devices"]
    {
        let help = String::from_utf8(blt(&[name, "--help"]).ok().stdout).unwrap();
        assert!(help.contains(&format!("Example: blt {name}")), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    assert_eq!(blt(&[]).code, 2);
    assert_eq!(blt(&["dance"]).code, 2);
}

#[test]
fn a_demo_does_not_touch_what_is_not_its_own() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("thesis.txt"), "years of work").unwrap();
    let out = text_of(place.path());
    blt_cpu(&["demo", "--out", out]).fails(1, &["not made by a demo", "hint: "]);
    blt_cpu(&["demo", "--replay", "no.json"]).fails(1, &["no.json"]);
    blt_cpu(&["demo", "--seconds", "0"]).fails(2, &["--seconds"]);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}
