//! Inputs on which attention and both of its gradients must agree with the oracles.

use super::attention::{KERNEL, Params};
use super::attention_query_grad;
use crate::kernels::{Axis, Call, Case, Counts, Extent, Halves, HostBuffer, Step, values};
use crate::oracle::attention::{AttentionInput, AttentionShape, Columns};
use bytemuck::Zeroable;

pub(super) fn forward_cases() -> Vec<Case> {
    let mut cases: Vec<Case> = setups().iter().map(Setup::forward).collect();
    cases.extend(vector_setups().iter().chain(&eight_setups()).map(Setup::forward));
    cases.push(many_heads().forward());
    cases.extend(with_halves().iter().map(|setup| setup.forward().halves(&[0, 1, 3])));
    cases.extend(vector_caches().iter().map(Setup::cached));
    cases
}

/// Without the log-sum-exp.
pub(super) fn row_cases() -> Vec<Case> {
    let mut cases = forward_cases();
    cases.retain(|case| case.halves == Halves::NONE);
    cases.extend([long_windows().forward(), caches().cached()]);
    for case in &mut cases {
        case.buffers.truncate(4);
    }
    cases
}

pub(super) fn query_grad_cases() -> Vec<Case> {
    let setups = setups().into_iter().chain(vector_setups()).chain(eight_setups());
    let setups = setups.chain([many_heads()]);
    let mut cases: Vec<Case> = setups.map(|setup| setup.query_grad()).collect();
    let in_halves = |setup: &Setup| setup.query_grad().halves(&[0, 1, 3, 5, 7]);
    let with_halves = with_halves();
    cases.extend(with_halves.iter().map(|setup| in_halves(setup).tolerance(HALF_GRADIENT)));
    cases
}

pub(super) fn key_grad_cases() -> Vec<Case> {
    let setups = setups().into_iter().chain(vector_setups()).chain(eight_setups());
    let setups = setups.chain([many_keys()]);
    let mut cases: Vec<Case> = setups.map(|setup| setup.key_grad()).collect();
    let in_halves = |setup: &Setup| setup.key_grad().halves(&[0, 1, 3, 6]);
    let with_halves = with_halves();
    cases.extend(with_halves.iter().map(|setup| in_halves(setup).tolerance(HALF_GRADIENT)));
    cases
}

/// Largest error of gradients from operands in f16, where outliers make hundreds out of differences
/// of weights that some variants round to f16 as well.
const HALF_GRADIENT: f64 = 1e-2;

/// The shapes that are also run on q, kv and their like in f16.
fn with_halves() -> Vec<Setup> {
    let names = ["documents, window 70", "heads of 128", "pooling, k 4", "unpooling, k 3"];
    let some = setups().into_iter().filter(|setup| names.contains(&setup.name));
    some.chain(vector_setups()).chain(word_setups()).collect()
}

/// The shape as the oracles take it.
pub(super) fn oracle_shape(params: &Params, call: &Call<'_, f64>) -> AttentionShape<f64> {
    AttentionShape {
        query_count: call.length(params.queries),
        key_count: call.length(params.keys),
        head_count: params.head_count as usize,
        kv_head_count: params.kv_head_count as usize,
        head_dim: params.head_dim as usize,
        query_factor: params.query_factor as usize,
        key_factor: params.key_factor as usize,
        scale: params.scale.into(),
    }
}

/// The inputs as the oracles take them.
pub(super) fn oracle_input<'a>(
    params: &Params,
    q: &'a [f64],
    kv: &'a [f64],
) -> AttentionInput<'a, f64> {
    let view = |data, stride: u32, offset: u32| Columns {
        data,
        stride: stride as usize,
        offset: offset as usize,
    };
    AttentionInput {
        q: view(q, params.query_stride, params.query_offset),
        k: view(kv, params.kv_stride, params.key_offset),
        v: view(kv, params.kv_stride, params.value_offset),
    }
}

/// One shape with its ranges; rows have a spare column at either end, keys lie behind values.
struct Setup {
    name: &'static str,
    /// Of queries and of keys.
    heads: [usize; 2],
    head_dim: usize,
    /// Queries an entry and keys a unit.
    factors: [usize; 2],
    /// Units that ranges count in.
    unit_count: usize,
    key_range: Vec<u32>,
    /// Columns before and behind the heads.
    spare: usize,
}

