//! Attention of which the bits of a row depend on that row's own range alone.
//!
//! Computes what [`attention`] computes, from the same parameters and inputs,
//! without the log-sum-exp that only a backward pass reads. Every score is a sum over the columns
//! of a head in their order; the sum of the weights and the weighted sum of the values run over the
//! keys of the row in their order. Other rows, the place of the rows on the flat axis and the
//! capacity of a plan enter nowhere: what a row does not see weighs exactly zero, or is skipped. So
//! the entropies that place patch boundaries come out the same in training, prefill and decoding.

use super::attention::{self, Input, MAX_HEAD_DIM, Params};
use super::cached::cached_rows;
use super::cases::{oracle_input, oracle_shape, row_cases};
use super::fast_exp::exp;
use super::faster::square_rows;
use super::heads::{change_and_sum, largest};
use super::ranges::Ranges;
use crate::kernels::dense::ordered::{
    MOST_ROWS, Tile, pack_columns, panel_width, tile, tile_rows, widest_panel,
};
use crate::kernels::scratch::with_scratch;
use crate::kernels::{Binding, Call, Cost, Counts, Element, Kernel, Variant, fold_groups};
use crate::oracle;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

pub static KERNEL: Kernel = Kernel {
    name: "attention_row",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("q", Element::F32),
        Binding::read("kv", Element::F32),
        Binding::read("key_range", Element::U32),
        Binding::write("out", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/attention/attention_row.wgsl"), groups),
        cached_rows(include_str!("../../../shaders/attention/attention_row.cached.wgsl")),
        square_rows(include_str!("../../../shaders/attention/attention_row.square.wgsl")),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases: row_cases,
};

/// Queries of a workgroup, which share the keys that it loads. Keys whose number never changes are
/// a cache, in which neighbouring queries look at places far apart.
fn rows_per_group(params: &Params) -> u32 {
    if params.keys.constant().is_some() { 1 } else { 4 }
}

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    assert!(params.head_dim <= MAX_HEAD_DIM, "attention_row: heads of {} columns", params.head_dim);
    // A lane has a key first and a column later: narrow heads would leave half of 64 idle.
    let width = if params.head_dim <= 32 { 32 } else { 64 };
    vec![("HEAD_DIM", params.head_dim), ("QUERIES", rows_per_group(&params)), ("WIDTH", width)]
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = params.queries.length(counts).div_ceil(rows_per_group(&params) as usize);
    fold_groups(tiles * params.head_count as usize)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let whole = attention::cost(params, counts);
    let params: Params = bytemuck::pod_read_unaligned(params);
    let log_sum_exp_count = params.queries.length(counts) as u64 * u64::from(params.head_count);
    Cost { written_bytes: whole.written_bytes - 4 * log_sum_exp_count, ..whole }
}

/// Queries that one thread treats together: it packs the keys and values that any of them sees.
const ROWS_PER_TASK: usize = 256;

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let query_count = call.length(params.queries);
    let input = Input::new(&params, call.f(0), call.f(1));
    let (row_factor, unit) = (params.query_factor as usize, params.key_factor as usize);
    let ranges = Ranges { pairs: call.u(2), row_factor, unit };
    let width = input.head_count * input.q.head_dim;
    let (head_dim, panel_width) = (input.q.head_dim, widest_panel());
    // Packing all keys of a cache for a few rows would take long.
    let rows_per_task = if params.keys.constant().is_some() { 1 } else { ROWS_PER_TASK };
    let tasks = call.f_mut(3)[..query_count * width].par_chunks_mut(rows_per_task * width);
    tasks.enumerate().for_each(|(index, out)| {
        let first = index * rows_per_task;
        let rows = first..first + out.len() / width;
        let keys = ranges.union(rows.clone());
        let key_panels = keys.len().div_ceil(panel_width);
        let lengths = [
            key_panels * head_dim * panel_width,
            head_dim.div_ceil(panel_width) * keys.len() * panel_width,
            MOST_ROWS * key_panels * panel_width,
        ];
        with_scratch(lengths.iter().sum(), |room| {
            let (key_room, room) = room.split_at_mut(lengths[0]);
            let (values, scores) = room.split_at_mut(lengths[1]);
            let scratch = Scratch { keys: key_room, values, scores };
            Arch::new().dispatch(Task { input: &input, ranges: &ranges, rows, keys, out, scratch });
        });
    });
}

