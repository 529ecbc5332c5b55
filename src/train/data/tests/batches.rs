//! Batches: the same whoever makes them, and shared out in turns.

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
    let rows = || RowStream::new(reader(&sources, Some(4)), options(unit, 4), NoEntropies).unwrap();
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
    let rows = || RowStream::new(reader(&sources, Some(4)), options(unit, 4), Invented).unwrap();
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

#[cfg(feature = "arrow")]
#[test]
fn texts_with_entropies_are_read_in_a_thread_and_cut_as_on_the_fly() {
    let unit = patches(PatchingMode::Entropy { threshold: 1.0 }, false);
    let options = RowOptions { add_bos: true, add_eos: true, ..options(unit, 4) };
    let mut writer = crate::text::arrow::EntropyWriter::new("0.arrow", Vec::new()).unwrap();
    for text in words() {
        let ids = encode(text.as_bytes(), true, true);
        let entropies = ids.iter().map(|id| half::f16::from_f32((id * 7 % 13) as f32 / 4.0));
        writer.push("", &text, entropies).unwrap();
    }
    let files = InMemory::new().with("0.arrow", writer.finish().unwrap());
    let files = files.with("0.arrow.complete", Vec::new());
    let open: OpenTexts = Arc::new(move || Box::new(files.clone()));
    let texts = SourceTexts {
        paths: vec!["0.arrow".into()],
        weight: 1.0,
        options: DocumentOptions::default(),
    };
    let scored = || {
        let reader = DocumentReader::new(vec![texts.clone()], OpenTexts::clone(&open), 5, Some(3));
        RowStream::new(reader.unwrap(), options, Invented).unwrap()
    };
    let on_the_fly = || {
        let reader = reader(&[(words(), 1.0)], Some(3));
        RowStream::new(reader, options, Invented).unwrap()
    };
    let expected: Vec<_> = batches(on_the_fly(), unit, 2, 100).into_iter().map(|it| it.0).collect();
    let got: Vec<_> = batches(scored(), unit, 2, 100).into_iter().map(|it| it.0).collect();
    assert!(expected.len() > 4, "{}", expected.len());
    assert_eq!(got, expected);
    let scores = |rows| {
        let options = BatchOptions {
            batch_rows: 3,
            reference_row_bytes: None,
            worker_count: 2,
            most_ahead: 2,
            share: Share::WHOLE,
        };
        BatchStream::new(rows, model(unit), options).unwrap().scores_texts()
    };
    assert!(scores(on_the_fly()) && !scores(scored()));
}