fn setups() -> Vec<Setup> {
    let setup = |name, heads, head_dim, factors, unit_count, key_range| Setup {
        name,
        heads,
        head_dim,
        factors,
        unit_count,
        key_range,
        spare: 1,
    };
    vec![
        setup("one query, one key", [1, 1], 2, [1, 1], 1, vec![0, 1]),
        setup("causal", [2, 2], 12, [1, 1], 67, windows(&[67], 100)),
        setup("documents, window 9", [2, 2], 20, [1, 1], 83, windows(&[1, 40, 7, 35], 9)),
        setup("documents, window 70", [2, 1], 32, [1, 1], 211, windows(&[100, 64, 47], 70)),
        setup("shared key heads", [6, 2], 64, [1, 1], 71, windows(&[50, 21], 33)),
        setup("heads of 76", [2, 2], 76, [1, 1], 41, windows(&[41], 17)),
        setup("heads of 128", [2, 1], 128, [1, 1], 70, windows(&[31, 39], 24)),
        setup("pooling, k 4", [3, 3], 16, [4, 1], 149, patches(37)),
        setup("pooling, k 2, heads of 6", [2, 1], 6, [2, 1], 29, patches(7)),
        setup("unpooling, k 3", [2, 2], 24, [1, 3], 23, transposed_patches(23)),
        setup("both factors", [4, 2], 10, [2, 3], 40, windows(&[13, 27], 5)),
        setup("empty ranges", [2, 2], 8, [1, 1], 90, sparse(80)),
    ]
}

/// Shapes whose heads are whole vectors of four at multiples of four: what faster variants take.
fn vector_setups() -> Vec<Setup> {
    let setup = |name, heads, head_dim, factors, unit_count, key_range| Setup {
        name,
        heads,
        head_dim,
        factors,
        unit_count,
        key_range,
        spare: 4,
    };
    vec![
        setup("vectors, one query", [1, 1], 64, [1, 1], 1, vec![0, 1]),
        setup("vectors, window 70", [2, 1], 64, [1, 1], 331, windows(&[100, 1, 64, 166], 70)),
        setup("vectors, causal", [1, 1], 128, [1, 1], 150, windows(&[150], 1000)),
        setup("vectors, heads of 32", [4, 2], 32, [1, 1], 71, windows(&[50, 21], 33)),
        setup("vectors, heads of 76", [4, 2], 76, [1, 1], 141, windows(&[100, 41], 90)),
        setup("vectors, pooling", [2, 2], 64, [2, 1], 149, patches(37)),
        setup("vectors, unpooling", [3, 3], 64, [1, 2], 23, transposed_patches(23)),
        setup("vectors, heads of 16", [6, 3], 16, [2, 3], 40, windows(&[13, 27], 5)),
        setup("vectors, pooling, heads of 32", [2, 2], 32, [2, 1], 149, patches(37)),
        setup("vectors, unpooling, heads of 32", [3, 3], 32, [1, 2], 23, transposed_patches(23)),
        setup("vectors, empty ranges of 32", [2, 1], 32, [1, 1], 90, sparse(80)),
        setup("vectors, empty ranges", [2, 2], 128, [1, 1], 90, sparse(80)),
    ]
}

/// Shapes whose heads of 32 lie at multiples of eight, in f32: several workgroups of 64 rows, both
/// factors, rows that see nothing.
fn eight_setups() -> Vec<Setup> {
    let setup = |name, heads, factors, unit_count, key_range| Setup {
        name,
        heads,
        head_dim: 32,
        factors,
        unit_count,
        key_range,
        spare: 8,
    };
    vec![
        setup("eights, one query", [1, 1], [1, 1], 1, vec![0, 1]),
        setup("eights, window 70", [4, 2], [1, 1], 211, windows(&[100, 64, 47], 70)),
        setup("eights, pooling", [2, 2], [2, 1], 149, patches(37)),
        setup("eights, unpooling", [3, 3], [1, 2], 23, transposed_patches(23)),
        setup("eights, both factors", [4, 2], [2, 3], 40, windows(&[13, 27], 5)),
        setup("eights, empty ranges", [2, 1], [1, 1], 90, sparse(80)),
    ]
}

