//! One file of the hub on its way into the cache: where programs of the hub look for it, gone on
//! with where it was cut off. No answer decides where anything is written: what it calls the file's
//! content has to be a plain name.

use super::Name;
use super::download::{Failure, TRY_AGAIN};
use crate::cli::interrupt;
use crate::cli::terminal::Terminal;
use blt_wgpu::{Error, Result};
use hf_hub::CacheRepo;
use hf_hub::api::sync::{Api, ApiError};
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;

/// Bytes that are read and written at once; between them Ctrl-C is heard.
const PIECE_BYTES: usize = 1 << 18;

/// Bytes after which an unwatched download says where it is.
const LOG_BYTES: u64 = 1 << 30;

/// How long the hub may be silent, before it answers and between two pieces.
const SILENCE: Duration = Duration::from_secs(60);

/// Where files of one commit come from, and where they go.
pub struct Blobs<'a> {
    name: &'a Name,
    api: &'a Api,
    agent: Agent,
    token: Option<String>,
    cache: CacheRepo,
    /// The directory of the commit in the cache.
    snapshot: PathBuf,
}

impl<'a> Blobs<'a> {
    /// Files of a commit, asked for with a token.
    ///
    /// # Errors
    /// A commit that is no plain name.
    pub fn new(
        name: &'a Name,
        api: &'a Api,
        token: Option<String>,
        cache: CacheRepo,
        commit: &str,
    ) -> Result<Self> {
        let snapshot = cache.pointer_path(plain(&name.model, "commit", commit)?);
        let config = Agent::config_builder()
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(SILENCE))
            .timeout_per_read(Some(SILENCE));
        let agent = Agent::from(config.build());
        Ok(Self { name, api, agent, token, cache, snapshot })
    }

    /// The directory of the commit.
    pub fn snapshot(&self) -> &Path {
        &self.snapshot
    }

    /// Lets the revision that was asked for be this commit, in the cache.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn keep(&self, commit: &str) -> Result<()> {
        let problem = |problem| Error::io("write", self.cache.pointer_path("refs"), problem);
        self.cache.create_ref(commit).map_err(problem)
    }

    /// Fetches a file, or the rest of it, from this address, unless it is there.
    ///
    /// # Errors
    /// If the hub does not give it, or not all of it; [`Error::Cancelled`] after Ctrl-C: what has
    /// come stays.
    pub fn fetch(&self, file: &str, url: &str, terminal: &Terminal) -> Result<()> {
        let pointer = self.snapshot.join(file);
        if pointer.exists() {
            return Ok(());
        }
        let subject = format!("{}: {file}", self.name.model);
        let metadata = self.api.metadata(url).map_err(|problem| self.failed(file, problem))?;
        let size = metadata.size() as u64;
        let blob = self.cache.blob_path(plain(&subject, "content", metadata.etag())?);
        make_parent(&blob)?;
        let _lock = lock(&blob.with_extension("lock"), &subject)?;
        if fs::metadata(&blob).map(|it| it.len()).ok() != Some(size) {
            let part = blob.with_extension("part");
            let got = self.receive(file, url, &part, size, terminal)?;
            if got != size {
                let problem = format!("the hub sent {got} of {size} bytes");
                return Err(Error::model(subject, problem).with_hint(TRY_AGAIN));
            }
            fs::rename(&part, &blob).map_err(|problem| Error::io("rename", &part, problem))?;
        }
        make_parent(&pointer)?;
        link(&blob, &pointer).map_err(|problem| Error::io("link", &pointer, problem))
    }

    /// Appends to the part of a file that is there, up to its size; how much there is then.
    fn receive(
        &self,
        file: &str,
        url: &str,
        part: &Path,
        size: u64,
        terminal: &Terminal,
    ) -> Result<u64> {
        let failed = |problem: ApiError| self.failed(file, problem);
        let write = |problem| Error::io("write", part, problem);
        let mut output = OpenOptions::new().append(true).create(true).open(part).map_err(write)?;
        let mut got = output.metadata().map_err(write)?.len();
        if got == size && size > 0 {
            return Ok(got);
        }
        if got > size {
            // No part of this file: there is nothing to ask for behind its end.
            output.set_len(0).map_err(write)?;
            got = 0;
        }
        let mut request = self.agent.get(url).header("range", format!("bytes={got}-"));
        request = request.header("user-agent", concat!("blt-wgpu/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request.call().map_err(|problem| failed(Box::new(problem).into()))?;
        if answer.status() == 206 {
            let range = answer.headers().get("content-range").and_then(|it| it.to_str().ok());
            if range.and_then(first_byte) != Some(got) {
                let problem = format!(
                    "asked for what follows byte {got}, the hub sent {:?}",
                    range.unwrap_or("no range")
                );
                let subject = format!("{}: {file}", self.name.model);
                return Err(Error::model(subject, problem).with_hint(TRY_AGAIN));
            }
        } else {
            // The whole file, and not the rest of what is there.
            output.set_len(0).map_err(write)?;
            got = 0;
        }
        let mut bar = Bar::new(file, size, got, terminal);
        let mut input = answer.into_body().into_reader();
        let mut piece = vec![0; PIECE_BYTES];
        while got < size {
            interrupt::check()?;
            let length = input.read(&mut piece).map_err(|problem| failed(problem.into()))?;
            if length == 0 {
                break;
            }
            let length = length.min(usize::try_from(size - got).unwrap_or(usize::MAX));
            output.write_all(&piece[..length]).map_err(write)?;
            got += length as u64;
            bar.advance(got);
        }
        output.sync_all().map_err(write)?;
        interrupt::check()?;
        bar.end(got == size);
        Ok(got)
    }

    fn failed(&self, file: &str, problem: ApiError) -> Error {
        Failure { name: self.name, file: Some(file), problem }.into()
    }
}

/// Where the bytes of a partial answer begin: `bytes 5-9/10`.
fn first_byte(content_range: &str) -> Option<u64> {
    content_range.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// A name that an answer gave, if it is one and leads nowhere.
fn plain<'t>(subject: &str, what: &str, text: &'t str) -> Result<&'t str> {
    let known = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    if !text.is_empty() && text.len() <= 128 && !text.starts_with('.') && text.chars().all(known) {
        return Ok(text);
    }
    let problem = format!("the hub calls its {what} {text:?}, which is no plain name");
    Err(Error::model(subject, problem).with_hint("is HF_ENDPOINT the hub that you mean?"))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().expect("it lies in the cache");
    fs::create_dir_all(parent).map_err(|problem| Error::io("create", parent, problem))
}

