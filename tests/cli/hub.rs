//! Models by their name on the hub: a stand-in for the hub on this machine, and a ready cache.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::program::{Run, command, fixture, run, text_of};

pub const NAME: &str = "someone/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// To which the branch moves.
const NEWER: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// How the stand-in behaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Mood {
    Fine,
    /// Answers are cut off after so many bytes of a file.
    Cut(usize),
    /// The list of files is cut off, and the connection with it or not.
    CutList {
        is_whole_answer: bool,
    },
    /// Every answer is this status.
    Status(u16),
    /// The files of the model are listed, and asking for one gives this status.
    FileStatus(u16),
    /// The branch is at another commit, with the same files.
    Moved,
    /// The commit has this name.
    Commit(&'static str),
    /// The content of every file has this name.
    Content(&'static str),
    /// A byte now and then.
    Slow,
    /// Parts begin a byte later than what was asked for.
    Shifted,
    /// Ten parts of a file, with so many milliseconds between them.
    Paced(u64),
}

#[derive(Default)]
struct Seen {
    /// First lines, `Range` and `Authorization` of all requests for files.
    requests: Vec<(String, String, String)>,
}

/// A hub with one model, until the test ends.
pub struct Hub {
    address: String,
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Seen>>,
    home: tempfile::TempDir,
}

impl Hub {
    pub fn new(folder: &str, files: &[&str], mood: Mood) -> Self {
        let read = |name: &&str| (name.to_string(), fs::read(fixture(folder).join(name)).unwrap());
        let files: BTreeMap<String, Vec<u8>> = files.iter().map(read).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (mood, seen) = (Arc::new(Mutex::new(mood)), Arc::new(Mutex::new(Seen::default())));
        let (its_mood, its_seen) = (mood.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mood = *its_mood.lock().unwrap();
                // The other side may have gone.
                let _ = answer(&stream.unwrap(), &files, mood, &its_seen);
            }
        });
        Self { address, mood, seen, home: tempfile::tempdir().unwrap() }
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// What `blt info` says of the model of that name.
    fn info(&self, name: &str, environment: &[(&str, &str)]) -> Run {
        let mut command = self.command(name);
        command.envs(environment.iter().copied());
        run(command)
    }

    /// `blt info` for the model of that name, asking this hub.
    pub fn command(&self, name: &str) -> Command {
        let mut command = command(&["info", name, "--json", "--device", "cpu"]);
        for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.home.path()).env("HF_ENDPOINT", &self.address);
        command.env("no_proxy", "*");
        command
    }

    pub fn requests(&self) -> Vec<(String, String, String)> {
        std::mem::take(&mut self.seen.lock().unwrap().requests)
    }
}

fn answer(
    stream: &TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    mood: Mood,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let (mut range, mut token) = (String::new(), String::new());
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => range = value.into(),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                token = value.into();
            }
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let commit = match mood {
        Mood::Moved => NEWER,
        Mood::Commit(name) => name,
        _ => COMMIT,
    };
    let resolve = format!("/{NAME}/resolve/{commit}/");
    let file = path.strip_prefix(&resolve);
    if let Some(file) = file {
        seen.lock().unwrap().requests.push((file.to_owned(), range.clone(), token));
    }
    let status = match (mood, file) {
        (Mood::Status(status), _) | (Mood::FileStatus(status), Some(_)) => Some(status),
        _ => None,
    };
    if let Some(status) = status {
        return reply(stream, status, "", b"no", 2);
    }
    if path == format!("/api/models/{NAME}/revision/main") {
        let listed: Vec<_> =
            files.keys().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        let body = format!("{{\"sha\": \"{commit}\", \"siblings\": [{}]}}", listed.join(","));
        let half = &body.as_bytes()[..body.len() / 2];
        return match mood {
            Mood::CutList { is_whole_answer: true } => reply(stream, 200, "", half, half.len()),
            Mood::CutList { .. } => reply(stream, 200, "", half, body.len()),
            _ => reply(stream, 200, "", body.as_bytes(), body.len()),
        };
    }
    let Some(bytes) = file.and_then(|file| files.get(file)) else {
        return reply(stream, 404, "", b"no", 2);
    };
    let (begin, end) = range.trim_start_matches("bytes=").split_once('-').unwrap_or(("0", ""));
    let begin: usize = begin.parse().unwrap_or(0);
    let end = end.parse::<usize>().map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
    if begin >= bytes.len() {
        return reply(stream, 416, "", b"", 0);
    }
    let begin = if mood == Mood::Shifted && begin > 0 { begin + 1 } else { begin };
    let part = &bytes[begin.min(end)..end];
    let content = match mood {
        Mood::Content(name) => name.to_owned(),
        _ => {
            let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add((*byte).into());
            format!("{:x}-{}", bytes.iter().fold(7, add), bytes.len())
        }
    };
    let headers = format!(
        "x-repo-commit: {commit}\r\netag: \"{content}\"\r\ncontent-range: bytes {begin}-{}/{}\r\n",
        end.saturating_sub(1),
        bytes.len()
    );
    let sent = match mood {
        Mood::Cut(most) if part.len() > 1 => &part[..part.len().min(most)],
        _ => part,
    };
    if mood == Mood::Slow && part.len() > 1 {
        reply(stream, 206, &headers, &[], part.len())?;
        for byte in sent {
            std::thread::sleep(std::time::Duration::from_millis(20));
            (&mut &*stream).write_all(&[*byte])?;
        }
        return Ok(());
    }
    if let Mood::Paced(milliseconds) = mood {
        reply(stream, 206, &headers, &[], part.len())?;
        for piece in sent.chunks(sent.len().div_ceil(10)) {
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            (&mut &*stream).write_all(piece)?;
        }
        return Ok(());
    }
    reply(stream, 206, &headers, sent, part.len())
}

