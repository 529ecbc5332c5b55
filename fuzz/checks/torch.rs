//! A file of `torch.save`: the bytes as the whole zip, and as the pickle in a zip that is right.

use blt_wgpu::checkpoint::TensorFile;

/// The storages beside a pickle.
const STORAGE: [u8; 64] = [0; 64];

fn check_file(bytes: Vec<u8>) {
    let Ok(file) = TensorFile::parse_torch("file", bytes) else { return };
    for (name, entry) in file.entries() {
        assert!(file.bytes(name).is_ok(), "{name} lies in the file");
        if let Ok(elements) = file.read(name) {
            assert_eq!(elements.len(), entry.element_count(), "{name}");
        }
    }
}

/// A zip of these entries, as they are.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let lengths = [bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let name_length = (name.len() as u16).to_le_bytes();
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        directory.extend(&lengths);
        directory.extend(name_length);
        directory.extend([0; 12]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        file.extend(&lengths);
        file.extend(name_length);
        file.extend([0; 2]);
        file.extend(name.as_bytes());
        file.extend(*bytes);
    }
    let (start, length) = (file.len() as u32, directory.len() as u32);
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([entries.len() as u16; 2].map(u16::to_le_bytes).concat());
    file.extend([length, start].map(u32::to_le_bytes).concat());
    file.extend([0; 2]);
    file
}

/// Panics where the parser does what it must not.
pub fn check(data: &[u8]) {
    check_file(data.to_vec());
    check_file(zip(&[("x/data.pkl", data), ("x/data/0", &STORAGE), ("x/data/1", &STORAGE[..7])]));
}