/// Scratch of a task.
struct Scratch<'a> {
    /// Keys of one head, [panels of keys, head_dim, width].
    keys: &'a mut [f32],
    /// Values of one head, [panels of columns, keys, width].
    values: &'a mut [f32],
    /// Of one tile, [rows, whole panels of keys]: scores, then weights.
    scores: &'a mut [f32],
}

/// Some rows; a type, so that it is compiled for every width of vectors.
struct Task<'a> {
    input: &'a Input<'a>,
    ranges: &'a Ranges<'a>,
    rows: Range<usize>,
    /// What any of the rows sees.
    keys: Range<usize>,
    out: &'a mut [f32],
    scratch: Scratch<'a>,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let group = self.input.group;
        for kv_head in 0..self.input.head_count / group {
            self.pack::<S>(kv_head);
            for head in kv_head * group..(kv_head + 1) * group {
                let mut row = self.rows.start;
                while row < self.rows.end {
                    let count = self.next_tile(row);
                    match count {
                        MOST_ROWS => self.tile::<S, MOST_ROWS>(simd, row, head),
                        4 => self.tile::<S, 4>(simd, row, head),
                        2 => self.tile::<S, 2>(simd, row, head),
                        _ => self.tile::<S, 1>(simd, row, head),
                    }
                    row += count;
                }
            }
        }
    }
}

impl Task<'_> {
    /// Brings keys and values of one head into panels.
    #[inline(always)]
    fn pack<S: Simd>(&mut self, kv_head: usize) {
        let (width, head_dim) = (panel_width::<S>(), self.input.k.head_dim);
        let Scratch { keys, values, .. } = &mut self.scratch;
        for (index, panel) in keys.chunks_exact_mut(head_dim * width).enumerate() {
            let first = self.keys.start + index * width;
            let columns = first..self.keys.end.min(first + width);
            let columns = columns.map(|key| self.input.k.row(key, kv_head));
            pack_columns(panel, width, columns);
        }
        let columns = values.chunks_exact_mut((self.keys.len() * width).max(1));
        for (index, panel) in columns.enumerate() {
            let cols = index * width..head_dim.min((index + 1) * width);
            for (line, key) in panel.chunks_exact_mut(width).zip(self.keys.clone()) {
                let (own, behind) = line.split_at_mut(cols.len());
                own.copy_from_slice(&self.input.v.row(key, kv_head)[cols.clone()]);
                behind.fill(0.0);
            }
        }
    }

    /// Rows of the tile that begins with `row`: as many as see much the same keys.
    #[inline(always)]
    fn next_tile(&self, row: usize) -> usize {
        let mut count = tile_rows(self.rows.end - row);
        while count > 1 {
            let rows = row..row + count;
            let longest = rows.clone().map(|row| self.ranges.of(row).len()).max().unwrap_or(0);
            if self.ranges.union(rows).len() <= 2 * longest {
                break;
            }
            count = tile_rows(count - 1);
        }
        count
    }

    /// One head of ROWS rows.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize, head: usize) {
        let (width, head_dim) = (panel_width::<S>(), self.input.q.head_dim);
        let row_length = self.input.head_count * head_dim;
        let place = (row - self.rows.start) * row_length + head * head_dim;
        let seen = self.ranges.union(row..row + ROWS);
        if seen.is_empty() {
            for out in self.out[place..].chunks_mut(row_length).take(ROWS) {
                out[..head_dim].fill(0.0);
            }
            return;
        }
        // Counted from the first key of the task, as panels are.
        let seen = seen.start - self.keys.start..seen.end - self.keys.start;
        let panels = seen.start / width..seen.end.div_ceil(width);
        let first = panels.start * width;
        let length = panels.len() * width;
        let Scratch { keys, values, scores } = &mut self.scratch;
        let scores = &mut scores[..ROWS * length];
        let queries = std::array::from_fn(|index| self.input.q.row(row + index, head));
        for index in panels {
            let panel = &keys[index * head_dim * width..][..head_dim * width];
            let sums: Tile<S, ROWS> = tile(simd, queries, panel);
            for (line, sums) in scores.chunks_exact_mut(length).zip(&sums) {
                line[index * width - first..][..width].copy_from_slice(bytemuck::cast_slice(sums));
            }
        }
        let mut inverse_sums = [0.0; ROWS];
        for (index, line) in scores.chunks_exact_mut(length).enumerate() {
            let own = self.ranges.of(row + index);
            inverse_sums[index] = weigh(line, own, first + self.keys.start, self.input.scale);
        }
        let weights = std::array::from_fn(|index| {
            &scores[index * length..][seen.start - first..seen.end - first]
        });
        for (index, panel) in values.chunks_exact(self.keys.len() * width).enumerate() {
            let panel = &panel[seen.start * width..seen.end * width];
            let sums: Tile<S, ROWS> = tile(simd, weights, panel);
            let cols = index * width..head_dim.min((index + 1) * width);
            for (index, sums) in sums.iter().enumerate() {
                let sums: &[f32] = bytemuck::cast_slice(sums);
                let out = &mut self.out[place + index * row_length..][cols.clone()];
                for (out, sum) in out.iter_mut().zip(sums) {
                    // Zeros of either sign become the same.
                    *out = sum * inverse_sums[index] + 0.0;
                }
            }
        }
    }
}