/// An answer that promises `length` bytes.
fn reply(
    mut stream: &TcpStream,
    status: u16,
    headers: &str,
    body: &[u8],
    length: usize,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

pub const HUGGING_FACE: [&str; 3] = ["config.json", "generation_config.json", "model.safetensors"];
const RELEASE: [&str; 4] = [
    "config.json",
    "model.safetensors",
    "entropy_model/params.json",
    "entropy_model/consolidated.pth",
];

/// Every tensor of the model is shown.
#[track_caller]
fn opens(run: Run) {
    let said = run.json();
    assert!(said["model"]["tensors"].as_array().unwrap().len() > 30, "{said}");
}

#[test]
fn a_model_is_fetched_once_and_then_found() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Fine);
    opens(hub.info(NAME, &[]));
    let asked: Vec<_> = hub.requests().into_iter().map(|(file, ..)| file).collect();
    assert!(HUGGING_FACE.iter().all(|name| asked.iter().any(|it| it == name)), "{asked:?}");
    // Where programs of the hub keep their files, under the commit.
    let place = hub.home.path().join("hub/models--someone--tiny/snapshots").join(COMMIT);
    assert!(place.join("model.safetensors").exists());
    opens(hub.info(NAME, &[]));
    opens(hub.info(NAME, &[("HF_HUB_OFFLINE", "1")]));
    assert_eq!(hub.requests(), [], "nothing is asked for twice");
}

#[test]
fn the_original_layout_is_fetched_with_its_entropy_model() {
    let hub = Hub::new("release", &RELEASE, Mood::Fine);
    opens(hub.info(NAME, &[]));
    let asked: Vec<_> = hub.requests().into_iter().map(|(file, ..)| file).collect();
    assert!(RELEASE.iter().all(|name| asked.iter().any(|it| it == name)), "{asked:?}");
    opens(hub.info(NAME, &[]));
    assert_eq!(hub.requests(), []);
}

#[test]
fn an_answer_that_is_cut_off_is_said_and_gone_on_with() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Cut(5000));
    let failed = hub.info(NAME, &[]);
    failed.fails(1, &["someone/tiny: model.safetensors", "hint: ", "only the rest"]);
    hub.requests();
    // Not found in the cache as if it were whole, and only the rest is asked for.
    hub.info(NAME, &[("HF_HUB_OFFLINE", "1")]).fails(1, &["only some of its files"]);
    hub.set(Mood::Fine);
    opens(hub.info(NAME, &[]));
    let ranges: Vec<_> = hub.requests().into_iter().map(|(_, range, _)| range).collect();
    assert!(ranges.contains(&"bytes=5000-".to_owned()), "{ranges:?}");
}

/// The part of the model's weights that a cut leaves in the cache.
fn part_of_weights(hub: &Hub) -> std::path::PathBuf {
    hub.set(Mood::Cut(5000));
    hub.info(NAME, &[]).fails(1, &["model.safetensors"]);
    hub.set(Mood::Fine);
    let files = files_under(hub.home.path());
    files.into_iter().find(|it| it.extension().is_some_and(|it| it == "part")).unwrap()
}

#[test]
fn a_part_that_is_longer_than_its_file_is_fetched_anew() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Fine);
    let part = part_of_weights(&hub);
    fs::write(&part, vec![7; 1 << 22]).unwrap();
    opens(hub.info(NAME, &[]));
    let ranges: Vec<_> = hub.requests().into_iter().map(|(_, range, _)| range).collect();
    assert!(ranges.contains(&"bytes=0-".to_owned()), "{ranges:?}");
}

#[test]
fn an_answer_that_begins_elsewhere_is_refused() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Fine);
    part_of_weights(&hub);
    hub.set(Mood::Shifted);
    hub.info(NAME, &[]).fails(1, &["model.safetensors", "byte 5000", "bytes 5001-", "hint: "]);
    hub.set(Mood::Fine);
    opens(hub.info(NAME, &[]));
}

