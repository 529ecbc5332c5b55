//! The rules of the house, as tests over the source tree: what may be named where, how long things
//! get, and that a kernel has everything a kernel has.

#[path = "house/layers.rs"]
mod layers;

use blt_wgpu::kernels::REGISTRY;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 500;
const MAX_LINE_COLUMNS: usize = 100;

/// A text file of the project, with its path below the root, `/` between the parts.
struct File {
    path: String,
    text: String,
    /// Whether it is test code as a whole.
    is_test: bool,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_shader(&self) -> bool {
        self.path.ends_with(".wgsl")
    }

    /// The name without folder and extension.
    fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.split('.').next().unwrap_or(name)
    }

    /// Whether the program is made of it, as opposed to the library.
    fn is_program(&self) -> bool {
        let program = ["src/cli/", "src/main.rs", "xtask/", "examples/", "web/", "benches/"];
        program.iter().any(|prefix| self.path.starts_with(prefix))
    }

    /// Numbered lines with the comments and string contents taken out.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, code_of(line)))
    }

    /// Lines of code before the module of tests at the end of the file.
    fn code_without_tests(&self) -> impl Iterator<Item = (usize, String)> {
        let mut lines = self.text.lines().zip(self.text.lines().skip(1));
        let tests = lines.position(|(first, second)| {
            first == "#[cfg(test)]" && second.contains("mod ") && second.ends_with('{')
        });
        let line_count = if self.is_test { 0 } else { tests.unwrap_or(usize::MAX) };
        self.code().take(line_count)
    }

    /// Files that this one declares as modules for tests only: `#[cfg(test)] mod name;`.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let mut modules = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if line.trim() != "#[cfg(test)]" {
                continue;
            }
            let Some(declared) = lines.next().and_then(|line| line.strip_suffix(';')) else {
                continue;
            };
            if let Some((_, name)) = declared.split_once("mod ") {
                modules.push(format!("{folder}/{name}.rs"));
            }
        }
        modules
    }
}

/// A line without its comment and without what is between quotes. Good enough for searching: a text
/// over several lines is taken for code.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' if quoted => {
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                code.push(char);
            }
            '\'' if !quoted && chars.peek() == Some(&'"') => {
                chars.nth(1);
            }
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => code.push(char),
        }
    }
    code
}

/// All files of these folders that are Rust or WGSL, and those that lie at the root of the project.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "shaders", "tests", "examples", "web", "benches", "xtask", "fuzz"]
            .map(|folder| root.join(folder))
            .into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") || name.ends_with(".wgsl") {
                let text = std::fs::read_to_string(&path).unwrap();
                let below = path.strip_prefix(root).unwrap();
                let path = below.to_string_lossy().replace('\\', "/");
                files.push(File { is_test: path.split('/').any(|it| it == "tests"), path, text });
            }
        }
    }
    let modules: Vec<_> = files.iter().flat_map(File::test_modules).collect();
    for file in &mut files {
        file.is_test |= modules.contains(&file.path) || file.stem().ends_with("_test");
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 100, "the tree has more than {} files", files.len());
    files
}

/// Fails with all complaints at once.
fn assert_none(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n{}", complaints.join("\n"));
}

/// Places in `lines` where one of the words stands, not as the end of a longer name.
fn places(
    file: &File,
    lines: impl Iterator<Item = (usize, String)>,
    words: &[&str],
) -> Vec<String> {
    let mut places = Vec::new();
    for (number, line) in lines {
        if let Some(word) = words.iter().find(|word| names(&line, word)) {
            places.push(format!("{}:{number}: {word}", file.path));
        }
    }
    places
}

/// Whether a line holds a word that does not continue a name to its left.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|char| char.is_alphanumeric() || char == '_')
    })
}

