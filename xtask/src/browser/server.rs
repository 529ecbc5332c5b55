//! A web server for one page on localhost: it serves files and takes reports.
//!
//! A page reports by POST with a text as body: `/report/log` (a line of progress),
//! `/report/done` (its result, the last word) or `/report/failed` (why there is none). A page that
//! includes the script `/report.js` has the functions `report.log(text)`, `report.done(text)` and
//! `report.failed(text)`, and its uncaught errors are reported as failures.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

const REPORT_SCRIPT: &str = include_str!("../../pages/report.js");

/// A page that has more than this to say has gone mad.
const BODY_LIMIT_BYTES: usize = 64 << 20;

/// What is served: a directory, files from memory, or both (those from memory come first).
#[derive(Debug, Default)]
pub struct Site {
    root: Option<PathBuf>,
    files: BTreeMap<String, Vec<u8>>,
}

/// What a page has said.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    Log(String),
    Done(String),
    Failed(String),
}

/// A running server; it ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    pub reports: Receiver<Report>,
}

impl Site {
    /// Files from memory only.
    pub fn new() -> Self {
        Self::default().with_file("/report.js", REPORT_SCRIPT)
    }

    /// Everything under a directory.
    ///
    /// # Errors
    /// The directory is not there.
    pub fn of_directory(root: PathBuf) -> Result<Self> {
        let root =
            root.canonicalize().with_context(|| format!("cannot open {}", root.display()))?;
        if !root.is_dir() {
            bail!("{}: not a directory", root.display());
        }
        Ok(Self { root: Some(root), ..Self::new() })
    }

    /// Serves `content` under `path`, which begins with a slash.
    pub fn with_file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        let path = path.into();
        assert!(path.starts_with('/'), "{path}: no slash in front");
        self.files.insert(path, content.into());
        self
    }

    /// The content of a path, of a folder its `index.html`. `None` where there is nothing, and for
    /// everything outside the root.
    fn get(&self, path: &str) -> Option<Vec<u8>> {
        let index = path.ends_with('/').then(|| format!("{path}index.html"));
        let path = index.as_deref().unwrap_or(path);
        if let Some(content) = self.files.get(path) {
            return Some(content.clone());
        }
        let root = self.root.as_deref()?;
        let file = root.join(path.trim_start_matches('/')).canonicalize().ok()?;
        if !file.starts_with(root) {
            return None;
        }
        std::fs::read(file).ok()
    }
}

impl Server {
    /// Serves the site on a free port of the loopback interface.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(site: Site) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("cannot open a port on localhost")?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (sender, reports) = channel();
        let (site, stop) = (Arc::new(site), Arc::clone(&stopping));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (site, sender) = (Arc::clone(&site), sender.clone());
                // A browser that hangs up in the middle is no concern of ours.
                std::thread::spawn(move || answer(stream, &site, &sender).unwrap_or_default());
            }
        });
        Ok(Self { address, stopping, reports })
    }

    /// The address of a page of the site.
    pub fn url(&self, page: &str) -> String {
        format!("http://{}/{}", self.address, page.trim_start_matches('/'))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // The listener sees the flag when the next connection comes: this one.
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads one request, answers it and closes.
fn answer(stream: TcpStream, site: &Site, reports: &Sender<Report>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let mut words = head.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            body_bytes = value.trim().parse()?;
        }
    }
    if body_bytes > BODY_LIMIT_BYTES {
        return reply(&stream, "413 Content Too Large", "text/plain", b"");
    }
    let mut body = vec![0; body_bytes];
    reader.read_exact(&mut body)?;

    let path = decode(target.split('?').next().unwrap_or_default());
    let report: Option<fn(String) -> Report> = match path.as_str() {
        "/report/log" => Some(Report::Log),
        "/report/done" => Some(Report::Done),
        "/report/failed" => Some(Report::Failed),
        _ => None,
    };
    match (method.as_str(), report) {
        ("HEAD", None) => match site.get(&path) {
            Some(content) => {
                begin_reply(&stream, "200 OK", media_type(Path::new(&path)), content.len())
            }
            None => begin_reply(&stream, "404 Not Found", "text/plain", 0),
        },
        ("POST", Some(report)) => {
            // Nobody listens any more when the visit is over.
            let _ = reports.send(report(String::from_utf8_lossy(&body).into_owned()));
            reply(&stream, "204 No Content", "text/plain", b"")
        }
        ("GET", None) => match site.get(&path) {
            Some(content) => reply(&stream, "200 OK", media_type(Path::new(&path)), &content),
            None => reply(&stream, "404 Not Found", "text/plain", path.as_bytes()),
        },
        _ => reply(&stream, "405 Method Not Allowed", "text/plain", b""),
    }
}

fn reply(mut stream: &TcpStream, status: &str, media: &str, content: &[u8]) -> Result<()> {
    begin_reply(stream, status, media, content.len())?;
    stream.write_all(content)?;
    stream.flush()?;
    Ok(())
}

fn begin_reply(mut stream: &TcpStream, status: &str, media: &str, byte_count: usize) -> Result<()> {
    // The two Cross-Origin headers give a page threads and precise clocks.
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {byte_count}\r\n\
         Cache-Control: no-store\r\nCross-Origin-Opener-Policy: same-origin\r\n\
         Cross-Origin-Embedder-Policy: require-corp\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    Ok(())
}

fn media_type(path: &Path) -> &'static str {
    if path.as_os_str().to_string_lossy().ends_with('/') {
        return "text/html; charset=utf-8";
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("wgsl" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Undoes percent encoding; what is not properly encoded stays as it is.
fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if first == b'%' => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(server: &Server, text: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn files_are_served_and_reports_arrive() {
        let site = Site::new().with_file("/a b.wgsl", "fn main() {}");
        let server = Server::start(site).unwrap();
        let answer = request(&server, "GET /a%20b.wgsl?x=1 HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nfn main() {}"), "{answer}");
        let answer = request(&server, "HEAD /a%20b.wgsl HTTP/1.1\r\n\r\n");
        assert!(answer.contains("Content-Length: 12\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        let answer = request(&server, "GET /nothing HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        let post = "POST /report/done HTTP/1.1\r\ncontent-length: 4\r\n\r\nfine";
        assert!(request(&server, post).starts_with("HTTP/1.1 204"));
        assert_eq!(server.reports.recv().unwrap(), Report::Done("fine".to_owned()));
    }

    #[test]
    fn nothing_outside_the_root_is_served() {
        let place = std::env::temp_dir().join(format!("blt-site-{}", std::process::id()));
        std::fs::create_dir_all(place.join("root/inner")).unwrap();
        std::fs::write(place.join("secret.txt"), "secret").unwrap();
        std::fs::write(place.join("root/inner/page.html"), "page").unwrap();
        std::fs::write(place.join("root/index.html"), "first").unwrap();
        let site = Site::of_directory(place.join("root")).unwrap();
        assert_eq!(site.get("/inner/page.html").as_deref(), Some(&b"page"[..]));
        assert_eq!(site.get("/inner/../inner/page.html").as_deref(), Some(&b"page"[..]));
        assert_eq!(site.get("/").as_deref(), Some(&b"first"[..]));
        assert_eq!(site.get("/inner/"), None);
        assert_eq!(site.get("/../secret.txt"), None);
        assert_eq!(site.get("/inner/../../secret.txt"), None);
        std::fs::remove_dir_all(&place).unwrap();
    }
}
