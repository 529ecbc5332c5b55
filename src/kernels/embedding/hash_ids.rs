//! Which row of each hash table a byte reads: a rolling hash of its n-gram (spec §2.2), exact.
//!
//! ids, row_start (index of the first byte of the row) are `[bytes]`, out is [bytes, tables] with
//! numbers below `rows_per_table`. Ids before a row count as zero. powers [tables, 18] is made by
//! [`power_words`]. The sum wraps in signed 64-bit arithmetic and the remainder is floored; the
//! shader does the same with pairs of u32, for ids below 2^16 and `rows_per_table` below 2^24.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    integers, no_constants,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `embedding/hash_ids.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub bytes: Extent,
    pub table_count: u32,
    /// Rows of each table, below 2^24.
    pub rows_per_table: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    pub fn new(bytes: Extent, table_count: u32, rows_per_table: u32) -> Self {
        Self { bytes, table_count, rows_per_table }
    }
}

/// Words of one table in `powers`: group size, 2^64 mod rows, eight powers as (low, high).
pub const TABLE_WORDS: usize = 2 + 2 * MAX_GROUP_SIZE;

/// The largest n-gram.
const MAX_GROUP_SIZE: usize = 8;

/// The contents of `powers` from the group size of each table, the wrapped powers of its prime as
/// (low, high) [tables, 8, 2], and `wrap_remainder`, which is 2^64 modulo the rows of a table.
pub fn power_words(table_sizes: &[u32], powers: &[u32], wrap_remainder: u32) -> Vec<u32> {
    assert_eq!(powers.len(), table_sizes.len() * 2 * MAX_GROUP_SIZE, "eight powers a table");
    let mut words = Vec::with_capacity(table_sizes.len() * TABLE_WORDS);
    for (&size, powers) in table_sizes.iter().zip(powers.chunks_exact(2 * MAX_GROUP_SIZE)) {
        assert!((1..=MAX_GROUP_SIZE as u32).contains(&size), "group size {size}");
        words.extend([size, wrap_remainder]);
        words.extend_from_slice(powers);
    }
    words
}

pub static KERNEL: Kernel = Kernel {
    name: "hash_ids",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("ids", Element::U32),
        Binding::read("row_start", Element::U32),
        Binding::read("powers", Element::U32),
        Binding::write("out", Element::U32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/embedding/hash_ids.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Pairs of a byte and a table of one workgroup.
const WIDTH: usize = 64;

/// Bytes that one task of the CPU engine takes.
const BYTES_PER_TASK: usize = 256;

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups((params.bytes.length(counts) * params.table_count as usize).div_ceil(WIDTH))
}

/// Integer work counts as no floating-point operation.
fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (bytes, tables) = (params.bytes.length(counts) as u64, u64::from(params.table_count));
    Cost {
        flops: 0,
        read_bytes: 4 * (2 * bytes + tables * TABLE_WORDS as u64),
        written_bytes: 4 * bytes * tables,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (bytes, tables) = (call.length(params.bytes), params.table_count as usize);
    let rows = i64::from(params.rows_per_table);
    let (ids, row_start) = (&call.u(0)[..bytes], call.u(1));
    let windows: Vec<Vec<i64>> = call.u(2).chunks_exact(TABLE_WORDS).map(powers_of).collect();
    let tasks = call.u_mut(3)[..bytes * tables].par_chunks_mut(BYTES_PER_TASK * tables);
    tasks.enumerate().for_each(|(task, out)| {
        for (byte, out) in (task * BYTES_PER_TASK..).zip(out.chunks_exact_mut(tables)) {
            let row = &ids[row_start[byte] as usize..=byte];
            for (out, powers) in out.iter_mut().zip(&windows) {
                // The newest id has the highest power; ids that the row lacks would add nothing.
                let pairs = row.iter().rev().zip(powers.iter().rev());
                let sum = pairs.fold(0i64, |sum, (&id, &power)| {
                    sum.wrapping_add(i64::from(id).wrapping_mul(power))
                });
                *out = sum.rem_euclid(rows) as u32;
            }
        }
    });
}

/// The powers of one table, as many as its group size.
fn powers_of(words: &[u32]) -> Vec<i64> {
    let pairs = words[2..].chunks_exact(2).take(words[0] as usize);
    pairs.map(|pair| (u64::from(pair[0]) | u64::from(pair[1]) << 32) as i64).collect()
}

/// Takes from `powers` only the group size and which prime it is.
fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (bytes, tables) = (call.length(params.bytes), params.table_count as usize);
    let (ids, out) = (&call.u(0)[..bytes], call.u_mut(3));
    let position: Vec<u32> = (0..).zip(&call.u(1)[..bytes]).map(|(i, start)| i - start).collect();
    for (table, words) in call.u(2).chunks_exact(TABLE_WORDS).enumerate() {
        let powers = powers_of(words);
        // A single id is multiplied by one, whatever the prime.
        let prime = powers.get(1).unwrap_or(&oracle::embedding::PRIMES[0]);
        let prime_index = oracle::embedding::PRIMES.iter().position(|known| known == prime);
        let function_count = prime_index.expect("the tables are made from the known primes") + 1;
        let mut hashes = vec![0; bytes * function_count];
        let rows = params.rows_per_table;
        oracle::embedding::hash_ids(ids, &position, &words[..1], function_count, rows, &mut hashes);
        for (byte, hashes) in hashes.chunks(function_count).enumerate() {
            out[byte * tables + table] = hashes[function_count - 1];
        }
    }
}

