//! Which top-level module may name which others: the picture of ARCHITECTURE.md as a table, and a
//! search of the source that finds every path from one module into another.

use super::{File, assert_none, files};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every top-level module and those it names, from the ground up: a module names only modules that
/// stand above it here.
const LAYERS: &[(&str, &str)] = &[
    ("error", ""),
    ("platform", ""),
    ("random", ""),
    ("text", "error"),
    ("packed", ""),
    ("oracle", "packed"),
    ("shader", ""),
    ("kernels", "oracle packed shader"),
    ("graph", "error kernels packed"),
    ("engine", "error graph kernels"),
    ("cpu", "engine error graph kernels"),
    ("gpu", "engine error graph kernels platform shader"),
    ("device", "cpu engine error gpu graph kernels platform"),
    ("nn", "error graph"),
    ("blt", "engine error graph kernels nn packed random text"),
    ("checkpoint", "blt engine error packed"),
    ("eval", "blt engine error kernels text"),
    ("generate", "blt engine error eval graph kernels platform random text"),
    ("train", "blt checkpoint engine error eval generate graph kernels platform random text"),
    ("bench", "blt device engine error eval generate graph kernels platform random text train"),
    ("report", "bench blt text train"),
    ("demo", "blt engine error eval graph kernels random report text train"),
    (
        "cli",
        "bench blt checkpoint cpu demo device engine error eval generate gpu graph kernels \
         platform report text train",
    ),
];

/// The module at the top that a file of `src/` belongs to, and how many modules deep the file is.
fn place(path: &str) -> Option<(&str, usize)> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Vec<_> = path.split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    let top = *parts.first()?;
    (top != "lib" && top != "main").then_some((top, parts.len()))
}

/// The top-level modules that the code of a file at this depth names: `crate::x`, `blt_wgpu::x`, a
/// group `crate::{x, y::z}`, and `super::` as often as the file is deep.
fn named(code: &str, depth: usize) -> BTreeSet<String> {
    let climb = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for root in ["crate::", "blt_wgpu::", &climb] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            // Part of a longer name, or of a longer path.
            if before.is_some_and(|it| it.is_alphanumeric() || it == '_' || it == ':') {
                continue;
            }
            found.extend(heads(&code[at + root.len()..]));
        }
    }
    found
}

/// The first name of a path, or those of a group in braces. Types at the root are those of `error`.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(text.len());
        let name = &text[..end];
        if name.starts_with(char::is_uppercase) { "error".to_owned() } else { name.to_owned() }
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut names, mut depth, mut begin) = (Vec::new(), 1, 0);
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && char == ',') {
            names.push(name(&group[begin..at]));
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Every edge between top-level modules, with the files that draw it.
fn edges(files: &[File]) -> BTreeMap<(String, String), Vec<String>> {
    let mut edges: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in files {
        let Some((top, depth)) = place(&file.path) else { continue };
        let lines: Vec<_> = file.code_without_tests().map(|(_, line)| line).collect();
        for name in named(&lines.join("\n"), depth) {
            if name != top {
                edges.entry((top.to_owned(), name)).or_default().push(file.path.clone());
            }
        }
    }
    edges
}

/// What of the edges the table does not allow, and what of the table no edge bears out.
fn disagreements(edges: &BTreeMap<(String, String), Vec<String>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for ((from, to), paths) in edges {
        let allowed = LAYERS.iter().find(|(name, _)| name == from);
        if !allowed.is_some_and(|(_, names)| names.split_whitespace().any(|it| it == to)) {
            complaints.push(format!("{from} may not name {to}: {}", paths.join(", ")));
        }
    }
    for (from, names) in LAYERS {
        for to in names.split_whitespace() {
            if !edges.contains_key(&(from.to_string(), to.to_owned())) {
                complaints.push(format!("{from} does not name {to} any more"));
            }
        }
    }
    complaints
}

#[test]
fn modules_name_only_what_the_table_allows() {
    let files = files();
    let complaints = disagreements(&edges(&files));
    assert_none("the layers, see the picture in ARCHITECTURE.md", &complaints);
    let root = files.iter().find(|file| file.path == "src/lib.rs").expect("it is the library");
    for (_, line) in root.code() {
        let Some(name) = line.strip_prefix("pub mod ").and_then(|it| it.strip_suffix(';')) else {
            continue;
        };
        assert!(LAYERS.iter().any(|(known, _)| *known == name), "{name} has no layer");
    }
}

#[test]
fn layers_name_only_layers_below() {
    for (index, (from, names)) in LAYERS.iter().enumerate() {
        for to in names.split_whitespace() {
            let below = LAYERS[..index].iter().any(|(name, _)| *name == to);
            assert!(below, "{from} names {to}, which is not below it");
        }
    }
}

#[test]
fn the_picture_shows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, house) = text.split_once("## The house\n").expect("it has the picture");
    let picture: Vec<_> = house.lines().take_while(|line| !line.starts_with('|')).collect();
    let row = |name: &str| {
        let shown = [format!("{name}/"), format!("{name}.rs")];
        let drawn = |line: &&str| {
            line.starts_with("    ") && line.split_whitespace().any(|it| shown.contains(&it.into()))
        };
        picture.iter().position(drawn).unwrap_or_else(|| panic!("{name} is not in the picture"))
    };
    for (from, names) in LAYERS {
        for to in names.split_whitespace() {
            assert!(row(from) <= row(to), "the picture has {from} below {to}, which it names");
        }
    }
}

#[test]
fn a_forbidden_edge_is_found() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
        is_test: false,
    };
    let draws = |path: &str, text: &str| {
        let edges = edges(&[file(path, text)]);
        edges.into_keys().map(|(from, to)| format!("{from} {to}")).collect::<Vec<_>>()
    };
    assert_eq!(draws("src/nn/block.rs", "use crate::blt::config::Size;\n"), ["nn blt"]);
    assert_eq!(draws("src/nn/block.rs", "let x = crate::gpu::Caps::new();\n"), ["nn gpu"]);
    assert_eq!(draws("src/nn/block.rs", "use super::super::train;\n"), ["nn train"]);
    assert_eq!(
        draws("src/nn/mod.rs", "use super::{\n    cpu,\n    demo::X,\n};\n"),
        ["nn cpu", "nn demo"]
    );
    assert_eq!(
        draws("src/a/b/c.rs", "use crate::{Result, x::{y, z}, w};\n"),
        ["a error", "a w", "a x"]
    );
    assert_eq!(draws("src/cli/info.rs", "use blt_wgpu::oracle::norm;\n"), ["cli oracle"]);
    // What stays inside, is a comment, a string or a test draws nothing.
    let quiet =
        "//! [`crate::gpu`]\nuse super::config;\nuse crate::nn::x;\nlet s = \"crate::cpu\";\n";
    let quiet = format!("{quiet}#[cfg(test)]\nmod tests {{\n    use crate::cpu::X;\n}}\n");
    assert_eq!(draws("src/nn/block.rs", &quiet), [""; 0]);

    let edges = edges(&[file("src/nn/block.rs", "use crate::{Error, blt, graph};\n")]);
    let complaints = disagreements(&edges);
    assert!(complaints.contains(&"nn may not name blt: src/nn/block.rs".to_owned()));
    assert!(complaints.contains(&"gpu does not name engine any more".to_owned()));
    assert!(!complaints.iter().any(|it| it.contains("nn may not name graph")));
}
