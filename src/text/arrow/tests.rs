//! Files that come back, files of pyarrow, and damaged ones.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, RecordBatch, StringArray, types::Float16Type};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use half::f16;

use super::layout::{ENTROPIES, SAMPLE_ID, TEXT};
use super::*;
use crate::error::Result;
use crate::text::documents::{Document, DocumentOptions, Documents};
use crate::text::{InMemory, encode};

fn halves(text: &str) -> Vec<f16> {
    encode(text.as_bytes(), true, true).iter().map(|&id| f16::from_f32(id as f32 / 64.0)).collect()
}

fn file(texts: &[String]) -> Vec<u8> {
    let mut writer = EntropyWriter::new("x.arrow", Vec::new()).unwrap();
    for (index, text) in texts.iter().enumerate() {
        writer.push(&format!("d{index}"), text, halves(text).into_iter()).unwrap();
    }
    assert_eq!(writer.row_count(), texts.len() as u64);
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Document>> {
    let mut rows = ArrowRows::new(Path::new("x.arrow"), Box::new(Cursor::new(bytes.to_vec())))?;
    std::iter::from_fn(|| rows.next_row().transpose()).collect()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("é {index}").repeat(index % 4)).collect()
}

/// Rows of every record batch, by the footer.
fn batch_rows(bytes: &[u8]) -> Vec<usize> {
    let file = FileReader::try_new(Cursor::new(bytes), None).unwrap();
    file.map(|batch| batch.unwrap().num_rows()).collect()
}

#[test]
fn rows_come_back_in_batches_of_a_thousand() {
    let texts = texts(2345);
    let bytes = file(&texts);
    assert_eq!(batch_rows(&bytes), [1000, 1000, 345]);
    let rows = read(&bytes).unwrap();
    assert_eq!(rows.len(), texts.len());
    for (index, (row, text)) in rows.iter().zip(&texts).enumerate() {
        assert_eq!(
            (row.id.as_str(), row.text.as_slice()),
            (&*format!("d{index}"), text.as_bytes())
        );
        assert_eq!(row.entropies, halves(text));
    }
    let mut rows = ArrowRows::new(Path::new("x.arrow"), Box::new(Cursor::new(bytes))).unwrap();
    assert!(rows.skip(1999).unwrap());
    assert_eq!(rows.next_row().unwrap().unwrap().id, "d1999");
    assert!(!rows.skip(1000).unwrap());
}

#[test]
fn a_file_of_pyarrow_is_read() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/arrow");
    let bytes = std::fs::read(place.join("reference.jsonl.shard_00.arrow")).unwrap();
    let rows = read(&bytes).unwrap();
    let found: Vec<_> = rows.iter().map(|it| (it.id.as_str(), it.text.as_slice())).collect();
    assert_eq!(found, [("first", &b"ab"[..]), ("7", "é!".as_bytes()), ("", b"")]);
    let entropies: Vec<Vec<f32>> =
        rows.iter().map(|it| it.entropies.iter().map(|it| it.to_f32()).collect()).collect();
    assert_eq!(
        entropies,
        [vec![0.5, 1.25, 0.099_975_586, 3.0], vec![5.5, 0.0, 1.0, 2.0, 0.25], vec![1.0, 0.5]]
    );
    // The same rows written here are the same file to whoever reads Arrow; byte for byte they are
    // not, since writers differ in padding.
    let mut writer = EntropyWriter::new("x.arrow", Vec::new()).unwrap();
    for row in &rows {
        let text = std::str::from_utf8(&row.text).unwrap();
        writer.push(&row.id, text, row.entropies.iter().copied()).unwrap();
    }
    assert_eq!(read(&writer.finish().unwrap()).unwrap(), rows);
}

#[test]
fn a_cut_anywhere_is_noticed() {
    let bytes = file(&texts(1200));
    for kept in (0..bytes.len()).step_by(1009).chain(bytes.len() - 12..bytes.len()) {
        let error = read(&bytes[..kept]).unwrap_err().to_string();
        assert!(error.contains("x.arrow"), "{kept}: {error}");
    }
}

#[test]
fn lengths_that_disagree_are_named_by_file_and_row() {
    let lists = [Some(vec![Some(f16::ONE); 3]), Some(vec![Some(f16::ONE); 4])];
    let columns: Vec<(&str, ArrayRef)> = vec![
        (SAMPLE_ID, Arc::new(StringArray::from(vec!["a", "b"]))),
        (TEXT, Arc::new(StringArray::from(vec!["x", "y"]))),
        (ENTROPIES, Arc::new(ListArray::from_iter_primitive::<Float16Type, _, _>(lists))),
    ];
    let of = |columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let message = read(&of(columns.clone())).unwrap_err().to_string();
    let expected = "x.arrow: row 1: expected 3 entropies for a text of 1 bytes and two ends, got 4";
    assert_eq!(message, expected);
    let message = read(&of(columns[..2].to_vec())).unwrap_err().to_string();
    assert!(message.contains("expected a column \"entropies\""), "{message}");
    let mut wrong = columns;
    wrong[2].1 = Arc::clone(&wrong[1].1);
    let message = read(&of(wrong)).unwrap_err().to_string();
    assert!(message.contains("expected a list of float16, got Utf8"), "{message}");
}

#[test]
fn a_file_without_its_marker_is_refused() {
    let bytes = file(&texts(3));
    let files = InMemory::new().with("x.arrow", bytes);
    let open =
        |files| Documents::open_from(Box::new(files), &["x.arrow"], DocumentOptions::default());
    let error = open(files.clone()).err().unwrap();
    assert!(error.to_string().contains("x.arrow.complete"), "{error}");
    let found: Vec<_> = open(files.with("x.arrow.complete", *b"")).unwrap().collect();
    // One of the three is empty.
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].as_ref().unwrap().entropies, halves("é 2é 2"));
}