/// Keeps other programs of the hub from writing the same file, until it is dropped.
fn lock(path: &Path, subject: &str) -> Result<File> {
    let file = File::create(path).map_err(|problem| Error::io("create", path, problem))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Error::model(subject, "another program is fetching it")
                .with_hint("wait until it is done, and do it again"))
        }
        Err(fs::TryLockError::Error(problem)) => Err(Error::io("lock", path, problem)),
    }
}

/// Lets a snapshot have a file of the cache, where links can be made without a copy.
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    if pointer.symlink_metadata().is_ok() {
        // It leads nowhere: the file was asked for because it is not there.
        fs::remove_file(pointer)?;
    }
    #[cfg(unix)]
    return std::os::unix::fs::symlink(relative(blob, pointer), pointer);
    #[cfg(windows)]
    return std::os::windows::fs::symlink_file(relative(blob, pointer), pointer)
        .or_else(|_| fs::rename(blob, pointer));
    #[cfg(not(any(unix, windows)))]
    return fs::rename(blob, pointer);
}

/// The way from the directory of one file to another, both in one cache.
fn relative(target: &Path, from: &Path) -> PathBuf {
    let common = target.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().count() - common - 1;
    let down = target.components().skip(common);
    std::iter::repeat_n(Component::ParentDir, up).chain(down).collect()
}

/// Progress of one file: a bar for somebody who watches, a line now and then for a log.
struct Bar<'t> {
    bar: ProgressBar,
    terminal: &'t Terminal,
    file: String,
    said: u64,
}

impl<'t> Bar<'t> {
    fn new(file: &str, size: u64, got: u64, terminal: &'t Terminal) -> Self {
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::hidden());
        if let Ok(style) = indicatif::ProgressStyle::with_template(
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(file.to_owned());
        // What was there before did not come now: nobody sees the rate that it would have had.
        bar.set_position(got);
        bar.reset_eta();
        if terminal.is_watched {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.tick();
        }
        Self { bar, terminal, file: file.to_owned(), said: got }
    }

    fn advance(&mut self, got: u64) {
        self.bar.set_position(got);
        if !self.terminal.is_watched && got - self.said >= LOG_BYTES {
            self.said = got;
            let length = self.bar.length().unwrap_or(0);
            self.terminal.note(&format!("{}: {got} of {length} bytes", self.file));
        }
    }

    fn end(&self, is_whole: bool) {
        self.bar.finish_and_clear();
        if is_whole {
            self.terminal.note(&format!("fetched {}", self.file));
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_answer_says_where_it_begins() {
        assert_eq!(first_byte("bytes 5-9/10"), Some(5));
        assert_eq!(first_byte("bytes 0-0/*"), Some(0));
        for bad in ["", "bytes */10", "bytes 5", "5-9/10", "bytes -1-9/10"] {
            assert_eq!(first_byte(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_plain_names_become_files() {
        for good in ["0123abcd", "a-b_c.d", "7"] {
            assert_eq!(plain("x", "content", good).unwrap(), good);
        }
        let long = "a".repeat(200);
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "c:x", "a b", "é", &long]
        {
            let error = plain("x", "content", bad).unwrap_err().to_string();
            assert!(error.contains("no plain name"), "{bad}: {error}");
        }
    }

    #[test]
    fn links_lead_from_the_snapshot_to_the_blob() {
        let way = |from: &str| relative(Path::new("/c/m/blobs/e"), Path::new(from));
        assert_eq!(way("/c/m/snapshots/s/config.json"), Path::new("../../blobs/e"));
        assert_eq!(way("/c/m/snapshots/s/entropy_model/x"), Path::new("../../../blobs/e"));
    }
}
