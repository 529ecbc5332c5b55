//! Rows by hand, and properties of all rows: no token is lost or doubled.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn packer(row_patch_count: usize, max_row_bytes: usize, reference: bool) -> Packer {
    Packer::new(PackerOptions { row_patch_count, max_row_bytes, reference }).unwrap()
}

/// The token list of a row.
fn tokens(row: &Row) -> Vec<u32> {
    let mut tokens = row.ids.clone();
    tokens.extend(row.targets.last());
    tokens
}

fn counted(first: u32, count: u32) -> Vec<u32> {
    (first..first + count).collect()
}

/// First token and patch lengths of each row of a numbered stream.
fn seen(next: impl FnMut() -> Option<Row>) -> Vec<(u32, Vec<u32>)> {
    let row = |row: Row| {
        assert_eq!(tokens(&row), counted(row.ids[0], row.ids.len() as u32 + 1));
        (row.ids[0], row.patch_lengths)
    };
    std::iter::from_fn(next).map(row).collect()
}

#[test]
fn a_split_head_leaves_the_last_patch_to_the_next_row() {
    let mut packer = packer(3, 100, false);
    packer.push(&counted(10, 6), &[1, 2, 3]).unwrap();
    packer.push(&counted(16, 8), &[3, 2, 2, 1]).unwrap();
    let expected = [(10, vec![1, 2, 3]), (16, vec![1, 2, 2]), (21, vec![1, 1, 1])];
    assert_eq!(seen(|| packer.pop()), expected);
    assert_eq!(packer.pending_byte_count(), 0);
}

#[test]
fn a_row_is_cut_at_its_byte_limit() {
    let mut packer = packer(9, 4, false);
    packer.push(&counted(10, 12), &[1, 2, 9]).unwrap();
    assert_eq!(seen(|| packer.pop()), [(10, vec![1, 2, 2]), (15, vec![1, 4])]);
    assert_eq!(seen(|| packer.flush()), [(20, vec![1, 1])]);
}

#[test]
fn no_token_is_left_alone() {
    let mut packer = packer(3, 9, false);
    packer.push(&counted(10, 4), &[1; 4]).unwrap();
    assert_eq!(packer.pop(), None, "the fourth token waits for company");
    let mut ended = packer.clone();
    assert_eq!(seen(|| ended.flush()), [(10, vec![1, 1]), (12, vec![1, 1])]);
    packer.push(&counted(14, 2), &[1, 1]).unwrap();
    assert_eq!(seen(|| packer.pop()), [(10, vec![1, 1, 1]), (13, vec![1, 1, 1])]);

    let mut bytes = BytePacker::new(2).unwrap();
    bytes.push(&counted(10, 4)).unwrap();
    assert_eq!(bytes.pop(), None);
    assert_eq!(seen(|| bytes.flush()), [(10, vec![]), (12, vec![])]);
}

