//! What a step hands to the graphs of the models: names and shapes of the inputs, and how the
//! tables of a batch become their contents.

use super::tables::{BltTables, ByteTables, CsrRows, EntropyTables};
use crate::engine::Inputs;
use crate::graph::{Graph, TensorId};
use crate::kernels::{Axis, Counts, Element, Extent};

/// An input of integers, [axis, cols].
pub(super) fn integers(graph: &mut Graph, name: &str, axis: Axis, cols: usize) -> TensorId {
    graph.input(name, Extent::of(axis), cols, Element::U32)
}

/// Ids of all bytes [bytes, 1].
pub(super) fn ids(graph: &mut Graph) -> TensorId {
    integers(graph, "ids", Axis::Bytes, 1)
}

/// Flat index of the first byte of every byte's row [bytes, 1].
pub(super) fn row_start(graph: &mut Graph) -> TensorId {
    integers(graph, "row_start", Axis::Bytes, 1)
}

/// Index of every byte in its row [bytes, 1].
pub(super) fn byte_position(graph: &mut Graph) -> TensorId {
    integers(graph, "byte_position", Axis::Bytes, 1)
}

/// Index of every patch in its row [patches, 1].
pub(super) fn patch_position(graph: &mut Graph) -> TensorId {
    integers(graph, "patch_position", Axis::Patches, 1)
}

/// Bytes of every patch [patches, 2].
pub(super) fn patch_byte_range(graph: &mut Graph) -> TensorId {
    integers(graph, "patch_byte_range", Axis::Patches, 2)
}

/// Key ranges alone of an attention called `name`, for a pass that nobody differentiates.
pub(super) fn key_range(graph: &mut Graph, name: &str, queries: Axis) -> TensorId {
    integers(graph, &format!("{name}_key_range"), queries, 2)
}

/// Key ranges and query ranges of an attention called `name`.
pub(super) fn ranges(graph: &mut Graph, name: &str, queries: Axis, keys: Axis) -> [TensorId; 2] {
    [
        integers(graph, &format!("{name}_key_range"), queries, 2),
        integers(graph, &format!("{name}_query_range"), keys, 2),
    ]
}

/// Touched rows of a table, the range of entries of each, and the entries: what a scatter-add
/// reads. `entries` for every byte, or for every byte and table.
pub(super) fn lists(graph: &mut Graph, name: &str, rows: Axis, entries: Extent) -> [TensorId; 3] {
    [
        integers(graph, &format!("{name}.rows"), rows, 1),
        integers(graph, &format!("{name}.ranges"), rows, 2),
        graph.input(&format!("{name}.entries"), entries, 1, Element::U32),
    ]
}

/// Touched rows of the hash table, in the order of `hash_rows`: an input of every batch.
pub const HASH_ROWS: &str = "hash_rows.rows";
/// The slot of the gradient of each of them: set by who deals out the slots.
pub const HASH_SLOTS: &str = "hash_rows.slots";

/// The slots of the touched rows of the hash table [hash_rows, 1].
pub(super) fn hash_slots(graph: &mut Graph) -> TensorId {
    integers(graph, HASH_SLOTS, Axis::HashRows, 1)
}

/// Targets [bytes, 1] and their weights [bytes, 1].
pub(super) fn targets(graph: &mut Graph) -> [TensorId; 2] {
    let weights = graph.input("weights", Extent::of(Axis::Bytes), 1, Element::F32);
    [integers(graph, "targets", Axis::Bytes, 1), weights]
}

/// Counts and inputs of a batch of the entropy model.
pub fn entropy_inputs(tables: &EntropyTables) -> (Counts, Inputs) {
    let mut inputs = Inputs::default();
    set_bytes(&mut inputs, &tables.bytes);
    let counts = Counts::default().with(Axis::Bytes, tables.bytes.byte_count());
    let counts = set_lists(&mut inputs, "byte_rows", &tables.byte_rows, counts, Axis::ByteRows);
    (counts, inputs)
}

/// Counts and inputs of a batch of a BLT.
pub fn blt_inputs(tables: &BltTables) -> (Counts, Inputs) {
    let mut inputs = Inputs::default();
    set_bytes(&mut inputs, &tables.bytes);
    let patches = &tables.patches;
    let mut set = |name: &str, values: &Vec<u32>| inputs.set_u(name, values.clone());
    set("patch_position", &patches.patch_position);
    set("patch_byte_range", &patches.patch_byte_range);
    set("patch_key_range", &patches.patch_key_range);
    set("patch_query_range", &patches.patch_query_range);
    set("pool_key_range", &patches.pool_key_range);
    set("pool_query_range", &patches.pool_query_range);
    set("unpool_key_range", &patches.unpool_key_range);
    set("unpool_query_range", &patches.unpool_query_range);
    set("byte_decoder_patch", &patches.byte_decoder_patch);
    if let Some(ranges) = &tables.decoder_ranges {
        set("decoder_byte_key_range", &ranges.key_range);
        set("decoder_byte_query_range", &ranges.query_range);
    }
    let mut counts = Counts::default()
        .with(Axis::Bytes, tables.bytes.byte_count())
        .with(Axis::Patches, patches.patch_count());
    let mut lists = vec![("byte_rows", &tables.byte_rows, Axis::ByteRows)];
    if let Some(rows) = &tables.hash_rows {
        lists.push(("hash_rows", rows, Axis::HashRows));
    }
    if let Some(gather) = &tables.gather {
        inputs.set_u("patch_last_bytes", gather.byte_index.clone());
        lists.push(("seen_bytes", &gather.slots, Axis::SeenBytes));
    }
    let seen_patches = CsrRows::new(&patches.byte_decoder_patch);
    lists.push(("seen_patches", &seen_patches, Axis::SeenPatches));
    for (name, rows, axis) in lists {
        counts = set_lists(&mut inputs, name, rows, counts, axis);
    }
    (counts, inputs)
}

fn set_bytes(inputs: &mut Inputs, bytes: &ByteTables) {
    inputs.set_u("ids", bytes.ids.clone());
    inputs.set_u("targets", bytes.targets.clone());
    inputs.set_f("weights", bytes.weights.clone());
    inputs.set_u("byte_position", bytes.byte_position.clone());
    inputs.set_u("row_start", bytes.row_start.clone());
    inputs.set_u("byte_key_range", bytes.byte_key_range.clone());
    inputs.set_u("byte_query_range", bytes.byte_query_range.clone());
}

fn set_lists(
    inputs: &mut Inputs,
    name: &str,
    rows: &CsrRows,
    counts: Counts,
    axis: Axis,
) -> Counts {
    let ranges = rows.offsets.windows(2).flat_map(|pair| [pair[0], pair[1]]).collect();
    inputs.set_u(&format!("{name}.rows"), rows.rows.clone());
    inputs.set_u(&format!("{name}.ranges"), ranges);
    inputs.set_u(&format!("{name}.entries"), rows.entries.clone());
    counts.with(axis, rows.touched_count())
}