#[test]
fn only_the_gpu_engine_names_wgpu() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        if file.path.starts_with("src/gpu/") {
            continue;
        }
        // Hosts outside the library reach it through the re-export.
        let host = ["examples/", "web/", "tests/embed.rs"];
        let host = host.iter().any(|place| file.path.starts_with(place));
        if host && imports_the_reexport(&file.text) {
            continue;
        }
        for (number, line) in file.code() {
            let line = if host { line.replace("gpu::wgpu", "") } else { line };
            if names(&line, "wgpu::") || names(&line, "use wgpu") {
                complaints.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_none("wgpu is named outside src/gpu", &complaints);
}

/// Whether a file has `wgpu` from the library, so that the name means the re-export.
fn imports_the_reexport(text: &str) -> bool {
    let imports = text.split("use blt_wgpu::gpu::").skip(1);
    let mut names = imports.filter_map(|import| import.split(';').next());
    names.any(|names| names.split(['{', '}', ',']).any(|name| name.trim() == "wgpu"))
}

#[test]
fn files_and_lines_are_short() {
    let mut complaints = Vec::new();
    for file in &files() {
        let count = file.text.lines().count();
        if count > MAX_FILE_LINES {
            complaints.push(format!("{}: {count} lines", file.path));
        }
        for (index, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MAX_LINE_COLUMNS {
                complaints.push(format!("{}:{}: {columns} columns", file.path, index + 1));
            }
        }
    }
    let rule = format!("{MAX_FILE_LINES} lines of {MAX_LINE_COLUMNS} columns are the most");
    assert_none(&rule, &complaints);
}

#[test]
fn every_kernel_has_its_files_and_a_line_in_the_registry() {
    let files = files();
    let mut complaints = Vec::new();
    let shaders = files.iter().filter(|file| file.is_shader());
    let shaders = shaders.filter(|shader| shader.path.starts_with("shaders/"));
    let shaders: Vec<_> = shaders.filter(|it| !it.path.starts_with("shaders/shared/")).collect();
    for kernel in REGISTRY {
        let name = kernel.name;
        let Some(shader) = shaders.iter().find(|shader| shader.stem() == name) else {
            complaints.push(format!("{name} has no shader of its name"));
            continue;
        };
        let family = shader.path.split('/').nth(1).expect("shaders/FAMILY/NAME.wgsl");
        let own = format!("src/kernels/{family}/{name}.rs");
        if !files.iter().any(|file| file.path == own) {
            complaints.push(format!("{name}: there is no {own}"));
        }
        let folder = format!("src/oracle/{family}/");
        let function = format!("pub fn {name}");
        // A gradient may stand in the file of what it is the gradient of.
        let oracle = files.iter().any(|file| {
            let near = file.path.starts_with(&folder) && name.starts_with(file.stem());
            near && ["(", "<"].iter().any(|after| file.text.contains(&format!("{function}{after}")))
        });
        if !oracle {
            complaints.push(format!("{name}: no oracle `{function}` under {folder}"));
        }
    }
    for shader in &shaders {
        // Further variants are named after the kernel, as `matmul.subgroups.wgsl`.
        if !REGISTRY.iter().any(|kernel| kernel.name == shader.stem()) {
            complaints.push(format!("{} belongs to no kernel of the registry", shader.path));
        }
    }
    let mut names: Vec<_> = REGISTRY.iter().map(|kernel| kernel.name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != REGISTRY.len() {
        complaints.push("two kernels have one name".to_owned());
    }
    assert_none("a kernel is few things with one name", &complaints);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        for (number, line) in file.code_without_tests() {
            if line.contains(".unwrap()") {
                complaints.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_none("say why it holds with `expect`, or return the error", &complaints);
}

#[test]
fn the_library_neither_prints_nor_exits_nor_reads_the_environment() {
    let words =
        ["println!", "eprintln!", "print!", "eprint!", "std::env", "env::", "process::exit"];
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with("src/") && !file.is_program()) {
        complaints.extend(places(file, file.code_without_tests(), &words));
    }
    assert_none("only the program does that", &complaints);
}

#[test]
fn clocks_threads_and_files_are_asked_for_in_few_places() {
    let files_of = [
        "src/text/source.rs",
        "src/checkpoint/",
        "src/train/data/sources.rs",
        "src/train/run/",
        "src/train/entropies/",
    ];
    let rules: [(&[&str], &[&str]); 2] = [
        (&["Instant::now", "SystemTime::now", "thread::spawn"], &["src/platform.rs"]),
        (&["fs::", "File::open", "File::create"], &files_of),
    ];
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with("src/") && !file.is_program()) {
        for (words, allowed) in rules {
            if !allowed.iter().any(|prefix| file.path.starts_with(prefix)) {
                complaints.extend(places(file, file.code_without_tests(), words));
            }
        }
    }
    assert_none("a host without them hands in what it has", &complaints);
}

#[test]
fn unsafe_stands_only_where_it_must() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        let lines: Vec<_> = file.text.lines().collect();
        let maps_memory = file.text.contains("memmap2::");
        let engine = file.path.starts_with("src/gpu/");
        // Tiles of matrix products, and allocators that count.
        let allowed = ["src/kernels/dense/gemm.rs", "tests/loading.rs", "tests/replay.rs"];
        let allowed = allowed.contains(&&*file.path);
        let allowed = engine || maps_memory || allowed;
        for (number, line) in file.code() {
            if !names(&line, "unsafe ") {
                continue;
            }
            if !allowed {
                complaints.push(format!("{}:{number}", file.path));
            }
            let before = &lines[number.saturating_sub(9)..number - 1];
            if !before.iter().any(|line| line.contains("SAFETY:")) {
                complaints.push(format!("{}:{number}: no `SAFETY:` comment above", file.path));
            }
        }
    }
    assert_none("unsafe is for the GPU engine, gemm and memory maps, with its reason", &complaints);
}

