//! Ctrl-C in the middle of things: what was there stays, what was begun is gone, the code is 130.
#![cfg(unix)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::convert::names_in;
use crate::init::TINY;
use crate::program::{blt, command, fixture, press_ctrl_c, text_of};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Goes on forever, and says what it likes.
const ENDLESS: [&str; 10] = [
    "-n",
    "1000000000",
    "--on-limit",
    "slide",
    "--temperature",
    "1",
    "--ban-ids",
    "2",
    "--seed",
    "3",
];

/// A program that generates forever.
fn begin(more: &[&str]) -> Child {
    let model = fixture("k2_entropy");
    let start = ["generate", "--model", text_of(&model), "--device", "cpu"];
    let mut command = command(&[&start[..], &ENDLESS, more].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What comes out of a program, as it comes.
fn pieces(mut stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

#[test]
fn ctrl_c_ends_a_text_behind_a_whole_character() {
    let mut child = begin(&["--prompt", "ab"]);
    let text = pieces(child.stdout.take().unwrap());
    let mut shown = text.recv_timeout(PATIENCE).unwrap();
    press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("bytes/s"), "what was generated is summed up: {stderr}");
    shown.extend(text.iter().flatten());
    assert!(shown.ends_with(b"\n"), "the shell's prompt begins a line");
    String::from_utf8(shown).unwrap();
}

#[test]
fn ctrl_c_stops_an_answer_and_the_conversation_goes_on() {
    let mut child = begin(&["-i"]);
    let mut stdin = child.stdin.take().unwrap();
    let text = pieces(child.stdout.take().unwrap());
    for line in ["one\n", "two\n"] {
        stdin.write_all(line.as_bytes()).unwrap();
        text.recv_timeout(PATIENCE).expect("an answer comes");
        press_ctrl_c(&child);
        // It is over once nothing more comes for a while.
        let begin = Instant::now();
        while text.recv_timeout(Duration::from_secs(1)).is_ok() {
            assert!(begin.elapsed() < PATIENCE, "the answer goes on");
        }
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A conversion that is quicker than we are is done again.
#[test]
fn ctrl_c_in_a_conversion_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (config, source) = (place.path().join("large.toml"), place.path().join("large"));
    let rows = "encoder_hash_byte_group_vocab = ";
    assert!(TINY.contains(&format!("{rows}53\n")));
    let large = TINY.replace(&format!("{rows}53\n"), &format!("{rows}1000003\n"));
    fs::write(&config, large).unwrap();
    let made = ["init", text_of(&config), "--out", text_of(&source), "--seed", "1"];
    blt(&[&made[..], &["--dtype", "bf16"]].concat()).ok();
    // One place has nothing, the other an empty directory, which is somebody's and stays.
    for (name, is_there) in [("new", false), ("empty", true)] {
        let target = place.path().join("of").join(name);
        let (partial, around) =
            (target.with_file_name(format!(".{name}.partial")), place.path().join("of"));
        let mut is_stopped = false;
        for _ in 0..50 {
            fs::create_dir_all(if is_there { &target } else { &around }).unwrap();
            let words = ["convert", text_of(&source), text_of(&target), "--dtype", "q4"];
            let mut command = command(&words);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let begin = Instant::now();
            while !partial.exists() && !target.join("config.json").exists() {
                assert!(begin.elapsed() < PATIENCE, "nothing is written");
            }
            press_ctrl_c(&child);
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                fs::remove_dir_all(&target).unwrap();
                continue;
            }
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(130), "{stderr}");
            is_stopped = true;
            break;
        }
        assert!(is_stopped, "Ctrl-C stops no conversion");
        let left = names_in(&around);
        assert_eq!(left, if is_there { vec![name.to_owned()] } else { Vec::new() });
        if is_there {
            assert!(names_in(&target).is_empty());
        }
        fs::remove_dir_all(&around).unwrap();
    }
    // Nor is the source changed: it converts.
    let target = place.path().join("target");
    blt(&["convert", text_of(&source), text_of(&target)]).ok();
}