#[test]
fn a_branch_that_moves_between_a_cut_and_the_next_time_is_followed() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Cut(5000));
    hub.info(NAME, &[]).fails(1, &["model.safetensors"]);
    hub.set(Mood::Moved);
    opens(hub.info(NAME, &[]));
    let ranges: Vec<_> = hub.requests().into_iter().map(|(_, range, _)| range).collect();
    assert!(ranges.contains(&"bytes=5000-".to_owned()), "the same content: {ranges:?}");
    let place = hub.home.path().join("hub/models--someone--tiny/snapshots").join(NEWER);
    assert!(HUGGING_FACE.iter().all(|name| place.join(name).exists()));
    opens(hub.info(NAME, &[("HF_HUB_OFFLINE", "1")]));
}

/// All files under a directory.
fn files_under(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| match path.is_dir() {
        true => files_under(&path),
        false => vec![path],
    });
    files.collect()
}

#[test]
fn an_answer_does_not_say_where_anything_is_written() {
    for mood in [
        Mood::Content("../../../../../outside"),
        Mood::Content("/tmp/outside"),
        Mood::Content(".."),
        Mood::Content(""),
        Mood::Commit("../../../../outside"),
        Mood::Commit(".."),
        Mood::Commit(""),
    ] {
        let hub = Hub::new("k2_entropy", &HUGGING_FACE, mood);
        hub.info(NAME, &[]).fails(1, &["someone/tiny", "no plain name", "hint: "]);
        assert_eq!(files_under(hub.home.path()), Vec::<std::path::PathBuf>::new());
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_download_and_what_has_come_stays() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Slow);
    let mut child = hub.command(NAME).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let blobs = hub.home.path().join("hub/models--someone--tiny/blobs");
    let begun = || {
        let mut files = fs::read_dir(&blobs).ok()?.map(|file| file.unwrap());
        files.find(|file| file.path().extension().is_some_and(|it| it == "part"))
    };
    let length = loop {
        match begun().map(|part| part.metadata().unwrap().len()) {
            Some(length) if length > 3 => break length,
            _ => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    };
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    hub.set(Mood::Fine);
    hub.requests();
    opens(hub.info(NAME, &[]));
    let ranges = hub.requests().into_iter().map(|(_, range, _)| range);
    let begins = ranges
        .filter_map(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok());
    assert!(begins.max().unwrap() >= length);
}

#[test]
fn what_the_hub_does_not_give_is_said() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Status(404));
    hub.info(NAME, &[]).fails(1, &["someone/tiny", "hub has no such", "hint: "]);
    hub.set(Mood::Status(401));
    hub.info(NAME, &[]).fails(1, &["401", "accept its licence", "HF_TOKEN"]);
    hub.set(Mood::FileStatus(403));
    hub.info(NAME, &[]).fails(1, &["403", "config.json", "accept the licence"]);
    hub.set(Mood::Status(500));
    hub.info(NAME, &[]).fails(1, &["status 500", "hint: "]);
    hub.set(Mood::FileStatus(404));
    hub.info(NAME, &[]).fails(1, &["config.json", "does not have it (main)", "hint: ", "revision"]);
    for is_whole_answer in [false, true] {
        hub.set(Mood::CutList { is_whole_answer });
        let said = ["someone/tiny: it could not be fetched", "hint: do it again"];
        hub.info(NAME, &[]).fails(1, &said);
    }
    hub.info("other/model", &[("HF_HUB_OFFLINE", "1")]).fails(1, &["not in the cache", "hint: "]);
    let nobody = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    hub.info(NAME, &nobody).fails(1, &["could not be fetched", "hint: "]);
    hub.info("no/such/place", &[]).fails(1, &["there is no such directory"]);
    // None of which is in the way of another attempt.
    hub.set(Mood::Fine);
    opens(hub.info(NAME, &[]));
}

#[test]
fn the_token_is_looked_for_where_it_usually_is() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::FileStatus(403));
    let token_of = |environment: &[(&str, &str)]| {
        hub.info(NAME, environment);
        hub.requests().pop().unwrap().2
    };
    assert_eq!(token_of(&[]), "");
    fs::write(hub.home.path().join("token"), "hf_file\n").unwrap();
    assert_eq!(token_of(&[]), "Bearer hf_file");
    let other = hub.home.path().join("other");
    fs::write(&other, "hf_other").unwrap();
    assert_eq!(token_of(&[("HF_TOKEN_PATH", text_of(&other))]), "Bearer hf_other");
    assert_eq!(token_of(&[("HF_TOKEN", "hf_own")]), "Bearer hf_own");
}

#[test]
fn a_cache_that_others_filled_is_used() {
    let hub = Hub::new("k2_entropy", &HUGGING_FACE, Mood::Status(500));
    let cache = hub.home.path().join("elsewhere");
    let model = cache.join("models--someone--tiny");
    let snapshot = model.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), COMMIT).unwrap();
    for name in HUGGING_FACE {
        fs::copy(fixture("k2_entropy").join(name), snapshot.join(name)).unwrap();
    }
    opens(hub.info(NAME, &[("HF_HUB_CACHE", text_of(Path::new(&cache)))]));
}
