//! Tests of the document reader on files in memory.

use super::*;
use crate::text::InMemory;
use crate::text::gzip::tests::compress as gz;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

fn documents(files: InMemory, paths: &[&str], options: DocumentOptions) -> Documents {
    Documents::open_from(Box::new(files), paths, options).unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn document(id: &str, text: &[u8]) -> Document {
    Document::new(id.to_owned(), text.to_vec())
}

#[test]
fn all_kinds_of_files_in_the_order_of_the_paths() {
    let lines = b"{\"text\":\"one\",\"id\":\"1\"}\n{\"text\":\"\"}\n{\"text\":\"three\"}\n";
    let files = InMemory::new()
        .with("a.txt", *b"plain \xff bytes\n")
        .with("b.txt.zst", zst(b"packed"))
        .with("c.jsonl", *lines)
        .with("d.jsonl.zst", zst(lines))
        .with("e.jsonl.gz", gz(lines))
        .with("f.txt.gz", gz(b"gzipped"))
        .with("empty.txt", *b"")
        .with("empty.jsonl", *b"");
    let paths = [
        "d.jsonl.zst",
        "a.txt",
        "empty.txt",
        "empty.jsonl",
        "b.txt.zst",
        "c.jsonl",
        "e.jsonl.gz",
        "f.txt.gz",
    ];
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
            document("1", b"one"),
            document("e.jsonl.gz:3", b"three"),
            document("f.txt.gz", b"gzipped"),
        ]
    );
    let expected = DocumentCounts {
        document_count: 9,
        text_bytes: 51,
        empty_count: 4,
        not_utf8_count: 1,
        ..DocumentCounts::default()
    };
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
    let notes = skipping.take_notes();
    assert!(notes.len() == 1 && notes[0].starts_with("x.jsonl:2: expected a JSON"), "{notes:?}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let line = b"{\"text\":\"a\"}\n".repeat(50_000);
    let mut cut = zst(&line);
    cut.truncate(cut.len() - 10);
    let files =
        InMemory::new().with("cut.jsonl.zst", cut).with("a.txt", *b"a").with("a.pdf", *b"a");
    let open = |path: &str, part| {
        let options = DocumentOptions { part, on_error: OnError::Skip, ..Default::default() };
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

/// Everything that a corpus can have wrong with it.
fn odd_files() -> InMemory {
    let lines = "{\"text\":\"fine\"}\n\n{\"text\":\"\"}\n{oops\n{\"text\":\"long enough, é\"}\n\
                 {\"text\":\"a\\u0000\",\"id\":\"nul\"}\n{\"text\":\"last\"}\n";
    InMemory::new()
        .with("a.jsonl", lines.as_bytes())
        .with("b.txt", *b"\xffvery long text")
        .with("c.txt", *b"")
        .with("d.txt", *b"end")
}

const ODD_PATHS: [&str; 4] = ["a.jsonl", "b.txt", "c.txt", "d.txt"];

#[test]
fn odd_documents_are_counted_and_named_and_the_reading_goes_on() {
    let options = DocumentOptions { on_error: OnError::Skip, most_bytes: 6, ..Default::default() };
    let mut found = documents(odd_files(), &ODD_PATHS, options);
    let ids: Vec<_> = found.by_ref().map(|it| it.unwrap().id).collect();
    let expected = [
        "a.jsonl:1",
        "a.jsonl:5[0..6]",
        "a.jsonl:5[6..12]",
        "a.jsonl:5[12..15]",
        "nul",
        "a.jsonl:7",
        "b.txt[0..6]",
        "b.txt[6..12]",
        "b.txt[12..15]",
        "d.txt",
    ];
    assert_eq!(ids, expected);
    let counts = found.counts();
    let odd = [Oddity::Empty, Oddity::Malformed, Oddity::Binary, Oddity::NotUtf8, Oddity::Long]
        .map(|oddity| counts.of(oddity));
    assert_eq!(odd, [2, 1, 1, 1, 2]);
    let notes = found.take_notes();
    let begins = [
        "a.jsonl:3: this document is empty",
        "a.jsonl:4: expected a JSON object",
        "a.jsonl:5: longer than 6 bytes, read in pieces",
        "nul: this is no text: byte 1 of it is 0",
        "b.txt: longer than 6 bytes, read in pieces",
        "b.txt[0..6]: this is not UTF-8 from byte 0 on",
        "c.txt: this document is empty",
    ];
    assert_eq!(notes.len(), begins.len(), "{notes:?}");
    for (note, begin) in notes.iter().zip(begins) {
        assert!(note.starts_with(begin), "{note}");
    }
}

#[test]
fn strict_reading_ends_at_the_first_odd_document() {
    let first_error = |files: InMemory, path: &str, most_bytes| {
        let options =
            DocumentOptions { on_error: OnError::Strict, most_bytes, ..Default::default() };
        let error = documents(files, &[path], options).find_map(Result::err);
        error.expect("something is odd").to_string()
    };
    assert_eq!(first_error(odd_files(), "a.jsonl", 99), "a.jsonl:3: this document is empty");
    let message = first_error(odd_files(), "b.txt", 99);
    assert_eq!(message, "b.txt: this is not UTF-8 from byte 0 on");
    let message = first_error(odd_files(), "b.txt", 6);
    assert_eq!(message, "b.txt: longer than 6 bytes, read in pieces");
    let files = InMemory::new().with("m.jsonl", *b"{oops\n").with("n.txt", *b"a\0");
    let message = first_error(files.clone(), "m.jsonl", 99);
    assert!(message.starts_with("m.jsonl:1: expected a JSON object"), "{message}");
    assert_eq!(first_error(files, "n.txt", 99), "n.txt: this is no text: byte 1 of it is 0");
}

#[test]
fn reading_goes_on_from_any_place() {
    let options = DocumentOptions { on_error: OnError::Skip, most_bytes: 6, ..Default::default() };
    let open = || documents(odd_files(), &ODD_PATHS, options.clone());
    let all: Vec<_> = open().map(Result::unwrap).collect();
    let mut straight = open();
    for done_count in 0..=all.len() {
        let mut other = open();
        other.seek(straight.place()).unwrap();
        assert_eq!(other.counts(), DocumentCounts::default(), "what is passed over is no news");
        let rest: Vec<_> = other.map(Result::unwrap).collect();
        assert_eq!(rest, all[done_count..], "after {done_count}");
        straight.next();
    }
    for place in [
        Place { file_index: 0, line_index: 9, piece_index: 0 },
        Place { file_index: 0, line_index: 4, piece_index: 3 },
        Place { file_index: 9, line_index: 1, piece_index: 0 },
    ] {
        let message = open().seek(place).unwrap_err().to_string();
        assert!(message.contains("shorter than when the place"), "{message}");
    }
}

#[test]
fn parts_go_on_too() {
    let options = DocumentOptions { part: Part::LAST_TENTH, ..Default::default() };
    let files = InMemory::new().with("a.txt", [b'a'; 20]).with("b.txt", [b'b'; 20]);
    let mut straight = documents(files.clone(), &["a.txt", "b.txt"], options.clone());
    straight.next();
    let mut other = documents(files, &["a.txt", "b.txt"], options);
    other.seek(straight.place()).unwrap();
    let ids: Vec<_> = other.map(|it| it.unwrap().id).collect();
    assert_eq!(ids, ["b.txt[18..20]"]);
}
