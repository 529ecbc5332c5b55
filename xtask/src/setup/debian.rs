//! Installing on Debian, with the machine's own apt and whatever mirror that is configured with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The suite that carries current Rust sources for a stable Debian.
const BACKPORTS: &str = "trixie-backports";

/// The keys that Debian signs its suites with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

pub fn is_debian() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    // Ubuntu calls itself like Debian, but its package `chromium` is no browser.
    release.lines().any(|line| line == "ID=debian")
}

/// Whether packages can be installed: Debian, as root.
pub fn may_install() -> bool {
    let user = Command::new("id").arg("-u").output();
    is_debian() && user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// `apt-get update` and `apt-get install`.
///
/// # Errors
/// apt failed; its own messages are on stderr.
pub fn install(packages: &[&str]) -> Result<()> {
    run(apt("apt-get", &[]).arg("update"))?;
    // Another apt may be at work, as on a machine that has just started.
    let wait = [OsString::from("DPkg::Lock::Timeout=300")];
    let options = ["install", "--yes", "--no-install-recommends"];
    run(apt("apt-get", &wait).args(options).args(packages))
}

/// Fetches the source of the standard library of exactly this Rust version, `1.95.0`, from the
/// backports on the configured mirror, and unpacks it into `directory`. Needs no root.
///
/// Returns the directory `library` of that source.
///
/// # Errors
/// No mirror is configured, it has no such version, or it cannot be reached.
pub fn fetch_rust_source(version: &str, directory: &Path) -> Result<PathBuf> {
    let mirror = mirror()?;
    for place in ["lists/partial", "cache/archives/partial", "unpacked"] {
        std::fs::create_dir_all(directory.join(place))
            .with_context(|| format!("cannot make {}", directory.join(place).display()))?;
    }
    let list = directory.join("backports.list");
    let source = format!("deb [signed-by={KEYRING}] {mirror} {BACKPORTS} main\n");
    std::fs::write(&list, source).with_context(|| format!("cannot write {}", list.display()))?;

    let options = separate_state(&list, directory);
    run(apt("apt-get", &options).arg("update"))?;
    let listing = output(apt("apt-cache", &options).args(["madison", "rust-src"]))?;
    let found = pick_version(&listing, version).with_context(|| {
        format!("{BACKPORTS} has no rust-src {version}, only:\n{}", listing.trim_end())
    })?;
    let package = format!("rust-src={found}");
    run(apt("apt-get", &options).args(["download", &package]).current_dir(directory))?;

    let archive = find_archive(directory)?;
    let unpacked = directory.join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&unpacked))?;
    let library = unpacked.join(format!("usr/src/rustc-{version}/library"));
    if !library.join("Cargo.lock").is_file() {
        bail!("rust-src {found}: no {}/Cargo.lock in it", library.display());
    }
    Ok(library)
}

/// The mirror that the machine's Debian packages come from: apt's word, not ours.
fn mirror() -> Result<String> {
    let format = "$(REPO_URI) $(ORIGIN) $(COMPONENT) $(CREATED_BY)";
    let targets = || output(apt("apt-get", &[]).args(["indextargets", "--format", format]));
    // A machine whose lists were cleaned away knows no origins until it has fetched them again.
    let mut text = targets()?;
    if pick_mirror(&text).is_none() && may_install() {
        run(apt("apt-get", &[]).arg("update"))?;
        text = targets()?;
    }
    pick_mirror(&text)
        .context("apt has no Debian mirror with a component main: see sources.list(5)")
}

/// The first line of Debian's own `main`, the security archive (which has no backports) aside.
fn pick_mirror(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [uri, "Debian", "main", "Packages"] if !uri.contains("security") => Some(uri.to_owned()),
        _ => None,
    })
}

/// The newest of the versions that `apt-cache madison` lists that is of this upstream version.
fn pick_version(listing: &str, version: &str) -> Option<String> {
    listing.lines().find_map(|line| {
        let found = line.split('|').nth(1)?.trim();
        let rest = found.strip_prefix(version)?;
        (rest.is_empty() || rest.starts_with(['-', '+', '~'])).then(|| found.to_owned())
    })
}

fn find_archive(directory: &Path) -> Result<PathBuf> {
    let entries = directory.read_dir()?.flatten().map(|entry| entry.path());
    let mut archives = entries.filter(|path| path.extension().is_some_and(|end| end == "deb"));
    archives.next().context("apt-get download left no package behind")
}

/// apt options that keep the lists and archives of a passing source away from the machine's own.
fn separate_state(list: &Path, directory: &Path) -> Vec<OsString> {
    let set = |name: &str, path: &Path| {
        let mut option = OsString::from(format!("{name}="));
        option.push(path);
        option
    };
    vec![
        set("Dir::Etc::SourceList", list),
        set("Dir::Etc::SourceParts", Path::new("-")),
        set("Dir::State::Lists", &directory.join("lists")),
        set("Dir::Cache", &directory.join("cache")),
        // root's apt drops to a user who may not write into this directory
        "APT::Sandbox::User=root".into(),
    ]
}

fn apt(program: &str, options: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
    for option in options {
        command.arg("-o").arg(option);
    }
    command
}

fn run(command: &mut Command) -> Result<()> {
    let line = show(command);
    eprintln!("$ {line}");
    // stdout is for results; what apt says is progress
    let status = command
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let line = show(command);
    let output = command.output().with_context(|| format!("cannot start {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{pick_mirror, pick_version};

    #[test]
    fn the_mirror_is_the_first_of_debian_that_is_not_its_security_archive() {
        let targets = "http://a.example/tools/ Somebody main Packages\n\
                       http://b.example/debian-security/ Debian main Packages\n\
                       http://b.example/debian/ Debian main DEP-11\n\
                       http://b.example/debian/ Debian main Packages\n";
        assert_eq!(pick_mirror(targets).as_deref(), Some("http://b.example/debian/"));
        assert_eq!(pick_mirror("http://a.example/tools/ Somebody main Packages\n"), None);
    }

    #[test]
    fn the_version_must_be_the_compilers_to_the_last_digit() {
        let listing = " rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://b.example/debian main\n \
                       rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://b.example/debian main\n \
                       rust-src | 1.9.0+dfsg1-1 | http://b.example/debian main\n";
        let pick = |version| pick_version(listing, version);
        assert_eq!(pick("1.95.0").as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(pick("1.9.0").as_deref(), Some("1.9.0+dfsg1-1"));
        assert_eq!(pick("1.95"), None);
        assert_eq!(pick("1.94.0"), None);
    }
}