#[test]
fn nothing_is_left_to_do() {
    // Put together here, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["db", "g!("]];
    let stubs = [["to", "do!("], ["unimple", "mented!("]];
    let words: Vec<String> = words.iter().chain(&stubs).map(|parts| parts.concat()).collect();
    let mut complaints = Vec::new();
    for file in &files() {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| names(line, word)) {
                complaints.push(format!("{}:{}: {word}", file.path, index + 1));
            }
        }
    }
    assert_none("finish it or leave it out", &complaints);
}

#[test]
fn names_say_what_a_thing_is() {
    let empty = ["util", "utils", "helper", "helpers", "manager", "common", "misc"];
    let mut complaints = Vec::new();
    for file in &files() {
        let bad = file.path.split(['/', '.', '_']).any(|part| empty.contains(&part));
        if bad {
            complaints.push(file.path.clone());
        }
    }
    assert_none("a name that says nothing", &complaints);
}

#[test]
fn mod_files_hold_docs_modules_and_names_only() {
    let items = ["fn ", "struct ", "enum ", "trait ", "impl ", "impl<", "static ", "type "];
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with("src/")) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if name != "mod.rs" && file.path != "src/lib.rs" {
            continue;
        }
        if !file.text.starts_with("//!") {
            complaints.push(format!("{}: no docs at the top", file.path));
        }
        complaints.extend(places(file, file.code(), &items));
    }
    assert_none("mod.rs and lib.rs hold docs, `mod` and `pub use`", &complaints);
}

#[test]
fn every_file_of_rust_begins_by_saying_what_it_is() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        if !file.text.starts_with("//!") {
            complaints.push(file.path.clone());
        }
    }
    for file in files().iter().filter(|file| file.is_shader()) {
        if !file.text.starts_with("// ") {
            complaints.push(file.path.clone());
        }
    }
    assert_none("a file reads top down", &complaints);
}

#[test]
fn the_search_sees_code_and_not_comments() {
    assert_eq!(code_of("let x = 1; // unsafe"), "let x = 1; ");
    assert_eq!(code_of("say(\"// \\\" unsafe\") + 1"), "say(\"\") + 1");
    assert_eq!(code_of("let quote = '\"'; unsafe {"), "let quote = ; unsafe {");
    assert!(names("a + wgpu::Buffer", "wgpu::"));
    assert!(!names("blt_wgpu::gpu", "wgpu::"));
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n".to_owned();
    let file = File { path: "src/a.rs".into(), text, is_test: false };
    assert_eq!(file.code_without_tests().count(), 1);
    let text = "#[cfg(test)]\npub(crate) mod b;\nmod c;\n".to_owned();
    let file = File { path: "src/a/mod.rs".into(), text, is_test: false };
    assert_eq!(file.test_modules(), ["src/a/b.rs"]);
}
