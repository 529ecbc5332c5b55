//! Files of torch: one that torch wrote, round trips, and files that want something else.

use std::path::Path;

use half::bf16;
use proptest::prelude::*;

use super::TorchWriter;
use super::zip::stored_entries;
use super::zip_writer::ZipWriter;
use crate::checkpoint::{ElementType, TensorFile};

fn fixture() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(root.join("tests/fixtures/release/entropy_model/consolidated.pth")).unwrap()
}

/// A zip with this pickle and one storage of 32 bytes.
fn file_of(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Vec::new());
    zip.add("x/data.pkl", pickle).unwrap();
    zip.add("x/data/0", &[0; 32]).unwrap();
    zip.finish().unwrap()
}

/// What is said about a file with this pickle.
fn refusal(pickle: &[u8]) -> String {
    TensorFile::parse_torch("file", file_of(pickle)).unwrap_err().to_string()
}

/// `{"a": tensor}` of a float storage with so many elements, and offset, shape and strides.
fn one_tensor(count: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    out.extend(b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK");
    out.extend([count, b't', b'Q', b'K', offset, b'(']);
    shape.iter().for_each(|length| out.extend([b'K', *length]));
    out.extend(b"t(");
    strides.iter().for_each(|stride| out.extend([b'K', *stride]));
    out.extend(b"t\x89ccollections\nOrderedDict\n)RtRs.");
    out
}

#[test]
fn a_file_that_torch_wrote_is_read() {
    let file = TensorFile::parse_torch("torch", fixture()).unwrap();
    let names: Vec<_> = file.entries().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 21, "{names:?}");
    let entry = file.entry("layers.1.feed_forward.w2.weight").unwrap();
    assert_eq!(entry.shape, [32, 88]);
    assert_eq!(ElementType::of(entry.dtype), Some(ElementType::Bf16));
    let norm = file.read("norm.weight").unwrap();
    assert_eq!(norm.len(), 32);
    assert!(norm.iter().all(|it| (0.3..1.7).contains(it)), "ones with some noise: {norm:?}");
}

#[test]
fn what_is_written_comes_back() {
    let tensors = [("a.weight".to_owned(), vec![2, 3]), ("b.weight".to_owned(), vec![70_000])];
    let long: Vec<f32> = (0..70_000).map(|index| (index % 251) as f32 / 8.0).collect();
    for kind in [ElementType::F32, ElementType::F16, ElementType::Bf16] {
        let mut writer = TorchWriter::new(Vec::new(), "file", kind, &tensors).unwrap();
        writer.push("a.weight", &[1.0, -2.0]).unwrap();
        writer.push("a.weight", &[0.5, 4.0, 0.0, 3.0]).unwrap();
        writer.push("b.weight", &long[..40_000]).unwrap();
        writer.push("b.weight", &long[40_000..]).unwrap();
        let file = TensorFile::parse_torch("file", writer.finish().unwrap()).unwrap();
        assert_eq!(*file.read("a.weight").unwrap(), [1.0, -2.0, 0.5, 4.0, 0.0, 3.0]);
        assert_eq!(file.entry("a.weight").unwrap().shape, [2, 3]);
        for (got, wrote) in file.read("b.weight").unwrap().iter().zip(&long) {
            let expected = match kind {
                ElementType::Bf16 => bf16::from_f32(*wrote).to_f32(),
                _ => *wrote,
            };
            assert_eq!(*got, expected, "{kind:?}");
        }
    }
}

#[test]
fn a_pickle_that_wants_to_run_code_is_refused_by_name() {
    let system = b"\x80\x02cposix\nsystem\nX\x04\0\0\0echo\x85R.";
    let said = refusal(system);
    assert!(said.contains("posix.system"), "{said}");
    assert!(said.contains("tensors and nothing else"), "{said}");
    let stacked = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.";
    assert!(refusal(stacked).contains("builtins.eval"));
    // A name that begins like one of ours, and the ways to make objects of other kinds.
    assert!(refusal(b"\x80\x02ctorch\nload\n.").contains("torch.load"));
    assert!(refusal(b"\x80\x02ctorch._utils\n_rebuild_parameter\n.").contains("_rebuild_param"));
    for opcode in [b'i', b'o', 0x81, 0x92, b'P', 0x82, 0x96, 0x97] {
        let said = refusal(&[0x80, 2, b'(', opcode]);
        assert!(said.contains(&format!("opcode {opcode:#04x}")), "{said}");
    }
    // What is known cannot be called otherwise.
    assert!(refusal(b"\x80\x02ctorch\nFloatStorage\n)R.").contains("no function"));
    assert!(refusal(b"\x80\x02ccollections\nOrderedDict\nN\x85R.").contains("with arguments"));
    assert!(refusal(b"\x80\x02}X\x01\0\0\0aK\x01s.").contains("a is no tensor"));
    assert!(refusal(b"\x80\x02N.").contains("expected a dictionary"));
}

