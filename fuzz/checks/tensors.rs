//! The header of a safetensors file, and the index of shards. What opens must be readable.

use blt_wgpu::checkpoint::{FileBytes, TensorFile, TensorSet};

/// The names and elements of a file that was taken.
fn read_all(file: &TensorFile) {
    for (name, entry) in file.entries() {
        assert!(file.bytes(name).is_ok(), "{name} lies in the file");
        if let Ok(elements) = file.read(name) {
            assert_eq!(elements.len(), entry.element_count(), "{name}");
        }
    }
}

/// Panics where the parser does what it must not.
pub fn check(data: &[u8]) {
    if let Ok(file) = TensorFile::parse("file", data.to_vec()) {
        read_all(&file);
    }
    // The same bytes as an index, whose shards are all empty files of tensors.
    let empty = || Ok(FileBytes::from(b"\x02\0\0\0\0\0\0\0{}".to_vec()));
    if let Ok(set) = TensorSet::from_index("set", data, |name| {
        assert!(!name.contains(['/', '\\']), "a shard lies beside its index: {name:?}");
        empty()
    }) {
        assert_eq!(set.names().count(), 0, "there is nothing in the shards");
    }
}
