//! Every range table against the dense mask of the specification, on random rows.
//!
//! The masks are written from the definitions: `pid` counts cumulative lengths (§4.1), `did` is
//! the same without the first length (§4.2), segments count EOS before a position (§5.6).

use proptest::prelude::*;

use super::segments::window_ranges;
use super::{ByteTables, Documents, PatchGather, PatchTables, Row, Segments};

const EOS: u32 = 2;

/// A byte or patch on its flat axis, with what the masks ask about it.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    index: usize,
    segment: usize,
    pid: usize,
    did: usize,
}

/// `#{ m : c_m <= position } - 1` over the cumulative sums of `lengths`, 0 first.
fn patch_id(lengths: &[u32], position: usize) -> usize {
    let mut sum = 0;
    let mut count = 1;
    for &length in lengths {
        sum += length as usize;
        count += usize::from(sum <= position);
    }
    count - 1
}

fn bytes_of(rows: &[Row], documents: Documents) -> Vec<Place> {
    let mut places = Vec::new();
    for (row, data) in rows.iter().enumerate() {
        for index in 0..data.ids.len() {
            let closed = data.ids[..index].iter().filter(|&&id| id == EOS).count();
            places.push(Place {
                row,
                index,
                segment: if documents == Documents::Reference { closed } else { 0 },
                pid: patch_id(&data.patch_lengths, index),
                did: patch_id(&data.patch_lengths[1..], index),
            });
        }
    }
    places
}

fn patches_of(rows: &[Row], documents: Documents) -> Vec<Place> {
    let mut places = Vec::new();
    for (row, data) in rows.iter().enumerate() {
        let closes = |patch: usize| {
            let own = (0..data.ids.len()).filter(|&i| patch_id(&data.patch_lengths, i) == patch);
            own.into_iter().any(|i| data.ids[i] == EOS)
        };
        for index in 0..data.patch_lengths.len() {
            let closed = (0..index).filter(|&patch| closes(patch)).count();
            let segment = if documents == Documents::Reference { closed } else { 0 };
            places.push(Place { row, index, segment, pid: index, did: index });
        }
    }
    places
}

/// The ranges of both directions are exactly the ones of the mask.
fn check(
    keys: &[u32],
    queries: &[u32],
    query_places: &[Place],
    key_places: &[Place],
    allowed: impl Fn(&Place, &Place) -> bool,
) -> Result<(), TestCaseError> {
    let inside = |table: &[u32], at: usize, other: usize| {
        (table[2 * at] as usize..table[2 * at + 1] as usize).contains(&other)
    };
    prop_assert_eq!(keys.len(), 2 * query_places.len());
    prop_assert_eq!(queries.len(), 2 * key_places.len());
    for (table, limit) in [(keys, key_places.len()), (queries, query_places.len())] {
        for range in table.chunks_exact(2) {
            prop_assert!(range[0] <= range[1] && range[1] as usize <= limit, "{:?}", range);
        }
    }
    for (q, query) in query_places.iter().enumerate() {
        for (k, key) in key_places.iter().enumerate() {
            let expected = query.row == key.row && allowed(query, key);
            prop_assert_eq!(inside(keys, q, k), expected, "query {} key {}", q, k);
            prop_assert_eq!(inside(queries, k, q), expected, "key {} query {}", k, q);
        }
    }
    Ok(())
}

/// Rows with many EOS and patch lengths of 1 to 6 whose sum is ids + 1 and whose first is 1.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let id = prop_oneof![4 => 3u32..260, 1 => Just(EOS), 1 => Just(1u32), 1 => Just(0u32)];
    let row = (prop::collection::vec(id, 1..32), prop::collection::vec(1u32..7, 32));
    let row = row.prop_map(|(ids, wanted)| {
        let mut patch_lengths = vec![1];
        let mut left = ids.len() as u32;
        for length in wanted {
            patch_lengths.push(length.min(left));
            left -= length.min(left);
            if left == 0 {
                break;
            }
        }
        let (targets, weights) = (ids.clone(), vec![1.0; ids.len()]);
        Row { ids, targets, weights, patch_lengths }
    });
    prop::collection::vec(row, 1..4)
}

