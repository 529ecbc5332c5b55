//! A tar archive in memory: what `tar -xf`, which every desktop has, unpacks.
//!
//! The format is ustar of POSIX.1-1988: for each file a header of 512 bytes and its contents,
//! filled up to a multiple of 512; two empty blocks at the end.

use crate::model::NamedFile;

const BLOCK: usize = 512;

/// The files in a folder of this name. Names are short and ASCII, as those of models are.
///
/// # Panics
/// If folder and name have more than 100 bytes together.
pub fn tar(folder: &str, files: &[NamedFile], unix_seconds: u64) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        archive.extend(header(&format!("{folder}/{name}"), bytes.len() as u64, unix_seconds));
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn header(path: &str, length: u64, unix_seconds: u64) -> [u8; BLOCK] {
    assert!(path.len() <= 100, "{path}: longer than a header has room for");
    let mut block = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644\0"); // mode
    put(108, "0000000\0"); // user
    put(116, "0000000\0"); // group
    put(124, &format!("{length:011o}\0"));
    put(136, &format!("{unix_seconds:011o}\0"));
    put(148, "        "); // the sum counts its own place as blanks
    put(156, "0"); // a file
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn sizes_are_whole_blocks_and_the_end_is_two_empty_ones() {
        let files = [("a.json".to_owned(), vec![7; 513]), ("b".to_owned(), Vec::new())];
        let archive = tar("m", &files, 0);
        assert_eq!(archive.len(), BLOCK * (1 + 2 + 1 + 2));
        assert_eq!(&archive[..8], b"m/a.json");
        assert_eq!(&archive[124..135], b"00000001001");
        assert!(archive[archive.len() - 2 * BLOCK..].iter().all(|&byte| byte == 0));
    }

    /// Of the machine, where it has one.
    #[test]
    fn the_program_tar_reads_it() {
        let files = [("config.json".to_owned(), b"{}".to_vec()), ("w".to_owned(), vec![1; 1000])];
        let spawned = Command::new("tar")
            .args(["-tvf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else { return };
        child.stdin.take().unwrap().write_all(&tar("model", &files, 1_700_000_000)).unwrap();
        let output = child.wait_with_output().unwrap();
        let list = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{list}");
        assert!(list.contains("model/config.json") && list.contains("1000"), "{list}");
    }
}