/// Shapes whose heads are whole vectors of eight at multiples of eight: in f16 what variants on
/// cooperative matrices take. Tiles there are of 32 to 128 rows and of 32 columns.
fn word_setups() -> Vec<Setup> {
    let setup = |name, heads, head_dim, factors, unit_count, key_range| Setup {
        name,
        heads,
        head_dim,
        factors,
        unit_count,
        key_range,
        spare: 8,
    };
    vec![
        setup("words, one query", [1, 1], 64, [1, 1], 1, vec![0, 1]),
        setup("words, window 150", [2, 1], 64, [1, 1], 410, windows(&[190, 1, 64, 155], 150)),
        setup(
            "words, documents, shared key heads",
            [6, 2],
            64,
            [1, 1],
            170,
            windows(&[129, 41], 999),
        ),
        setup("words, pooling", [2, 2], 64, [2, 1], 149, patches(37)),
        setup("words, unpooling", [3, 3], 64, [1, 2], 23, transposed_patches(23)),
        setup("words, both factors", [4, 2], 64, [2, 3], 80, windows(&[13, 67], 25)),
        setup("words, empty ranges", [2, 2], 64, [1, 1], 210, sparse(200)),
        setup("words, one query of 96", [1, 1], 96, [1, 1], 1, vec![0, 1]),
        setup("words, heads of 96", [2, 1], 96, [1, 1], 226, windows(&[130, 1, 95], 999)),
        setup("words, empty ranges of 96", [2, 2], 96, [1, 1], 90, sparse(80)),
        setup("words, heads of 128", [2, 1], 128, [1, 1], 210, windows(&[130, 1, 79], 99)),
        setup("words, both factors, 128", [4, 1], 128, [2, 3], 40, windows(&[13, 27], 15)),
        setup("words, empty ranges of 128", [2, 2], 128, [1, 1], 90, sparse(80)),
    ]
}

/// Ranges of several blocks, in which scores grow to hundreds: a maximum found late counts.
fn long_windows() -> Setup {
    let (heads, factors) = ([2, 1], [1, 1]);
    let (name, key_range) = ("windows of 150", windows(&[190, 220], 150));
    Setup { name, heads, head_dim: 96, factors, unit_count: 410, key_range, spare: 1 }
}

/// A few queries, each with a place of its own among keys of a constant number.
fn caches() -> Setup {
    let (heads, factors) = ([4, 2], [1, 1]);
    let (name, key_range) = ("caches", vec![0, 70, 128, 129, 256, 384, 500, 512, 400, 400]);
    Setup { name, heads, head_dim: 40, factors, unit_count: 512, key_range, spare: 1 }
}

/// The same where heads are whole vectors, ranges longer than what is taken at a time.
fn vector_caches() -> Vec<Setup> {
    let key_range = vec![0, 1300, 128, 129, 256, 768, 300, 300, 500, 1500, 1499, 1500];
    let setup = |name, heads, head_dim| {
        let key_range = key_range.clone();
        Setup { name, heads, head_dim, factors: [1, 1], unit_count: 1500, key_range, spare: 4 }
    };
    let mut cross = setup("vector caches, unpooling", [2, 2], 32);
    (cross.factors, cross.unit_count, cross.key_range) = ([1, 2], 9, vec![0, 2, 5, 6, 8, 9]);
    vec![
        setup("vector caches", [4, 2], 64),
        setup("vector caches, heads of 12", [3, 1], 12),
        setup("vector caches, heads of 128", [2, 2], 128),
        cross,
    ]
}

/// More than 65535 workgroups: one a query head, all on one key head.
fn many_heads() -> Setup {
    let (heads, factors) = ([70_000, 1], [1, 1]);
    let (name, key_range) = ("70000 heads", vec![0, 2, 1, 3]);
    Setup { name, heads, head_dim: 2, factors, unit_count: 3, key_range, spare: 1 }
}

/// More than 65535 workgroups: one for every 16 keys, most of which nobody sees.
fn many_keys() -> Setup {
    let (heads, factors) = ([1, 1], [1, 1024]);
    let (name, key_range) = ("a million keys", vec![0, 1, 1, 1, 1022, 1025]);
    Setup { name, heads, head_dim: 2, factors, unit_count: 1025, key_range, spare: 1 }
}

/// Causal windows in documents of these lengths, back to back.
fn windows(documents: &[u32], window: u32) -> Vec<u32> {
    let mut start = 0;
    let mut ranges = Vec::new();
    for length in documents {
        for i in start..start + length {
            ranges.extend([start.max((i + 1).saturating_sub(window)), i + 1]);
        }
        start += length;
    }
    ranges
}

/// Patches of 1 to 7 bytes, the third without any.
fn patches(count: u32) -> Vec<u32> {
    let mut start = 0;
    let mut ranges = Vec::new();
    for patch in 0..count {
        let end = start + if patch == 2 { 0 } else { 1 + patch * 5 % 7 };
        ranges.extend([start, end]);
        start = end;
    }
    ranges
}

/// For each of 100 bytes the patch it belongs to; nobody looks at the last patch.
fn transposed_patches(count: u32) -> Vec<u32> {
    let patch = |byte: u32| byte * (count - 1) / 100;
    (0..100).flat_map(|byte| [patch(byte), patch(byte) + 1]).collect()
}

