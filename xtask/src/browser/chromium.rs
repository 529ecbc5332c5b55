//! Finding Chromium and starting it headless, with a profile that nobody has used before.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};

/// How many lines of what the browser said last are kept for an error message.
const KEPT_LINE_COUNT: usize = 30;

const QUIET: &[&str] = &[
    "--headless=new",
    "--no-sandbox", // containers have no user namespaces; the pages are our own
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--password-store=basic",
    "--use-mock-keychain",
    "--enable-logging=stderr",
];

/// WebGPU without a GPU, on the software Vulkan driver that Chromium carries with it.
const SOFTWARE_WEBGPU: &[&str] =
    &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];

/// A running browser; it ends, and its profile goes, when this is dropped.
pub struct Chromium {
    child: Child,
    profile: PathBuf,
    last_lines: Arc<Mutex<VecDeque<String>>>,
}

/// The browser: `BLT_CHROMIUM`, or the first that is found where they are usually installed.
///
/// # Errors
/// There is none.
pub fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BLT_CHROMIUM").map(PathBuf::from) {
        if path.is_file() {
            return Ok(path);
        }
        bail!("BLT_CHROMIUM: {}: no such file", path.display());
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let directories: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    let on_path = names.iter().flat_map(|name| {
        directories.iter().map(move |directory| {
            directory.join(name).with_extension(std::env::consts::EXE_EXTENSION)
        })
    });
    on_path
        .chain(usual_places())
        .find(|path| path.is_file())
        .context("no Chromium or Chrome found; BLT_CHROMIUM can name one")
}

/// What the browser calls itself.
///
/// # Errors
/// It cannot be started, or has no name (on Windows it opens a window instead of answering).
pub fn version(path: &Path) -> Result<String> {
    if cfg!(windows) {
        return Ok(path.display().to_string());
    }
    let output = Command::new(path)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot start {}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || text.is_empty() {
        bail!("{} --version: {}", path.display(), output.status);
    }
    Ok(text)
}

fn usual_places() -> Vec<PathBuf> {
    let windows = ["ProgramFiles", "ProgramFiles(x86)", "LocalAppData"]
        .into_iter()
        .filter_map(std::env::var_os)
        .map(|base| PathBuf::from(base).join("Google/Chrome/Application/chrome.exe"));
    let mac = [
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ];
    mac.into_iter().map(PathBuf::from).chain(windows).collect()
}

impl Chromium {
    /// Opens one page.
    ///
    /// # Errors
    /// There is no browser, or it cannot be started.
    pub fn open(url: &str) -> Result<Self> {
        let program = find()?;
        let profile = std::env::temp_dir().join(format!("blt-chromium-{}", std::process::id()));
        if profile.exists() {
            std::fs::remove_dir_all(&profile)
                .with_context(|| format!("cannot empty {}", profile.display()))?;
        }
        std::fs::create_dir_all(&profile)
            .with_context(|| format!("cannot make {}", profile.display()))?;
        let mut command = Command::new(&program);
        command.args(QUIET);
        // Metal and Direct3D are there without a monitor; on Linux a driver may not be.
        if cfg!(target_os = "linux") {
            command.args(SOFTWARE_WEBGPU);
        }
        let more = std::env::var("BLT_CHROMIUM_ARGS").unwrap_or_default();
        command.args(more.split_whitespace());
        command.arg(format!("--user-data-dir={}", profile.display())).arg(url);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let stderr = child.stderr.take().expect("stderr is piped");
        let last_lines = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&last_lines);
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            // Without a desktop there is no D-Bus, which it laments in dozens of lines.
            for line in lines.filter(|line| !line.contains("dbus/")) {
                let mut lines = kept.lock().expect("no thread panics while it holds this");
                if lines.len() == KEPT_LINE_COUNT {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
        Ok(Self { child, profile, last_lines })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// What it said last on its standard error.
    pub fn last_words(&self) -> String {
        let lines = self.last_lines.lock().expect("no thread panics while it holds this");
        lines.iter().map(|line| format!("\n  {line}")).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its other processes end when the first does; what they still write may keep the
        // profile from going at once, and a rest in the temporary directory harms nobody.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}
