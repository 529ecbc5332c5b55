//! The list of what a machine must have, and the stage `setup` that goes through it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{debian, wasm_std};
use crate::browser;

/// One thing from outside.
struct Need {
    what: &'static str,
    is_there: fn() -> bool,
    /// The packages of Debian that bring it.
    packages: &'static [&'static str],
    /// How a person gets it on any other system.
    elsewhere: &'static str,
    /// Tests run without it, only less is shown.
    is_optional: bool,
}

const NEEDS: &[Need] = &[
    Need {
        what: "the Vulkan loader (libvulkan.so.1)",
        is_there: has_vulkan_loader,
        packages: &["libvulkan1"],
        elsewhere: "install your distribution's Vulkan loader (vulkan-loader, \
                    vulkan-icd-loader)",
        is_optional: false,
    },
    Need {
        what: "a software Vulkan driver (Mesa's lavapipe)",
        is_there: has_software_driver,
        packages: &["mesa-vulkan-drivers"],
        elsewhere: "install Mesa's software Vulkan driver (mesa-vulkan-drivers, vulkan-swrast), \
                    or choose another adapter with WGPU_ADAPTER_NAME",
        is_optional: false,
    },
    Need {
        what: "vulkaninfo, to say which driver there is",
        is_there: || answers("vulkaninfo"),
        packages: &["vulkan-tools"],
        elsewhere: "",
        is_optional: true,
    },
    Need {
        what: "MPI (mpirun and mpicc)",
        is_there: || answers("mpirun") && answers("mpicc"),
        packages: &["openmpi-bin", "libopenmpi-dev"],
        elsewhere: "",
        is_optional: true,
    },
    Need {
        what: "libclang, to build against MPI",
        is_there: has_libclang,
        packages: &["libclang-dev"],
        elsewhere: "",
        is_optional: true,
    },
    Need {
        what: "a display for the desktop example (xvfb-run)",
        is_there: has_display,
        packages: &["xvfb", "xauth", "libxcursor1", "libxi6", "libxkbcommon-x11-0"],
        elsewhere: "install Xvfb with xvfb-run, or run the stage on a display",
        is_optional: false,
    },
    Need {
        what: "Chromium or Chrome",
        // A wrong BLT_CHROMIUM is reported for what it is; no package would put it right.
        is_there: || std::env::var_os("BLT_CHROMIUM").is_some() || browser::find().is_ok(),
        packages: &["chromium"],
        elsewhere: "install Chromium or Google Chrome, or set BLT_CHROMIUM to the program",
        is_optional: false,
    },
    Need {
        what: "Node.js with npm, to drive the browser",
        is_there: || answers("node") && answers(if cfg!(windows) { "npm.cmd" } else { "npm" }),
        packages: &["nodejs", "npm"],
        elsewhere: "install Node.js 20 or newer",
        is_optional: false,
    },
];

/// Installs what is missing where this program may, and says how to get the rest.
///
/// # Errors
/// Something that the tests need is still missing; the message has one line for each.
pub fn prepare() -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.is_there)()).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    let mut problems = Vec::new();
    if !packages.is_empty()
        && debian::may_install()
        && let Err(error) = debian::install(&packages)
    {
        problems.push(format!("{error:#}"));
    }
    for need in missing.iter().filter(|need| !(need.is_there)() && !need.is_optional) {
        problems.push(format!("missing: {}: {}", need.what, advice(need)));
    }
    if std::env::var_os("BLT_CHROMIUM").is_some()
        && let Err(error) = browser::find()
    {
        problems.push(format!("{error:#}"));
    }
    match wasm_std::prepare() {
        Ok(source) => eprintln!("wasm32 standard library: {source}"),
        Err(error) => problems.push(format!("missing: wasm32 standard library: {error:#}")),
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    describe();
    Ok(())
}

/// What is missing of MPI and of what it takes to build against it, if something is.
pub fn missing_for_mpi() -> Option<String> {
    let missing = NEEDS.iter().filter(|need| need.what.contains("MPI") && !(need.is_there)());
    let missing: Vec<_> = missing.map(|need| need.what).collect();
    (!missing.is_empty()).then(|| format!("no {}", missing.join(", no ")))
}

/// Whether there is a program of this name.
fn answers(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Whether libclang is where those who load it look: where they are told, or where Debian and
/// others have it.
fn has_libclang() -> bool {
    let in_directory = |directory: &Path| {
        let entries = directory.read_dir().into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| {
            let is_it = name.starts_with("libclang.so") || name.starts_with("libclang-");
            is_it && !name.contains("cpp")
        })
    };
    if let Some(path) = std::env::var_os("LIBCLANG_PATH") {
        return Path::new(&path).is_file() || in_directory(Path::new(&path));
    }
    let below_usr = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Path::new);
    let llvm = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten();
    let mut llvm = llvm.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"));
    below_usr.into_iter().any(in_directory)
        || llvm.any(|entry| in_directory(&entry.path().join("lib")))
}

fn advice(need: &Need) -> String {
    if debian::is_debian() {
        format!("as root: apt-get install {}", need.packages.join(" "))
    } else {
        need.elsewhere.to_owned()
    }
}

/// Prints the versions of what was found, for the record.
fn describe() {
    if let Ok(browser) = browser::find().and_then(|path| browser::version(&path)) {
        eprintln!("browser: {browser}");
    }
    let Ok(output) = Command::new("vulkaninfo").arg("--summary").output() else { return };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in text.lines().filter(|line| {
        let name = line.split('=').next().unwrap_or_default().trim();
        ["deviceName", "driverInfo", "apiVersion"].contains(&name)
    }) {
        eprintln!("vulkan: {}", line.trim());
    }
}

fn has_vulkan_loader() -> bool {
    if !cfg!(target_os = "linux") {
        return true; // Metal and DX12 come with the system
    }
    let listed = |program: &str| {
        let output = Command::new(program).arg("-p").output();
        output.is_ok_and(|output| contains(&output.stdout, "libvulkan.so.1"))
    };
    // ldconfig is not on the path of everyone who may read its cache.
    ["ldconfig", "/sbin/ldconfig"].into_iter().any(listed)
}

fn has_display() -> bool {
    !cfg!(target_os = "linux") || answers("xvfb-run") || std::env::var_os("DISPLAY").is_some()
}

fn has_software_driver() -> bool {
    if !cfg!(target_os = "linux") || std::env::var_os("WGPU_ADAPTER_NAME").is_some() {
        return true;
    }
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];
    if named.iter().any(|name| std::env::var_os(name).is_some()) {
        return true; // somebody has chosen a driver; the stage `engine` will tell
    }
    ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .filter_map(|directory| Path::new(directory).read_dir().ok())
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("lvp_icd"))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
