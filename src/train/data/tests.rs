//! Streams of rows: nothing lost, nothing doubled, and taken up again anywhere.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::blt::patching::{Patching, PatchingMode};
use crate::blt::tables::Row;
use crate::error::Result;
use crate::eval::bits_per_byte::Window;
use crate::text::{DocumentOptions, InMemory, OnError, encode};
use crate::train::packing::PackerOptions;

/// Entropies that are a function of the ids, as those of a model are.
struct Invented;

impl EntropySource for Invented {
    type Scoring = Vec<(usize, Vec<f32>)>;

    fn context(&self) -> usize {
        6
    }

    fn slice_positions(&self) -> usize {
        20
    }

    async fn begin(
        &mut self,
        documents: &[&[u32]],
        windows: Vec<(usize, Window)>,
    ) -> Result<Self::Scoring> {
        let entropies = windows.into_iter().map(|(index, window)| {
            let ids = &documents[index][window.score_from..window.end];
            (index, ids.iter().map(|id| (id * 7 % 13) as f32 / 4.0).collect())
        });
        Ok(entropies.collect())
    }

    async fn finish(&mut self, scoring: Self::Scoring) -> Result<Vec<(usize, Vec<f32>)>> {
        Ok(scoring)
    }
}

/// Nothing here waits for a device.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

/// Sources of JSON lines, one a list of documents.
fn reader(sources: &[(Vec<String>, f64)], pass_count: Option<u64>) -> DocumentReader {
    let mut files = InMemory::new();
    let mut texts = Vec::new();
    for (index, (documents, weight)) in sources.iter().enumerate() {
        let line = |text: &String| serde_json::json!({ "text": text }).to_string() + "\n";
        let name = format!("{index}.jsonl");
        files = files.with(&name, documents.iter().map(line).collect::<String>().into_bytes());
        texts.push(SourceTexts {
            paths: vec![name.into()],
            weight: *weight,
            options: DocumentOptions::default(),
        });
    }
    let open: OpenTexts = Arc::new(move || Box::new(files.clone()));
    DocumentReader::new(texts, open, 5, pass_count).unwrap()
}

fn patches(mode: PatchingMode, reference: bool) -> RowUnit {
    let patching = Patching { include_next_token: false, ..Patching::new(mode) };
    let packing = PackerOptions { row_patch_count: 4, max_row_bytes: 11, reference };
    RowUnit::Patches { patching, packing }
}

fn options(unit: RowUnit, block_rows: usize) -> RowOptions {
    RowOptions { unit, add_bos: true, add_eos: true, block_rows, seed: 9 }
}

fn units() -> Vec<RowUnit> {
    vec![
        RowUnit::Bytes { row_bytes: 7 },
        patches(PatchingMode::Space, false),
        patches(PatchingMode::Static { patch_size: 3 }, false),
        patches(PatchingMode::Byte, false),
        patches(PatchingMode::BpeDelimiter, false),
        patches(PatchingMode::Entropy { threshold: 1.0 }, false),
        patches(PatchingMode::Monotonic { threshold: 0.5 }, false),
        patches(PatchingMode::Combined { threshold: 1.0, threshold_add: 0.2 }, false),
        patches(PatchingMode::Space, true),
    ]
}

fn rows(stream: &mut RowStream<Invented>, count: usize) -> Vec<Row> {
    let next = || now(stream.next_row()).unwrap();
    std::iter::from_fn(next).take(count).collect()
}

/// All tokens of rows that lie one after the other.
fn tokens(rows: &[Row]) -> Vec<u32> {
    let row_tokens = |row: &Row| [&row.ids[..], row.targets.last_chunk::<1>().unwrap()].concat();
    rows.iter().flat_map(row_tokens).collect()
}

