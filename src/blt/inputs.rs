//! What a step hands to the graphs of the models: names and shapes of the inputs, and how the
//! tables of a batch become their contents.

use super::tables::{BltTables, ByteTables, CsrRows, EntropyTables, Ranges};
use crate::engine::Inputs;
use crate::graph::{Graph, TensorId};
use crate::kernels::{Axis, Counts, Element, Extent};

/// An input of integers, [axis, cols].
fn integers(graph: &mut Graph, name: &str, axis: Axis, cols: usize) -> TensorId {
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

/// Key ranges and query ranges of an attention called `name`.
pub(super) fn ranges(graph: &mut Graph, name: &str, queries: Axis, keys: Axis) -> [TensorId; 2] {
    [
        integers(graph, &format!("{name}_key_range"), queries, 2),
        integers(graph, &format!("{name}_query_range"), keys, 2),
    ]
}

/// Touched rows of a table, the range of entries of each, and the entries: what a scatter-add
/// reads. `entries` for every byte, or for every byte and table.
pub(super) fn lists(
    graph: &mut Graph,
    name: &str,
    rows: Axis,
    entries: Extent,
) -> [TensorId; 3] {
    [
        integers(graph, &format!("{name}.rows"), rows, 1),
        integers(graph, &format!("{name}.ranges"), rows, 2),
        graph.input(&format!("{name}.entries"), entries, 1, Element::U32),
    ]
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
    set_lists(&mut inputs, "byte_rows", &tables.byte_rows);
    let counts = Counts::default()
        .with(Axis::Bytes, tables.bytes.byte_count())
        .with(Axis::ByteRows, tables.byte_rows.touched_count());
    (counts, inputs)
}

/// Counts and inputs of a batch of a BLT.
pub fn blt_inputs(tables: &BltTables) -> (Counts, Inputs) {
    let mut inputs = Inputs::default();
    set_bytes(&mut inputs, &tables.bytes);
    set_lists(&mut inputs, "byte_rows", &tables.byte_rows);
    let patches = &tables.patches;
    inputs.set_u("patch_position", patches.position.clone());
    inputs.set_u("patch_byte_range", patches.byte_range.clone());
    set_ranges(&mut inputs, "patch", &patches.ranges);
    set_ranges(&mut inputs, "pool", &patches.pool);
    set_ranges(&mut inputs, "unpool", &patches.unpool);
    inputs.set_u("byte_decoder_patch", patches.byte_decoder_patch.clone());
    if let Some(ranges) = &tables.decoder_ranges {
        set_ranges(&mut inputs, "decoder_byte", ranges);
    }
    let mut counts = Counts::default()
        .with(Axis::Bytes, tables.bytes.byte_count())
        .with(Axis::Patches, patches.patch_count())
        .with(Axis::ByteRows, tables.byte_rows.touched_count());
    if let Some(rows) = &tables.hash_rows {
        set_lists(&mut inputs, "hash_rows", rows);
        counts = counts.with(Axis::HashRows, rows.touched_count());
    }
    (counts, inputs)
}

fn set_bytes(inputs: &mut Inputs, bytes: &ByteTables) {
    inputs.set_u("ids", bytes.ids.clone());
    inputs.set_u("targets", bytes.targets.clone());
    inputs.set_f("weights", bytes.weights.clone());
    inputs.set_u("byte_position", bytes.position.clone());
    inputs.set_u("row_start", bytes.row_start.clone());
    set_ranges(inputs, "byte", &bytes.ranges);
}

fn set_ranges(inputs: &mut Inputs, name: &str, ranges: &Ranges) {
    inputs.set_u(&format!("{name}_key_range"), ranges.key.clone());
    inputs.set_u(&format!("{name}_query_range"), ranges.query.clone());
}

fn set_lists(inputs: &mut Inputs, name: &str, rows: &CsrRows) {
    inputs.set_u(&format!("{name}.rows"), rows.rows.clone());
    inputs.set_u(&format!("{name}.ranges"), rows.ranges());
    inputs.set_u(&format!("{name}.entries"), rows.entries.clone());
}
