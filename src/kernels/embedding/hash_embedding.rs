//! Hashed n-gram embeddings: `out[i] = x[i] + one row of each table`, in table order (spec §2.1).
//!
//! hash_ids is [bytes, tables], x and out are [bytes, cols]. The tables [tables * rows_per_table,
//! cols] lie one below the other and are cut into shards of `rows_per_shard` rows. One call binds
//! up to five shards, from `first_shard` on, and adds the rows that lie in them; whatever is bound
//! beyond `shard_count` is not read. The call over the first shard starts from x, the others go on
//! from what out holds. Since later tables lie in later shards, calls over all shards in order give
//! the bits of one call over one shard. Its gradient is [`scatter_add`](super::scatter_add).

use crate::kernels::eights::{are_eights, chunk_groups, lanes_eights};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Halves, Kernel, Step, Variant,
    Weight, fold_groups, integers, packing_constants, values, wide,
};
use crate::oracle::embedding::{HashEmbeddingShape, hash_embedding};
use crate::packed::WeightType;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `embedding/hash_embedding.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub bytes: Extent,
    pub cols: u32,
    pub table_count: u32,
    pub rows_per_table: u32,
    /// Shards of this call, 1 to 5.
    pub shard_count: u32,
    /// Rows of every shard but the last.
    pub rows_per_shard: u32,
    /// The shard that is bound as `shard_0`.
    pub first_shard: u32,
    /// [`WeightType::number`] of the tables.
    pub weight_type: u32,
    /// Zeros.
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 48);

/// Shards that one call binds.
const MAX_SHARDS: usize = 5;

pub static KERNEL: Kernel = Kernel {
    name: "hash_embedding",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("hash_ids", Element::U32),
        Binding::read("shard_0", Element::F32).or_packed(),
        Binding::read("shard_1", Element::F32).or_packed(),
        Binding::read("shard_2", Element::F32).or_packed(),
        Binding::read("shard_3", Element::F32).or_packed(),
        Binding::read("shard_4", Element::F32).or_packed(),
        Binding::read("x", Element::F32),
        Binding::update("out", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/embedding/hash_embedding.wgsl"), groups),
        lanes_eights(
            include_str!("../../../shaders/embedding/hash_embedding.lanes_eights.wgsl"),
            takes_eights,
            eights_groups,
        ),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Bytes that one task of the CPU engine takes.
const BYTES_PER_TASK: usize = 32;

/// Columns that the CPU engine adds of all tables before it goes on.
const COLS_PER_BLOCK: usize = 64;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let mut constants = vec![wide(params.cols)];
    constants.extend_from_slice(packing_constants(params.weight_type));
    constants
}

/// One workgroup a byte.
fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.bytes.length(counts))
}

/// As if every row lay in the shards of this call.
/// Tables of f32 in one shard.
fn takes_eights(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let row_count = u64::from(params.table_count) * u64::from(params.rows_per_table);
    let is_one_shard = params.first_shard == 0 && row_count <= u64::from(params.rows_per_shard);
    is_one_shard && params.weight_type == WeightType::F32.number() && are_eights(&[params.cols])
}

fn eights_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    chunk_groups(params.bytes.length(counts) * params.cols as usize)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (bytes, cols) = (params.bytes.length(counts) as u64, u64::from(params.cols));
    let tables = u64::from(params.table_count);
    let row = WeightType::from_number(params.weight_type).row_length(cols as usize) as u64;
    Cost {
        flops: bytes * tables * cols,
        read_bytes: 4 * (bytes * tables + bytes * (tables * row + cols)),
        written_bytes: 4 * bytes * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (bytes, cols) = (call.length(params.bytes), params.cols as usize);
    let table_count = params.table_count as usize;
    let shard = |index| call.weight(1 + index, params.weight_type);
    let shards: Vec<Weight<'_, f32>> = bound_shards(&params).map(shard).collect();
    let tasks = call.f_mut(7)[..bytes * cols]
        .par_chunks_mut(BYTES_PER_TASK * cols)
        .zip(call.f(6)[..bytes * cols].par_chunks(BYTES_PER_TASK * cols));
    let hash_ids = call.u(0)[..bytes * table_count].par_chunks(BYTES_PER_TASK * table_count);
    let row_of = |table: usize, id: u32| {
        let row = table as u32 * params.rows_per_table + id;
        let shard = (row / params.rows_per_shard).checked_sub(params.first_shard)?;
        Some((*shards.get(shard as usize)?, (row % params.rows_per_shard) as usize))
    };
    tasks.zip(hash_ids).for_each_init(Vec::new, |rows, ((out, x), hash_ids)| {
        if params.first_shard == 0 {
            out.copy_from_slice(x);
        }
        for (out, ids) in out.chunks_exact_mut(cols).zip(hash_ids.chunks_exact(table_count)) {
            rows.clear();
            rows.extend(ids.iter().enumerate().filter_map(|(table, &id)| row_of(table, id)));
            add_rows(rows, out);
        }
    });
}

/// Adds rows of shards to `out`.
fn add_rows(rows: &[(Weight<'_, f32>, usize)], out: &mut [f32]) {
    let cols = out.len();
    // All rows a few columns at a time: their cache misses overlap.
    for (block, out) in out.chunks_mut(COLS_PER_BLOCK).enumerate() {
        for &(shard, row) in rows {
            let Weight::Numbers(values) = shard else { continue };
            let values = &values[row * cols + block * COLS_PER_BLOCK..];
            out.iter_mut().zip(values).for_each(|(out, value)| *out += value);
        }
    }
    for &(shard, row) in rows {
        if let Weight::Packed(..) = shard {
            shard.with_rows(row..row + 1, cols, |values| {
                out.iter_mut().zip(values).for_each(|(out, value)| *out += value);
            });
        }
    }
}

/// Indices of the shards of this call among its bindings.
fn bound_shards(params: &Params) -> std::ops::Range<usize> {
    let count = params.shard_count as usize;
    assert!((1..=MAX_SHARDS).contains(&count), "hash_embedding: {count} shards in one call");
    0..count
}

/// Rows of shards that this call does not bind are zero in the table that the oracle sees.
fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = HashEmbeddingShape {
        byte_count: call.length(params.bytes),
        table_count: params.table_count as usize,
        vocab: params.rows_per_table as usize,
        cols: params.cols as usize,
    };
    let mut table = vec![0.0; shape.table_count * shape.vocab * shape.cols];
    let shard_length = params.rows_per_shard as usize * shape.cols;
    let rows_of = |place: &[f64]| place.len() / shape.cols;
    let places = table.chunks_mut(shard_length).skip(params.first_shard as usize);
    for (place, shard) in places.zip(bound_shards(&params)) {
        let shard = call.weight(1 + shard, params.weight_type);
        place.copy_from_slice(&shard.all(rows_of(place), shape.cols));
    }
    let (x, out, length) = (call.f(6), call.f_mut(7), shape.byte_count * shape.cols);
    if params.first_shard == 0 {
        out[..length].copy_from_slice(&x[..length]);
    }
    hash_embedding(call.u(0), &table, out, &shape);
}

fn cases() -> Vec<Case> {
    // Bytes, columns, tables, rows of a table, rows of a shard, first shard, shards.
    let shapes = [
        [1, 1, 1, 1, 1, 0, 1],
        [7, 5, 2, 11, 22, 0, 1],
        [33, 65, 6, 53, 318, 0, 1],
        [33, 65, 6, 53, 64, 0, 5],
        [20, 64, 3, 40, 13, 5, 5],
        [20, 30, 3, 40, 50, 2, 1],
        [9, 4, 66, 7, 100, 0, 5],
        [9, 70, 130, 3, 200, 1, 1],
        [66_000, 2, 1, 260, 100, 0, 3],
        [70, 72, 2, 11, 22, 0, 1],
    ];
    let mut cases = Vec::new();
    let plain = shapes.into_iter().enumerate().map(|shape| (shape, WeightType::F32));
    let packed = WeightType::ALL.into_iter().filter(|weights| weights.is_packed());
    let packed = packed.flat_map(|weights| [1, 3, 4, 5].map(|i| ((i, shapes[i]), weights)));
    for ((seed, shape), weights) in plain.chain(packed) {
        let [bytes, cols, tables, rows_per_table, rows_per_shard, first_shard, shard_count] = shape;
        let params = Params {
            bytes: Extent::of(Axis::Bytes),
            cols: cols as u32,
            table_count: tables as u32,
            rows_per_table: rows_per_table as u32,
            shard_count: shard_count as u32,
            rows_per_shard: rows_per_shard as u32,
            first_shard: first_shard as u32,
            weight_type: weights.number(),
            reserved: [0; 3],
        };
        let step = Step::of(Counts::default().with(Axis::Bytes, bytes));
        let table = values(seed as u64, tables * rows_per_table * cols);
        let shards: Vec<&[f32]> =
            table.chunks(rows_per_shard * cols).skip(first_shard).take(shard_count).collect();
        assert_eq!(shards.len(), shard_count, "the table has the shards of the case");
        let name = format!(
            "bytes {bytes}, cols {cols}, {tables} tables of {rows_per_table}, shards \
             {first_shard}..{} of {rows_per_shard}, {}",
            first_shard + shard_count,
            weights.name()
        );
        let mut case = Case::new(name, &params, step).u(integers(
            seed as u64 + 100,
            bytes * tables,
            rows_per_table as u32,
        ));
        for index in 0..MAX_SHARDS {
            let shard = shards.get(index).unwrap_or(&shards[0]).to_vec();
            case = case.weight(shard, cols, weights);
        }
        let case = case.f(values(seed as u64 + 200, bytes * cols));
        cases.push(case.f(values(seed as u64 + 300, bytes * cols)));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{HostBuffer, POISON};

    /// Runs all shards of a table, `per_call` of them at once.
    fn embed(table: &[f32], rows_per_shard: usize, per_call: usize) -> HostBuffer<f32> {
        let (bytes, cols, tables, rows) = (50, 7, 3, 20);
        let shards: Vec<&[f32]> = table.chunks(rows_per_shard * cols).collect();
        let mut out = HostBuffer::F(vec![POISON; bytes * cols]);
        for (call, shards) in shards.chunks(per_call).enumerate() {
            let params = Params {
                bytes: Extent::fixed(bytes),
                cols: cols as u32,
                table_count: tables,
                rows_per_table: rows,
                shard_count: shards.len() as u32,
                rows_per_shard: rows_per_shard as u32,
                first_shard: (call * per_call) as u32,
                weight_type: 0,
                reserved: [0; 3],
            };
            let step = Step::of(Counts::default());
            let ids = integers(5, bytes * tables as usize, rows);
            let mut case = Case::new("sharded", &params, step).u(ids);
            for index in 0..MAX_SHARDS {
                case = case.f(shards.get(index).unwrap_or(&shards[0]).to_vec());
            }
            let HostBuffer::F(before) = out else { unreachable!("out holds numbers") };
            let x = values(3, bytes * cols);
            out = case.f(x).f(before).on_cpu(&KERNEL).pop().unwrap();
        }
        out
    }

    #[test]
    fn sharding_changes_no_bit() {
        let table = values(1, 3 * 20 * 7);
        let whole = embed(&table, 60, 1);
        for (rows_per_shard, per_call) in [(60, 5), (13, 5), (13, 2), (7, 1), (1, 5)] {
            let sharded = embed(&table, rows_per_shard, per_call);
            assert_eq!(sharded, whole, "{rows_per_shard} rows, {per_call} shards a call");
        }
    }
}