fn words() -> Vec<String> {
    ["the cat", "a", "sat on the mat, and did", "é", "not get up again until", "b", "noon"]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn one_pass_holds_every_byte_once_in_order() {
    for unit in units() {
        for add in [true, false] {
            let options = RowOptions { add_bos: add, add_eos: add, ..options(unit, 1) };
            let is_reference =
                matches!(unit, RowUnit::Patches { packing, .. } if packing.reference);
            if is_reference {
                continue;
            }
            let reader = reader(&[(words(), 1.0)], Some(1));
            let mut stream = RowStream::new(reader, options, Invented).unwrap();
            let expected: Vec<_> =
                words().iter().flat_map(|text| encode(text.as_bytes(), add, add)).collect();
            assert_eq!(tokens(&rows(&mut stream, 1000)), expected, "{unit:?}");
            assert_eq!(rows(&mut stream, 1), []);
        }
    }
}

#[test]
fn shuffled_blocks_hold_the_same_rows_in_another_order() {
    let stream = |block_rows| {
        let reader = reader(&[(words(), 1.0)], Some(3));
        let options = options(patches(PatchingMode::Space, false), block_rows);
        rows(&mut RowStream::new(reader, options, Invented).unwrap(), 1000)
    };
    let (plain, mut shuffled) = (stream(1), stream(5));
    assert!(plain.len() > 20 && plain.len() == shuffled.len() && plain != shuffled);
    let key = |row: &Row| (row.ids.clone(), row.targets.clone(), row.patch_lengths.clone());
    // A row stays in its block.
    for (plain, shuffled) in plain.chunks(5).zip(shuffled.chunks_mut(5)) {
        let mut plain = plain.to_vec();
        plain.sort_by_key(key);
        shuffled.sort_by_key(key);
        assert_eq!(plain, shuffled);
    }
}

#[test]
fn rows_have_the_shape_that_tables_want() {
    for unit in units() {
        let reader = reader(&[(words(), 1.0)], None);
        let mut stream = RowStream::new(reader, options(unit, 3), Invented).unwrap();
        for (index, row) in rows(&mut stream, 40).iter().enumerate() {
            row.check_bytes(index).unwrap();
            if let RowUnit::Patches { packing, .. } = unit {
                row.check_patches(index).unwrap();
                assert!(row.patch_lengths.len() <= packing.row_patch_count);
                assert!(packing.reference || row.ids.len() <= packing.max_row_bytes);
            }
        }
    }
}

#[test]
fn a_stream_is_taken_up_after_any_row() {
    let sources = [(words(), 3.0), (vec!["x y z".to_owned(), "uvw".to_owned()], 1.0)];
    for unit in units() {
        let new = || RowStream::new(reader(&sources, None), options(unit, 4), Invented).unwrap();
        let mut straight = new();
        let all = rows(&mut straight, 60);
        let mut first = new();
        for taken in 0..45 {
            let text = serde_json::to_string(&first.state()).unwrap();
            let mut resumed = new();
            resumed.resume(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(resumed.state(), first.state());
            assert_eq!(rows(&mut resumed, 10), all[taken..taken + 10], "{unit:?} after {taken}");
            rows(&mut first, 1);
        }
    }
}

#[test]
fn the_state_is_small_however_long_a_document_is() {
    let long = vec!["word ".repeat(10_000)];
    let reader = reader(&[(long, 1.0)], None);
    let mut stream =
        RowStream::new(reader, options(patches(PatchingMode::Space, false), 8), Invented).unwrap();
    rows(&mut stream, 500);
    let text = serde_json::to_string(&stream.state()).unwrap();
    assert!(text.len() < 400, "{text}");
}

#[test]
fn scoring_ahead_changes_neither_rows_nor_states() {
    let sources = [(words(), 3.0), (vec!["x y z".repeat(30), "uvw".to_owned()], 1.0)];
    let unit = patches(PatchingMode::Entropy { threshold: 1.0 }, false);
    let new = || RowStream::new(reader(&sources, None), options(unit, 4), Invented).unwrap();
    let all = rows(&mut new(), 60);
    for ahead in [1, 15, 1000] {
        let mut stream = new();
        for (index, row) in all.iter().enumerate() {
            assert_eq!(rows(&mut stream, 1), [row.clone()], "{ahead}");
            let mut resumed = new();
            resumed.resume(&stream.state()).unwrap();
            if index + 3 < all.len() {
                assert_eq!(rows(&mut resumed, 2), all[index + 1..index + 3], "{ahead} {index}");
            }
            now(stream.score_ahead(ahead)).unwrap();
            if index % 3 == 0 {
                now(stream.finish_scoring()).unwrap();
            }
        }
    }
}

#[test]
fn a_long_document_is_scored_in_slices_that_say_where_they_are() {
    let unit = patches(PatchingMode::Entropy { threshold: 1.0 }, false);
    let long = vec!["word ".repeat(100)];
    let mut stream = RowStream::new(reader(&[(long, 1.0)], None), options(unit, 2), Invented);
    let stream = stream.as_mut().unwrap();
    let mut seen = Vec::new();
    while !now(stream.advance()).unwrap() {
        seen.extend(stream.progress().map(|it| (it.scored_bytes, it.bytes)));
    }
    assert!(seen.len() > 10 && seen.is_sorted() && seen[0].0 <= 20, "{seen:?}");
    assert!(seen.iter().all(|(_, bytes)| *bytes == 502));
}

#[test]
fn sources_are_drawn_by_weight() {
    let sources = [(vec!["a".to_owned()], 3.0), (vec!["b".to_owned()], 1.0)];
    let mut reader = reader(&sources, None);
    let count = 4000;
    let first = (0..count)
        .filter(|_| reader.next_document().unwrap().unwrap().source_index == 0)
        .count() as f64;
    // The standard error is 27: five of them.
    assert!((first - 3000.0).abs() < 137.0, "{first}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let open = |files: InMemory| -> OpenTexts { Arc::new(move || Box::new(files.clone())) };
    let texts = |name: &str, weight| {
        let options = DocumentOptions { on_error: OnError::Skip, ..Default::default() };
        vec![SourceTexts { paths: vec![name.into()], weight, options }]
    };
    let new = |files, name, weight| DocumentReader::new(texts(name, weight), open(files), 1, None);
    let message = |result: Result<DocumentReader>| result.err().unwrap().to_string();

    let missing = message(new(InMemory::new(), "missing.txt", 1.0));
    assert!(missing.starts_with("cannot open missing.txt"), "{missing}");
    let files = InMemory::new().with("e.txt", *b"").with("bad.jsonl", *b"{\"text\": \"a\"}\nnot\n");
    assert!(message(new(files.clone(), "e.txt", 0.0)).contains("above 0"));
    let none = DocumentReader::new(Vec::new(), open(files.clone()), 1, None);
    assert!(message(none).starts_with("sources of text"));

    let mut empty = new(files.clone(), "e.txt", 1.0).unwrap();
    assert_eq!(
        empty.next_document().unwrap_err().to_string(),
        "e.txt: there is no text in it (e.txt: this document is empty)"
    );
    let mut bad = new(files, "bad.jsonl", 1.0).unwrap();
    for _ in 0..3 {
        assert_eq!(bad.next_document().unwrap().unwrap().document.text, b"a", "the run goes on");
    }
    let notes = bad.take_notes();
    assert!(notes.len() == 1 && notes[0].starts_with("bad.jsonl:2: expected"), "{notes:?}");
}

#[test]
fn a_source_that_disappears_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a.txt", "b.txt"].map(|name| dir.path().join(name));
    for path in &paths {
        std::fs::write(path, "text").unwrap();
    }
    let texts =
        SourceTexts { paths: paths.to_vec(), weight: 1.0, options: DocumentOptions::default() };
    let open: OpenTexts = Arc::new(|| Box::new(crate::text::Files));
    let mut reader = DocumentReader::new(vec![texts], open, 1, None).unwrap();
    assert!(reader.next_document().unwrap().is_some());
    std::fs::remove_file(&paths[1]).unwrap();
    let error = reader.next_document().unwrap_err();
    let begin = format!("{}: it was there before and cannot be opened now", paths[1].display());
    assert!(error.to_string().starts_with(&begin), "{error}");
    assert!(error.hint().unwrap().contains("--resume"));
}

#[test]
fn other_texts_are_not_resumed_over() {
    let unit = patches(PatchingMode::Space, false);
    let mut stream =
        RowStream::new(reader(&[(words(), 1.0)], None), options(unit, 2), Invented).unwrap();
    while stream.state().sources[0].place.line_index < 2 {
        rows(&mut stream, 1);
    }
    let state = stream.state();
    let resume = |sources: &[(Vec<String>, f64)]| {
        let mut stream = RowStream::new(reader(sources, None), options(unit, 2), Invented).unwrap();
        stream.resume(&state).unwrap_err().to_string()
    };
    let shorter = resume(&[(words()[..1].to_vec(), 1.0)]);
    assert!(shorter.contains("shorter than when the place in it was noted"), "{shorter}");
    assert!(resume(&[(words(), 1.0), (words(), 1.0)]).starts_with("sources of text"));
}

proptest! {
    #[test]
    fn any_documents_come_out_once(
        documents in prop::collection::vec("[a-e ]{1,40}", 1..12),
        unit_index in 0_usize..8,
        add_bos: bool,
        add_eos: bool,
    ) {
        let options = RowOptions { add_bos, add_eos, ..options(units()[unit_index], 1) };
        let reader = reader(&[(documents.clone(), 1.0)], Some(2));
        let mut stream = RowStream::new(reader, options, Invented).unwrap();
        let once: Vec<_> =
            documents.iter().flat_map(|text| encode(text.as_bytes(), add_bos, add_eos)).collect();
        let mut expected = once.repeat(2);
        let got = tokens(&rows(&mut stream, 100_000));
        // A lone last token has nothing to be predicted from.
        expected.truncate(expected.len().min(got.len().max(expected.len() - 1)));
        prop_assert_eq!(got, expected);
    }
}

mod batches {
    use super::*;
    use crate::blt::Batch;
    use crate::blt::config::ModelConfig;

    /// A model for rows of the shape that [`units`] have.
    fn model(unit: RowUnit) -> ModelConfig {
        use crate::blt::config::{EntropyConfig, Semantics, TransformerConfig};
        let transformer = TransformerConfig {
            hidden_size: 8,
            layer_count: 1,
            head_count: 1,
            kv_head_count: 1,
            head_dim: 8,
            intermediate_size: 8,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            max_positions: 32,
            window: Some(4),
        };
        match unit {
            RowUnit::Bytes { .. } => {
                let semantics = Semantics::Reference;
                ModelConfig::Entropy(EntropyConfig { semantics, transformer })
            }
            RowUnit::Patches { .. } => ModelConfig::Blt(crate::blt::config::tests::config_a()),
        }
    }

    fn shown(batch: &Batch) -> String {
        format!("{:?} {:?} {}", batch.counts, batch.inputs, batch.target_count)
    }

    /// Batches with the state behind each.
    fn batches<S: EntropySource>(
        rows: RowStream<S>,
        unit: RowUnit,
        worker_count: usize,
        count: usize,
    ) -> Vec<(String, DataState)> {
        shared_batches(rows, unit, worker_count, count, Share::WHOLE)
            .into_iter()
            .map(|(dealt, state)| (shown(&dealt.batch.expect("all are one's own")), state))
            .collect()
    }

    /// The same of a share.
    fn shared_batches<S: EntropySource>(
        rows: RowStream<S>,
        unit: RowUnit,
        worker_count: usize,
        count: usize,
        share: Share,
    ) -> Vec<(DealtBatch, DataState)> {
        let options = BatchOptions {
            batch_rows: 3,
            reference_row_bytes: None,
            worker_count,
            most_ahead: 2,
            share,
        };
        let mut stream = BatchStream::new(rows, model(unit), options).unwrap();
        let mut found = Vec::new();
        while found.len() < count
            && let Some(dealt) = now(stream.next_batch()).unwrap()
        {
            found.push((dealt, stream.state()));
        }
        found
    }

    #[test]
    fn shares_are_all_batches_in_turns_and_every_stream_stands_where_all_stand() {
        let sources = [(words(), 1.0)];
        let unit = patches(PatchingMode::Space, false);
        let rows =
            || RowStream::new(reader(&sources, Some(4)), options(unit, 4), NoEntropies).unwrap();
        let whole = batches(rows(), unit, 0, 12);
        assert!(whole.len() > 6, "{}", whole.len());
        // Three batches an update for two ranks: 0 1 0, 0 1 0, ..
        for (rank_count, update_batches) in [(1, 1), (2, 4), (2, 3), (4, 4)] {
            let shares: Vec<_> = (0..rank_count)
                .map(|rank| {
                    let share = Share { rank, rank_count, update_batches };
                    shared_batches(rows(), unit, rank % 2, 12, share)
                })
                .collect();
            for (index, (expected, state)) in whole.iter().enumerate() {
                let owner = index % update_batches as usize % rank_count;
                for (rank, share) in shares.iter().enumerate() {
                    let (dealt, own_state) = &share[index];
                    assert_eq!(own_state, state);
                    let targets = format!(" {}", dealt.target_count);
                    assert!(expected.ends_with(&targets), "{expected} {targets}");
                    let batch = dealt.batch.as_ref().map(shown);
                    assert_eq!(batch.as_ref(), (rank == owner).then_some(expected));
                }
            }
        }
    }

    #[test]
    fn threads_change_neither_batches_nor_states() {
        let sources = [(words(), 3.0), (vec!["x y z".to_owned(), "uvw".to_owned()], 1.0)];
        let space = patches(PatchingMode::Space, false);
        for unit in [RowUnit::Bytes { row_bytes: 7 }, space] {
            let rows = || {
                let reader = reader(&sources, Some(4));
                RowStream::new(reader, options(unit, 4), NoEntropies).unwrap()
            };
            let alone = batches(rows(), unit, 0, 1000);
            assert!(alone.len() > 8, "{}", alone.len());
            for worker_count in [1, 4] {
                assert_eq!(batches(rows(), unit, worker_count, 1000), alone);
            }
            // Taken up behind any batch, however the first part was made.
            for (index, (_, state)) in alone.iter().enumerate() {
                let mut rows = rows();
                rows.resume(state).unwrap();
                let behind = &alone[index + 1..];
                assert_eq!(batches(rows, unit, 2, 3), behind[..behind.len().min(3)]);
            }
        }
        // Entropies of a device stay with the reader.
        let unit = patches(PatchingMode::Entropy { threshold: 1.0 }, false);
        let rows =
            || RowStream::new(reader(&sources, Some(4)), options(unit, 4), Invented).unwrap();
        let alone = batches(rows(), unit, 0, 1000);
        assert_eq!(batches(rows(), unit, 3, 1000), alone);
    }

    #[test]
    fn an_error_comes_behind_the_batches_before_it() {
        let files = InMemory::new().with("a.jsonl", b"{\"text\": \"the cat sat on\"}\n".repeat(9));
        let files = files.with("b.jsonl.zst", *b"no such stream");
        let open: OpenTexts = Arc::new(move || Box::new(files.clone()));
        let texts = SourceTexts {
            paths: vec!["a.jsonl".into(), "b.jsonl.zst".into()],
            weight: 1.0,
            options: DocumentOptions::default(),
        };
        let unit = RowUnit::Bytes { row_bytes: 7 };
        for worker_count in [0, 2] {
            let reader =
                DocumentReader::new(vec![texts.clone()], OpenTexts::clone(&open), 5, None).unwrap();
            let rows = RowStream::new(reader, options(unit, 1), NoEntropies).unwrap();
            let options = BatchOptions {
                batch_rows: 3,
                reference_row_bytes: None,
                worker_count,
                most_ahead: 2,
                share: Share::WHOLE,
            };
            let mut stream = BatchStream::new(rows, model(unit), options).unwrap();
            let mut count = 0;
            let error = loop {
                match now(stream.next_batch()) {
                    Ok(batch) => count += usize::from(batch.is_some()),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(count >= 5 && error.contains("b.jsonl.zst"), "{count} {error}");
            assert!(now(stream.next_batch()).unwrap().is_none(), "nothing comes behind it");
        }
    }
}