fn cases() -> Vec<Case> {
    // Every group size with every prime, several rows back to back.
    let mut every = Vec::new();
    for prime_index in 0..oracle::embedding::PRIMES.len() {
        every.extend((1..=MAX_GROUP_SIZE as u32).map(|size| (size, prime_index)));
    }
    let released: Vec<_> = (3..=8).map(|size| (size, 0)).collect();
    let two = [(2, 0); 64];
    let case = |tables: &[(u32, usize)], rows_per_table: u32, rows: &[usize], bound: u32| {
        let bytes = rows.iter().sum();
        let step = Step::of(Counts::default().with(Axis::Bytes, bytes));
        let params = Params::new(Extent::of(Axis::Bytes), tables.len() as u32, rows_per_table);
        let name = format!(
            "{} tables of {rows_per_table}, {} rows, {bytes} bytes",
            tables.len(),
            rows.len()
        );
        let starts = rows.iter().scan(0, |start, &row| {
            *start += row;
            Some(std::iter::repeat_n((*start - row) as u32, row))
        });
        Case::new(name, &params, step)
            .u(integers(u64::from(rows_per_table), bytes, bound))
            .u(starts.flatten().collect())
            .u(words_of(tables, rows_per_table))
            .out_u(bytes * tables.len())
    };
    let rows = [1, 2, 3, 7, 8, 9, 40];
    vec![
        case(&every, 53, &rows, 260),
        case(&every, 500_002, &rows, 260),
        case(&every, 50_002, &rows, 260),
        case(&every, 16_777_213, &rows, 260),
        case(&every, (1 << 24) - 1, &rows, 1 << 16),
        case(&released, 500_002, &[1], 260),
        case(&released, 500_002, &[1000, 500, 1], 260),
        case(&two, 131_072, &[40_000, 26_000], 260),
    ]
}

/// The constant of some tables, each a group size and the index of its prime.
fn words_of(tables: &[(u32, usize)], rows_per_table: u32) -> Vec<u32> {
    let mut powers = Vec::new();
    for &(size, prime_index) in tables {
        let mut power = 1i64;
        for m in 0..MAX_GROUP_SIZE as u32 {
            let bits = if m < size { power as u64 } else { 0 };
            powers.extend([bits as u32, (bits >> 32) as u32]);
            power = power.wrapping_mul(oracle::embedding::PRIMES[prime_index]);
        }
    }
    let sizes: Vec<u32> = tables.iter().map(|&(size, _)| size).collect();
    let wrap_remainder = (1u128 << 64) % u128::from(rows_per_table);
    power_words(&sizes, &powers, wrap_remainder as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec §25.1 and §2.2.
    #[test]
    fn golden_ids_of_the_released_model() {
        let ids = [1, 72, 101, 105, 114, 105, 118, 125, 119, 36, 88, 101, 118, 107, 101, 118];
        let golden = [
            443987, 348935, 37502, 294216, 274140, 242340, 50093, 202570, 414224, 201424, 409561,
            473651, 66039, 114334, 397866, 66058,
        ];
        let step = Step::of(Counts::default().with(Axis::Bytes, ids.len()));
        let params = Params::new(Extent::of(Axis::Bytes), 1, 500_002);
        let case = Case::new("golden", &params, step)
            .u(ids.to_vec())
            .u(vec![0; ids.len()])
            .u(words_of(&[(3, 0)], 500_002))
            .out_u(ids.len());
        assert_eq!(case.on_cpu(&KERNEL)[3], crate::kernels::HostBuffer::U(golden.to_vec()));
    }

    #[test]
    fn words_hold_sizes_and_wrapped_powers() {
        let words = words_of(&[(5, 0), (1, 3)], 500_002);
        assert_eq!(words.len(), 2 * TABLE_WORDS);
        assert_eq!((words[0], words[18]), (5, 1));
        assert_eq!(words[1], ((1u128 << 64) % 500_002) as u32);
        let powers = [1, 1_000_000_007, 1_000_000_014_000_000_049, -4_377_642_754_154_037_417];
        assert_eq!(powers_of(&words)[..4], powers);
        assert_eq!(words[12..18], [0; 6]);
        assert_eq!(powers_of(&words[18..]), [1]);
    }
}