fn documents() -> impl Strategy<Value = Documents> {
    prop_oneof![Just(Documents::Reference), Just(Documents::Ignored)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn self_attention_over_bytes(
        rows in rows(),
        documents in documents(),
        window in prop::option::of(1u32..10),
    ) {
        let places = bytes_of(&rows, documents);
        let tables = ByteTables::new(&rows, documents, window).unwrap();
        let width = window.map_or(usize::MAX, |w| w as usize);
        check(&tables.byte_key_range, &tables.byte_query_range, &places, &places, |q, s| {
            s.index <= q.index && q.index - s.index < width && q.segment == s.segment
        })?;
        for (at, place) in places.iter().enumerate() {
            prop_assert_eq!(tables.byte_position[at] as usize, place.index);
            prop_assert_eq!(tables.row_start[at] as usize, at - place.index);
            prop_assert_eq!(tables.row_offsets[place.row] as usize, at - place.index);
        }
    }

    #[test]
    fn self_attention_over_patches(
        rows in rows(),
        documents in documents(),
        window in prop::option::of(1u32..6),
    ) {
        let places = patches_of(&rows, documents);
        let bytes = ByteTables::new(&rows, documents, None).unwrap();
        let tables = PatchTables::new(&rows, &bytes, documents, None, None).unwrap();
        check(&tables.patch_key_range, &tables.patch_query_range, &places, &places, |q, s| {
            s.index <= q.index && q.segment == s.segment
        })?;
        let positions: Vec<u32> = places.iter().map(|place| place.index as u32).collect();
        prop_assert_eq!(tables.patch_position, positions);
        // The same builder serves a windowed latent transformer.
        let ranges = window_ranges(&Segments::of_patches(&rows, documents), window);
        let width = window.map_or(usize::MAX, |w| w as usize);
        check(&ranges.key_range, &ranges.query_range, &places, &places, |q, s| {
            s.index <= q.index && q.index - s.index < width && q.segment == s.segment
        })?;
    }

    #[test]
    fn pooling_and_unpooling(
        rows in rows(),
        pool_window in prop::option::of(1u32..5),
        unpool_window in prop::option::of(1u32..5),
    ) {
        let documents = Documents::Reference;
        let (bytes, patches) = (bytes_of(&rows, documents), patches_of(&rows, documents));
        let byte_tables = ByteTables::new(&rows, documents, None).unwrap();
        let tables =
            PatchTables::new(&rows, &byte_tables, documents, pool_window, unpool_window).unwrap();
        let (encoder, decoder) = (pool_window.unwrap_or(1), unpool_window.unwrap_or(1));
        check(&tables.pool_key_range, &tables.pool_query_range, &patches, &bytes, |j, i| {
            i.pid <= j.index && j.index < i.pid + encoder as usize
        })?;
        check(&tables.unpool_key_range, &tables.unpool_query_range, &bytes, &patches, |i, j| {
            j.index <= i.did && i.did < j.index + decoder as usize
        })?;
        let mut own = vec![0; tables.byte_patch.len() * 2];
        for (at, (&pid, &did)) in
            tables.byte_patch.iter().zip(&tables.byte_decoder_patch).enumerate()
        {
            let first = tables.row_offsets[bytes[at].row];
            prop_assert_eq!((pid - first) as usize, bytes[at].pid);
            prop_assert_eq!((did - first) as usize, bytes[at].did);
            own[2 * at..2 * at + 2].copy_from_slice(&[pid, pid + 1]);
        }
        check(&tables.patch_byte_range, &own, &patches, &bytes, |j, i| i.pid == j.index)?;
    }

    #[test]
    fn gathered_bytes(rows in rows(), patch_size in 1u32..7) {
        let documents = Documents::Ignored;
        let bytes = ByteTables::new(&rows, documents, None).unwrap();
        let patches = PatchTables::new(&rows, &bytes, documents, None, None).unwrap();
        let gather = PatchGather::new(&bytes, &patches, patch_size).unwrap();
        let places = bytes_of(&rows, documents);
        for (j, patch) in patches_of(&rows, documents).iter().enumerate() {
            // The newest byte whose patch is not after this one.
            let in_row = |place: &&Place| place.row == patch.row;
            let last = places.iter().filter(in_row).rfind(|i| i.pid <= patch.index);
            let last = last.unwrap().index;
            for slot in 0..patch_size as usize {
                let expected = (last + slot + 1).saturating_sub(patch_size as usize);
                let got = gather.byte_index[j * patch_size as usize + slot];
                let first = bytes.row_offsets[patch.row];
                prop_assert_eq!((got - first) as usize, expected);
            }
        }
        for (at, &byte) in gather.slots.rows.iter().enumerate() {
            let range = gather.slots.offsets[at] as usize..gather.slots.offsets[at + 1] as usize;
            for &slot in &gather.slots.entries[range] {
                prop_assert_eq!(gather.byte_index[slot as usize], byte);
            }
        }
        prop_assert_eq!(gather.slots.entries.len(), gather.byte_index.len());
    }
}