/// Turns the scores of one row into weights, zeros where it does not see; returns one over their
/// sum. `line` begins at key `first`.
#[inline(always)]
fn weigh(line: &mut [f32], own: Range<usize>, first: usize, scale: f32) -> f32 {
    if own.is_empty() {
        line.fill(0.0);
        return 0.0;
    }
    let (before, rest) = line.split_at_mut(own.start - first);
    let (own, behind) = rest.split_at_mut(own.len());
    before.fill(0.0);
    behind.fill(0.0);
    let shift = scale * largest(own);
    1.0 / change_and_sum(own, |score| exp(scale * score - shift))
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle_shape(&params, &call);
    let input = oracle_input(&params, call.f(0), call.f(1));
    oracle::attention::attention_row(&input, call.u(2), call.f_mut(3), &shape);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Case, Extent, HostBuffer};

    fn numbers(buffer: &HostBuffer<f32>) -> &[f32] {
        match buffer {
            HostBuffer::F(values) => values,
            HostBuffer::U(_) => panic!("numbers were expected"),
        }
    }

    /// Every row by itself, its keys moved to the front.
    #[test]
    fn a_row_alone_has_the_bits_of_the_row_among_others() {
        for case in row_cases().iter().filter(|case| case.name != "70000 heads") {
            let params: Params = bytemuck::pod_read_unaligned(&case.params);
            let among = case.on_cpu(&KERNEL);
            let (q, kv) = (numbers(&case.buffers[0]), numbers(&case.buffers[1]));
            let HostBuffer::U(pairs) = &case.buffers[2] else { panic!("ranges are integers") };
            let width = (params.head_count * params.head_dim) as usize;
            for (row, expected) in numbers(&among[3]).chunks_exact(width).enumerate() {
                let entry = row / params.query_factor as usize;
                let [low, high] = [pairs[2 * entry], pairs[2 * entry + 1]];
                let first = (low * params.key_factor * params.kv_stride) as usize;
                let stride = params.query_stride as usize;
                let alone = Params { queries: Extent::fixed(1), query_factor: 1, ..params };
                let alone = Case::new("a row", &alone, case.step)
                    .f(q[row * stride..][..stride].to_vec())
                    .f(kv[first..].to_vec())
                    .u(vec![0, high - low])
                    .out(width);
                let got = alone.on_cpu(&KERNEL);
                let bits =
                    |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(numbers(&got[3])), bits(expected), "{}, row {row}", case.name);
            }
        }
    }
}