#[test]
fn tensors_that_leave_their_storage_are_refused() {
    let parse = |pickle: Vec<u8>| TensorFile::parse_torch("file", file_of(&pickle));
    assert_eq!(parse(one_tensor(8, 2, &[2, 3], &[3, 1])).unwrap().read("a").unwrap().len(), 6);
    // A length of one may have any stride, and none leaves nothing to read.
    assert!(parse(one_tensor(8, 0, &[1, 8], &[9, 1])).is_ok());
    assert_eq!(parse(one_tensor(8, 8, &[0], &[1])).unwrap().read("a").unwrap().len(), 0);
    let cases = [
        (one_tensor(8, 3, &[2, 3], &[3, 1]), "elements 3 to 9 leave a storage of 8"),
        (one_tensor(9, 0, &[2, 3], &[3, 1]), "are more than the 32 bytes"),
        (one_tensor(8, 0, &[3, 2], &[1, 3]), "row by row"),
        (one_tensor(8, 0, &[2], &[0]), "row by row"),
        (one_tensor(8, 0, &[2, 2], &[2]), "arguments that are none"),
    ];
    for (pickle, words) in cases {
        let said = parse(pickle).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    let mut zip = ZipWriter::new(Vec::new());
    zip.add("data.pkl", &one_tensor(8, 0, &[2], &[1])).unwrap();
    let said = TensorFile::parse_torch("file", zip.finish().unwrap()).unwrap_err().to_string();
    assert!(said.contains("data/0 is missing"), "{said}");
}

/// A pickle makes no more than a small multiple of its bytes.
#[test]
fn what_a_pickle_makes_is_bounded() {
    // A long text that is the name of storage after storage.
    let mut named = b"\x80\x02X".to_vec();
    named.extend((1u32 << 20).to_le_bytes());
    named.resize(named.len() + (1 << 20), b'0');
    named.extend(b"q\x01(X\x07\0\0\0storagectorch\nFloatStorage\nh\x01X\x03\0\0\0cpuK\x08tq\x02");
    named.extend(b"h\x02Q".repeat(1000));
    assert!(refusal(&named).contains("no storage"));
    // Tensor after tensor of more dimensions than there are, from one tuple.
    let mut deep = one_tensor(8, 0, &[1; 9], &[1; 9]);
    assert!(refusal(&deep).contains("arguments that are none"));
    deep = one_tensor(8, 0, &[1; 8], &[1; 8]);
    assert!(TensorFile::parse_torch("file", file_of(&deep)).is_ok());
    // More objects than any model has.
    let mut many = b"\x80\x02".to_vec();
    many.resize((1 << 20) + 4, b'N');
    assert!(refusal(&many).contains("may have 1048576 objects"));
    many.truncate(1 << 20);
    many.push(b'.');
    assert!(refusal(&many).contains("expected a dictionary"));
}

#[test]
fn zips_that_lie_are_refused() {
    let whole = file_of(&one_tensor(8, 0, &[2], &[1]));
    assert!(stored_entries(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(stored_entries(&whole[..length]).is_err(), "cut at {length}");
    }
    let directory = whole.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[directory + at..directory + at + bytes.len()].copy_from_slice(bytes);
        stored_entries(&file).unwrap_err()
    };
    assert!(changed(8, &[1, 0]).contains("encrypted"));
    assert!(changed(10, &[8, 0]).contains("compressed"));
    assert!(changed(20, &[0xf0, 0xff, 0xff, 0x7f]).contains("compressed"));
    assert!(changed(42, &[0xf0, 0xff, 0xff, 0x7f]).contains("leaves the file"));
    assert!(changed(42, &u32::MAX.to_le_bytes()).contains("64 bits"));
    // Both entries at one place.
    assert!(changed(42, &[0; 4]).contains("overlap"));
    assert!(TensorFile::parse_torch("file", b"\x80\x02}.".to_vec()).is_err());
    let said = refusal(b"\x80\x02(((((");
    assert!(said.contains("cut off"), "{said}");
    assert!(refusal(b"\x80\x02h\x07.").contains("never made"));
    assert!(refusal(b"\x80\x02R.").contains("than there is"));
    assert!(refusal(b"\x80\x02\x8a\xff").contains("cut off"));
}

proptest! {
    #[test]
    fn arbitrary_pickles_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = TensorFile::parse_torch("bytes", file_of(&bytes));
    }

    #[test]
    fn damaged_files_never_panic(at in 0usize..2200, value in any::<u8>(), tail in any::<bool>()) {
        let mut bytes = fixture();
        let at = if tail { bytes.len() - 1 - at } else { at };
        bytes[at] = value;
        if let Ok(file) = TensorFile::parse_torch("damaged", bytes) {
            for (name, entry) in file.entries() {
                if let Ok(elements) = file.read(name) {
                    prop_assert_eq!(elements.len(), entry.element_count());
                }
            }
        }
    }
}
