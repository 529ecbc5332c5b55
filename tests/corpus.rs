//! What fuzzing found is fed to the parsers again, with the checks of the fuzz targets.

#[path = "../fuzz/checks/config.rs"]
mod config;
#[path = "../fuzz/checks/tensors.rs"]
mod tensors;
#[path = "../fuzz/checks/torch.rs"]
mod torch;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Feeds every file of a corpus, and names those that a check fails on.
fn replay(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let (mut count, mut failed) = (0, Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        count += 1;
        if catch_unwind(|| check(&bytes)).is_err() {
            failed.push(path);
        }
    }
    assert!(count > 100, "the corpus is there: {count}");
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn configurations() {
    replay("config", config::check);
}

#[test]
fn files_of_tensors() {
    replay("tensors", tensors::check);
}

#[test]
fn files_of_torch() {
    replay("torch", torch::check);
}
