//! The progress of a download: on a terminal, and where nobody watches.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use nix::pty::{OpenptyResult, Winsize, openpty};

use crate::hub::{HUGGING_FACE, Hub, Mood, NAME};
use crate::program::run;

/// The bytes of the fixture's weights.
const SIZE: &str = "144.82 KiB";

/// What the program writes to a terminal of 100 columns while it fetches the model.
fn on_a_terminal(hub: &Hub) -> String {
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let mut command = hub.command(NAME);
    command.env("TERM", "xterm").stdout(Stdio::null()).stderr(slave);
    let mut child = command.spawn().unwrap();
    // The command holds the terminal open too.
    drop(command);
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    let mut terminal = File::from(master);
    // Once nobody has it open any more, reading ends, or is an error on Linux.
    while let Ok(count @ 1..) = terminal.read(&mut buffer) {
        shown.extend(&buffer[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

/// The lines that stood on the terminal, one after the other in the same place or not, without
/// what moves the cursor and colours.
fn lines(shown: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = shown.chars();
    while let Some(character) = rest.next() {
        match character {
            '\x1b' => drop(rest.by_ref().skip(1).find(char::is_ascii_alphabetic)),
            _ => plain.push(character),
        }
    }
    let lines = plain.split(['\r', '\n']).map(str::trim_end);
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Bytes that there were, of the lines that draw the bar of the weights.
fn positions(lines: &[String]) -> Vec<f64> {
    let drawn = lines.iter().filter(|line| line.starts_with("model.safetensors "));
    let position = |line: &String| {
        let (before, behind) = line.split_once(&format!("/{SIZE} ")).expect(line);
        assert!(behind.contains("B/s "), "a rate: {line}");
        assert!(line.chars().count() <= 100, "{line}");
        let mut words = before.rsplit(' ');
        let (unit, number) = (words.next().unwrap(), words.next().unwrap());
        let number: f64 = number.parse().expect(line);
        number * if unit == "KiB" { 1024.0 } else { 1.0 }
    };
    drawn.map(position).collect()
}

#[test]
fn a_terminal_shows_how_far_a_file_is_and_how_fast_it_comes() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Paced(60));
    let shown = on_a_terminal(&hub);
    let lines = lines(&shown);
    let positions = positions(&lines);
    assert!(positions.is_sorted() && positions.len() > 3, "it moves: {lines:?}");
    assert!(positions.iter().any(|&at| at > 0.0 && at < 148_000.0), "{lines:?}");
    for name in HUGGING_FACE {
        assert_eq!(lines.iter().filter(|line| **line == format!("fetched {name}")).count(), 1);
    }
    // Another time there is nothing to fetch, and nothing is shown.
    assert_eq!(on_a_terminal(&hub), "");
}

#[test]
fn a_bar_begins_where_the_file_was_cut_off() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Cut(50_000));
    on_a_terminal(&hub);
    hub.set(Mood::Paced(60));
    hub.requests();
    let lines = lines(&on_a_terminal(&hub));
    let asked = hub.requests();
    assert!(asked.iter().any(|(_, range, _)| range == "bytes=50000-"), "{asked:?}");
    let positions = positions(&lines);
    assert!(positions.is_sorted() && positions.len() > 3, "it moves: {lines:?}");
    // Shown to a hundredth of a KiB.
    assert!(positions[0] > 49_990.0, "nothing is counted twice: {lines:?}");
    // A tenth of 96 KiB every 60 ms or later: what was there does not count.
    let rate = |line: &String| {
        let (before, _) = line.split_once("B/s ").expect(line);
        let number = before.trim_end_matches("Ki");
        let unit = if number.len() < before.len() { 1.0 } else { 1.0 / 1024.0 };
        let number: f64 = number.trim_end().rsplit(' ').next().unwrap().parse().expect(line);
        number * unit
    };
    let drawn = lines.iter().filter(|it| it.starts_with("model.safetensors "));
    let rates: Vec<f64> = drawn.map(rate).collect();
    assert!(rates.iter().all(|&rate| rate < 250.0), "{rates:?}");
    assert!(rates.iter().any(|&rate| rate > 1.0), "{rates:?}");
}

#[test]
fn nobody_who_does_not_watch_is_shown_a_bar() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Paced(20));
    let said = run(hub.command(NAME)).ok().stderr;
    let expected = HUGGING_FACE.map(|name| format!("fetched {name}\n"));
    let mut lines: Vec<_> = said.split_inclusive('\n').collect();
    lines.sort_unstable();
    assert_eq!(lines, expected, "{said:?}");
}
