//! Tests of the document reader on files in memory.

use super::*;
use crate::text::InMemory;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

fn documents(files: InMemory, paths: &[&str], options: DocumentOptions) -> Documents {
    Documents::open_from(Box::new(files), paths, options).unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn document(id: &str, text: &[u8]) -> Document {
    Document { id: id.to_owned(), text: text.to_vec() }
}

#[test]
fn all_four_kinds_of_files_in_the_order_of_the_paths() {
    let lines = b"{\"text\":\"one\",\"id\":\"1\"}\n{\"text\":\"\"}\n{\"text\":\"three\"}\n";
    let files = InMemory::new()
        .with("a.txt", *b"plain \xff bytes\n")
        .with("b.txt.zst", zst(b"packed"))
        .with("c.jsonl", *lines)
        .with("d.jsonl.zst", zst(lines))
        .with("empty.txt", *b"")
        .with("empty.jsonl", *b"");
    let paths = ["d.jsonl.zst", "a.txt", "empty.txt", "empty.jsonl", "b.txt.zst", "c.jsonl"];
    let mut documents = documents(files, &paths, DocumentOptions::default());
    let found: Vec<Document> = documents.by_ref().map(Result::unwrap).collect();
    assert_eq!(
        found,
        [
            document("1", b"one"),
            document("d.jsonl.zst:3", b"three"),
            document("a.txt", b"plain \xff bytes\n"),
            document("b.txt.zst", b"packed"),
            document("1", b"one"),
            document("c.jsonl:3", b"three"),
        ]
    );
    let expected =
        DocumentCounts { document_count: 6, text_bytes: 36, empty_count: 3, malformed_count: 0 };
    assert_eq!(documents.counts(), expected);
}

#[test]
fn the_pieces_of_a_text_make_the_whole() {
    let text: Vec<u8> = (0..=254).collect();
    let read = |part| {
        let files = InMemory::new().with("t.txt", text.clone());
        let options = DocumentOptions { part, ..DocumentOptions::default() };
        documents(files, &["t.txt"], options).next().unwrap()
    };
    let head = read(Part::ALL_BUT_LAST_TENTH).unwrap();
    let tail = read(Part::LAST_TENTH).unwrap();
    assert_eq!((head.id.as_str(), tail.id.as_str()), ("t.txt[0..229]", "t.txt[229..255]"));
    assert_eq!([head.text, tail.text].concat(), text);
    assert_eq!(read(Part::Bytes(3..5)).unwrap().text, [3, 4]);
    let message = read(Part::Bytes(3..256)).unwrap_err().to_string();
    assert_eq!(message, "t.txt: byte range: expected a range within 0..255, got 3..256");
}

#[test]
fn a_malformed_line_ends_the_reading_or_is_counted() {
    let file = b"{\"text\":\"a\"}\n{oops\n{\"text\":\"b\"}\n";
    let files = InMemory::new().with("x.jsonl", *file).with("y.txt", *b"y");
    let mut failing = documents(files.clone(), &["x.jsonl", "y.txt"], DocumentOptions::default());
    assert_eq!(failing.next().unwrap().unwrap(), document("x.jsonl:1", b"a"));
    let message = failing.next().unwrap().unwrap_err().to_string();
    assert!(message.starts_with("x.jsonl:2: expected a JSON object"), "{message}");
    assert!(failing.next().is_none(), "nothing comes after an error");

    let options = DocumentOptions { on_error: OnError::Skip, ..DocumentOptions::default() };
    let mut skipping = documents(files, &["x.jsonl", "y.txt"], options);
    let texts: Vec<Vec<u8>> = skipping.by_ref().map(|d| d.unwrap().text).collect();
    assert_eq!(texts, [b"a", b"b", b"y"]);
    assert_eq!(skipping.counts().malformed_count, 1);
}

#[test]
fn what_cannot_be_read_is_named() {
    let line = b"{\"text\":\"a\"}\n".repeat(50_000);
    let mut cut = zst(&line);
    cut.truncate(cut.len() - 10);
    let files =
        InMemory::new().with("cut.jsonl.zst", cut).with("a.txt", *b"a").with("a.pdf", *b"a");
    let open = |path: &str, part| {
        let options = DocumentOptions { part, on_error: OnError::Skip };
        Documents::open_from(Box::new(files.clone()), &[path], options)
    };

    let last = open("cut.jsonl.zst", Part::Whole).unwrap().last().unwrap().unwrap_err();
    let message = last.to_string();
    assert_eq!(message, "cannot read cut.jsonl.zst: the zstd stream is truncated");
    let message = open("gone.txt", Part::Whole).err().unwrap().to_string();
    assert!(message.starts_with("cannot open gone.txt: "), "{message}");
    let message = open("gone", Part::Whole).err().unwrap().to_string();
    assert!(message.starts_with("cannot open gone: "), "{message}");
    let message = open("a.pdf", Part::Whole).err().unwrap().to_string();
    assert!(message.starts_with("a.pdf: expected a name ending in"), "{message}");
    let message = open("cut.jsonl.zst", Part::LAST_TENTH).err().unwrap().to_string();
    assert!(message.starts_with("cut.jsonl.zst: expected a .txt file"), "{message}");
    let none: [&str; 0] = [];
    assert!(Documents::open(&none, DocumentOptions::default()).is_err());
}

#[test]
fn files_of_the_file_system() {
    let missing = Path::new(env!("CARGO_MANIFEST_DIR")).join("no such file.txt");
    let error = Documents::open(&[&missing], DocumentOptions::default()).err().unwrap();
    assert!(matches!(error, Error::Io { action: "open", .. }), "{error}");

    let path = std::env::temp_dir().join(format!("blt-documents-{}.txt", std::process::id()));
    std::fs::write(&path, b"on disk").unwrap();
    let found: Vec<_> = Documents::open(&[&path], DocumentOptions::default()).unwrap().collect();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].as_ref().unwrap().text, b"on disk");
}