#[test]
fn the_reference_drops_and_pads() {
    let mut packer = packer(3, 100, true);
    packer.push(&counted(10, 6), &[1, 2, 3]).unwrap();
    packer.push(&counted(20, 13), &[3, 4, 2, 2, 1, 1]).unwrap();
    packer.push(&counted(40, 2), &[1, 1]).unwrap();
    let mut rows: Vec<_> = std::iter::from_fn(|| packer.flush()).collect();
    // The second sequence loses its patch of 2, the third its patch of 1, the rest is dropped.
    let mut drained = rows.clone().into_iter();
    let expected = [(10, vec![1, 2, 3]), (20, vec![1, 2, 4]), (29, vec![1, 1, 1])];
    assert_eq!((seen(|| drained.next()), packer.pending_byte_count()), (expected.into(), 0));

    let mut padded = rows.clone();
    pad_reference_batch(&mut padded, 4, 100, false).unwrap();
    let lengths: Vec<_> = padded.iter().map(|row| row.patch_lengths.clone()).collect();
    assert_eq!(lengths, [vec![1, 2, 4], vec![1, 2, 4], vec![1, 1, 5], vec![1, 1, 5]]);
    assert_eq!(padded[0].ids, [10, 11, 12, 13, 14, 0]);
    assert_eq!(padded[2].weights, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!((&padded[3].ids[..], &padded[3].weights[..]), (&[0; 6][..], &[0.0; 6][..]));

    pad_reference_batch(&mut rows, 3, 2, true).unwrap();
    let lengths: Vec<_> = rows.iter().map(|row| row.patch_lengths.clone()).collect();
    assert_eq!(lengths, [vec![1, 2], vec![1, 2], vec![1, 1, 1]]);
    assert_eq!((&rows[0].ids[..], &rows[0].targets[..]), (&[10, 11][..], &[11, 12][..]));
}

#[test]
fn what_is_wrong_is_named() {
    let options = PackerOptions { row_patch_count: 2, max_row_bytes: 9, reference: false };
    assert!(Packer::new(options).unwrap_err().to_string().starts_with("patches per row"));
    assert!(BytePacker::new(1).unwrap_err().to_string().contains("got 1"));
    let mut packer = packer(3, 9, false);
    let mut problem = |ids: &[u32], l: &[u32]| packer.push(ids, l).unwrap_err().to_string();
    assert!(problem(&[1], &[1]).starts_with("ids of a document: expected at least 2"));
    assert!(problem(&[1, 2], &[1, 0, 1]).contains("got 2 with least 0"));
    assert!(problem(&[1, 2], &[1, 2]).contains("the sum 2, got 3 with least 1"));
    for rows in [0, 3] {
        assert!(pad_reference_batch(&mut vec![Row::default(); rows], 2, 9, false).is_err());
    }
    let saved = serde_json::to_string(&packer).unwrap();
    let damaged = saved.replace("[]", "[7]").replacen("[7]", "[7,8]", 1);
    let problem = serde_json::from_str::<Packer>(&damaged).unwrap_err().to_string();
    assert!(problem.contains("the sum 2, got 7"));
}

/// Patch lengths of documents; the ids of a stream are numbered through, so each is known.
fn documents() -> impl Strategy<Value = Vec<Vec<u32>>> {
    let lengths = prop_oneof![
        prop::collection::vec(1u32..6, 2..30),
        prop::collection::vec(1u32..2, 2..20),
        (30u32..90).prop_map(|long| vec![1, long]),
    ];
    prop::collection::vec(lengths, 0..12)
}

/// All rows of a stream, popped before each document or all at the end; the packer is saved and
/// restored each time.
fn pack(packer: &mut Packer, documents: &[Vec<u32>], early: bool) -> Vec<Row> {
    let (mut rows, mut next) = (Vec::new(), 0);
    for lengths in documents {
        *packer = serde_json::from_str(&serde_json::to_string(packer).unwrap()).unwrap();
        let count: u32 = lengths.iter().sum();
        packer.push(&counted(next, count), lengths).unwrap();
        next += count;
        rows.extend(std::iter::from_fn(|| if early { packer.pop() } else { None }));
    }
    rows.extend(std::iter::from_fn(|| packer.flush()));
    rows
}

/// Tokens where a patch of the stream begins.
fn starts(lengths: impl Iterator<Item = u32>) -> BTreeSet<u32> {
    lengths.scan(0, |sum, length| Some(std::mem::replace(sum, *sum + length))).collect()
}

proptest! {
    #[test]
    fn no_token_is_lost_or_doubled(
        documents in documents(),
        row_patch_count in 3usize..12,
        max_row_bytes in prop_oneof![2usize..40, Just(1000)],
    ) {
        let mut packer = packer(row_patch_count, max_row_bytes, false);
        let rows = pack(&mut packer, &documents, true);
        prop_assert_eq!(&rows, &pack(&mut packer.clone(), &documents, false));
        let total = documents.iter().flatten().sum::<u32>();
        prop_assert_eq!(rows.iter().flat_map(tokens).collect::<Vec<_>>(), counted(0, total));
        prop_assert_eq!(packer.pending_byte_count(), 0);
        let expected = starts(documents.iter().flatten().copied());
        let got = starts(rows.iter().flat_map(|row| row.patch_lengths.iter().copied()));
        prop_assert!(got.is_superset(&expected), "a patch boundary was lost");
        for (index, row) in rows.iter().enumerate() {
            row.check_patches(index).unwrap();
            prop_assert_eq!(&row.ids[1..], &row.targets[..row.ids.len() - 1]);
            prop_assert_eq!(&row.weights, &vec![1.0; row.ids.len()]);
            let (patches, bytes) = (row.patch_lengths.len(), row.ids.len());
            prop_assert!(patches <= row_patch_count && bytes <= max_row_bytes);
            let full = patches == row_patch_count || bytes == max_row_bytes;
            prop_assert!(full || index + 2 >= rows.len(), "only the end may be short");
            // New boundaries are only where a row begins and after its first token.
            let first = row.ids[0];
            let inside = got.range(first + 2..first + 1 + bytes as u32);
            prop_assert!(inside.copied().all(|start| expected.contains(&start)));
        }
    }

    #[test]
    fn reference_rows_keep_its_invariants(
        documents in documents(),
        row_patch_count in 3usize..12,
        max_row_bytes in 1usize..60,
        pad_to_max_length: bool,
    ) {
        let mut rows = pack(&mut packer(row_patch_count, 2, true), &documents, true);
        prop_assume!(!rows.is_empty());
        for row in &mut rows {
            prop_assert_eq!(row.patch_lengths.len(), row_patch_count);
            // Real ids from 1 on: 0 is the pad.
            row.ids.iter_mut().chain(&mut row.targets).for_each(|id| *id += 1);
        }
        let count = rows.len() + 1;
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap();
        pad_reference_batch(&mut rows, count, max_row_bytes, pad_to_max_length).unwrap();
        let width = if pad_to_max_length { max_row_bytes } else { longest.min(max_row_bytes) };
        for (index, row) in rows.iter().enumerate() {
            row.check_patches(index).unwrap();
            prop_assert_eq!(row.ids.len(), width);
            let real = row.ids.iter().filter(|&&id| id != 0).count();
            prop_assert_eq!(row.weights.iter().sum::<f32>(), real as f32);
            prop_assert_eq!(row.targets.iter().filter(|&&id| id != 0).count(), real);
        }
        prop_assert_eq!(rows.len(), count);
        prop_assert!(rows[count - 1].weights.iter().all(|&weight| weight == 0.0));
    }

    #[test]
    fn byte_rows_lose_nothing_and_have_only_real_targets(
        sizes in prop::collection::vec(2u32..40, 0..12),
        row_bytes in 2usize..30,
    ) {
        let mut packer = BytePacker::new(row_bytes).unwrap();
        let (mut rows, mut next) = (Vec::new(), 0);
        for &size in &sizes {
            packer.push(&counted(next, size)).unwrap();
            next += size;
            rows.extend(std::iter::from_fn(|| packer.pop()));
            packer = serde_json::from_str(&serde_json::to_string(&packer).unwrap()).unwrap();
        }
        rows.extend(std::iter::from_fn(|| packer.flush()));
        prop_assert_eq!(rows.iter().flat_map(tokens).collect::<Vec<_>>(), counted(0, next));
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(&row.ids[1..], &row.targets[..row.ids.len() - 1]);
            prop_assert!(row.patch_lengths.is_empty());
            prop_assert!(row.ids.len() == row_bytes || index + 2 >= rows.len());
        }
    }
}