/// Blocks of five queries, of which the first and the last see nothing.
fn sparse(count: u32) -> Vec<u32> {
    let range = |i: u32| match i % 5 {
        0 | 4 => [i, i],
        place => [i - place, i + 1],
    };
    (0..count).flat_map(range).collect()
}

impl Setup {
    fn query_count(&self) -> usize {
        self.key_range.len() / 2 * self.factors[0]
    }

    fn key_count(&self) -> usize {
        self.unit_count * self.factors[1]
    }

    fn width(&self) -> usize {
        self.heads[0] * self.head_dim
    }

    /// Elements of a row of q.
    fn query_row(&self) -> usize {
        self.width() + 2 * self.spare
    }

    /// Elements of a row of kv.
    fn kv_row(&self) -> usize {
        2 * self.heads[1] * self.head_dim + 2 * self.spare
    }

    fn params(&self) -> Params {
        Params {
            queries: Extent::of(Axis::Bytes),
            keys: Extent::of(Axis::Patches).times(self.factors[1]),
            head_count: self.heads[0] as u32,
            kv_head_count: self.heads[1] as u32,
            head_dim: self.head_dim as u32,
            query_factor: self.factors[0] as u32,
            key_factor: self.factors[1] as u32,
            query_stride: self.query_row() as u32,
            query_offset: self.spare as u32,
            kv_stride: self.kv_row() as u32,
            key_offset: (self.spare + self.heads[1] * self.head_dim) as u32,
            value_offset: self.spare as u32,
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            ..Params::zeroed()
        }
    }

    fn step(&self) -> Step {
        let counts = Counts::default().with(Axis::Bytes, self.query_count());
        Step::of(counts.with(Axis::Patches, self.unit_count))
    }

    fn forward(&self) -> Case {
        let sums = self.query_count() * self.heads[0];
        Case::new(self.name, &self.params(), self.step())
            .f(values(1, self.query_count() * self.query_row()))
            .f(values(2, self.key_count() * self.kv_row()))
            .u(self.key_range.clone())
            .out(sums * self.head_dim)
            .out(sums)
    }

    /// The same over keys that are a cache of constant length.
    fn cached(&self) -> Case {
        let keys = Extent::fixed(self.key_count());
        let mut case = self.forward();
        case.params = bytemuck::bytes_of(&Params { keys, ..self.params() }).to_vec();
        case
    }

    /// The gradient of the queries.
    fn query_grad(&self) -> Case {
        let mut case = self.forward();
        let [_, _, _, out, log_sum_exp] = case.expected(&KERNEL).try_into().expect("bindings");
        case.buffers.truncate(3);
        case.f(values(3, self.query_count() * self.width()))
            .f(narrow(log_sum_exp))
            .f(narrow(out))
            .out(self.query_count() * self.heads[0])
            .out(self.query_count() * self.query_row())
            // Outliers make gradients of some hundreds out of differences.
            .tolerance(1e-4)
    }

    /// The gradient of keys and values.
    fn key_grad(&self) -> Case {
        let mut case = self.query_grad();
        let delta = case.expected(&attention_query_grad::KERNEL).swap_remove(6);
        case.buffers[2] = HostBuffer::U(self.query_range());
        case.buffers.truncate(5);
        case.f(narrow(delta)).out(self.key_count() * self.kv_row())
    }

    /// The inverse of `key_range`, by search.
    fn query_range(&self) -> Vec<u32> {
        let mut query_range = vec![0; 2 * self.unit_count];
        for (entry, range) in self.key_range.chunks_exact(2).enumerate() {
            for unit in range[0]..range[1] {
                let seen = &mut query_range[2 * unit as usize..][..2];
                if seen[1] == 0 {
                    seen[0] = entry as u32;
                }
                seen[1] = entry as u32 + 1;
            }
        }
        query_range
    }
}

fn narrow(buffer: HostBuffer<f64>) -> Vec<f32> {
    match buffer {
        HostBuffer::F(values) => values.into_iter().map(|value| value as f32).collect(),
        HostBuffer::U(_) => panic!("numbers were expected"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{attention_key_grad, attention_row};
    use super::*;

    #[test]
    fn the_bits_do_not_depend_on_the_thread_count() {
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (one, three) = (pool(1), pool(3));
        let (forward, row) = (&KERNEL, &attention_row::KERNEL);
        for kernel in [forward, row, &attention_query_grad::KERNEL, &attention_key_grad::KERNEL] {
            for case in (kernel.cases)().iter().filter(|case| case.name.contains("window")) {
                let alone = one.install(|| case.on_cpu(kernel));
                assert_eq!(alone, three.install(|| case.on_cpu(kernel)), "{}", case.name);
            }
        }
    }
}
