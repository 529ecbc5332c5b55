//! Matrix product with an epilogue: `out = op(a) op(b) + residual_scale * residual (+ out)`.
//!
//! `a` is [m, k] or, transposed, stored [k, m]; `b` is [k, n] or, transposed, stored [n, k]; all
//! row-major, `batch_count` of them one after the other. A linear layer y = x Wᵀ is `transpose_b`,
//! its input gradient is plain, its weight gradient dyᵀ x is `transpose_a` with `accumulate`.
//!
//! A small result of long sums keeps few workgroups busy. With `split_count` the inner products are
//! cut in as many pieces, `out` is [batch, split, m, n] without any epilogue, and a `sum_rows` adds
//! the pieces up in their order.

use super::deep::deep;
use super::gemm::{Layout, gemm};
use super::lanes_fours::{lanes_eights, lanes_fours};
use super::matrix::{self, matrix};
use super::product::product;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Needs, Step, Variant, WIDE,
    values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `shared/matmul.wgsl`, of every product.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub m: Extent,
    pub n: Extent,
    pub k: Extent,
    /// Zero: there is no residual, and any buffer may be bound in its place.
    pub residual_scale: f32,
    /// One: add to what `out` holds.
    pub accumulate: u32,
    pub transpose_a: u32,
    pub transpose_b: u32,
    pub batch_count: u32,
    /// One: every output is one sum in the order of k, so that its bits do not depend on m. The
    /// CPU variant then takes `transpose_b` alone, as linear layers are.
    pub fixed_order: u32,
    /// Pieces that the inner products are cut in; 1: whole.
    pub split_count: u32,
    /// Columns that are turned, a multiple of `head_dim`: of [`matmul_rope`](super::matmul_rope).
    pub rotated_cols: u32,
    /// Of [`matmul_rope`](super::matmul_rope).
    pub head_dim: u32,
    /// One: the sums are wanted too: of [`matmul_swiglu`](super::matmul_swiglu).
    pub keeps_sums: u32,
    /// One: rows are some hundreds, whose tiles do not fill a GPU.
    pub some_rows: u32,
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 80);

/// Lengths of the pieces are multiples of this, so that each starts at whole vectors.
const SPLIT_MULTIPLE: usize = 32;

impl Params {
    /// One product of [m, k] by [k, n] that overwrites its output.
    pub fn new(m: Extent, n: Extent, k: Extent, transpose_a: bool, transpose_b: bool) -> Self {
        Self {
            m,
            n,
            k,
            residual_scale: 0.0,
            accumulate: 0,
            transpose_a: transpose_a.into(),
            transpose_b: transpose_b.into(),
            batch_count: 1,
            fixed_order: 0,
            split_count: 1,
            rotated_cols: 0,
            head_dim: 0,
            keeps_sums: 0,
            some_rows: 0,
            reserved: [0; 3],
        }
    }

    /// Lengths of the rows of a and b as they are stored.
    pub(super) fn stored_rows(&self) -> [Extent; 2] {
        let a_row = if self.transpose_a == 1 { self.m } else { self.k };
        let b_row = if self.transpose_b == 1 { self.k } else { self.n };
        [a_row, b_row]
    }

    /// Whether inner products, and their pieces, are whole steps of every variant.
    fn has_whole_steps(&self) -> bool {
        self.k.constant().is_some_and(|k| k.is_multiple_of(SPLIT_MULTIPLE))
    }

    /// Length of a piece of inner products of length `k`; the last may be shorter, or empty.
    fn split_depth(&self, k: usize) -> usize {
        match self.split_count {
            1 => k,
            count => k.div_ceil(count as usize).next_multiple_of(SPLIT_MULTIPLE),
        }
    }
}

const MATRIX: &str = include_str!("../../../shaders/dense/matmul.matrix.wgsl");

pub static KERNEL: Kernel = Kernel {
    name: "matmul",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("a", Element::F32).or_half(),
        Binding::read("b", Element::F32).or_half(),
        Binding::read("residual", Element::F32).or_half(),
        Binding::update("out", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/matmul.wgsl"), groups),
        Variant {
            name: "lanes",
            source: include_str!("../../../shaders/dense/matmul.lanes.wgsl"),
            defines: &[(WIDE, 0)],
            needs: Needs { subgroups: true, subgroup_min: 8, ..Needs::NOTHING },
            takes: |_, _| true,
            suits: |situation| situation.abilities.software,
            keeps_bits: false,
            groups: lanes_groups,
        },
        matrix(MATRIX, matrix::takes),
        lanes_fours(true),
        lanes_fours(false),
        lanes_eights(true),
        lanes_eights(false),
        deep(include_str!("../../../shaders/dense/matmul.wgsl")),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Outputs along either side of the tile of one workgroup.
pub(super) const TILE: usize = 64;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let mut constants = tile_constants(params);
    let params: Params = bytemuck::pod_read_unaligned(params);
    let begins = params.residual_scale != 0.0 && params.accumulate == 0;
    constants.push(("BEGINS_WITH_RESIDUAL", begins.into()));
    constants
}

/// The constants of tiles of products.
pub(super) fn tile_constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let whole = |extent: Extent| extent.constant().is_some_and(|count| count.is_multiple_of(4));
    let [a_row, b_row] = params.stored_rows();
    let vectors = [a_row, b_row, params.n].into_iter().all(whole);
    vec![
        ("A_BY_FOUR", matrix::is_by_four(a_row).into()),
        ("TRANSPOSE_A", params.transpose_a),
        ("TRANSPOSE_B", params.transpose_b),
        (WIDE, vectors.into()),
        ("WHOLE_STEPS", (vectors && params.has_whole_steps()).into()),
    ]
}

pub(super) fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let tiles = |extent: Extent| extent.length(counts).div_ceil(TILE).max(1) as u32;
    [tiles(params.n), tiles(params.m), params.batch_count * params.split_count]
}

/// Outputs of the workgroup of `lanes`: rows, columns.
const LANES_TILE: [usize; 2] = [32, 128];

fn lanes_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [m, n] = [params.m, params.n].map(|extent| extent.length(counts));
    let tiles = |count: usize, side: usize| count.div_ceil(side).max(1) as u32;
    [tiles(n, LANES_TILE[1]), tiles(m, LANES_TILE[0]), params.batch_count * params.split_count]
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| extent.length(counts) as u64);
    let batch = u64::from(params.batch_count);
    let outs = m * n * (1 + u64::from(params.residual_scale != 0.0) + u64::from(params.accumulate));
    Cost {
        flops: 2 * batch * m * n * k,
        read_bytes: 4 * batch * (m * k + k * n + outs - m * n),
        written_bytes: 4 * batch * u64::from(params.split_count) * m * n,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let shape = [params.m, params.n, params.k].map(|extent| call.length(extent));
    let [m, n, k] = shape;
    let (a, b, residual, out) = (call.f(0), call.f(1), call.f(2), call.f_mut(3));
    if m * n == 0 {
        return;
    }
    let a_layout =
        if params.transpose_a == 1 { Layout::transposed(m) } else { Layout::row_major(k) };
    let b_layout =
        if params.transpose_b == 1 { Layout::transposed(k) } else { Layout::row_major(n) };
    if params.split_count > 1 {
        let (count, depth) = (params.split_count as usize, params.split_depth(k));
        let pieces = out[..params.batch_count as usize * count * m * n].par_chunks_mut(m * n);
        pieces.enumerate().for_each(|(index, out)| {
            let (batch, first) = (index / count, (index % count * depth).min(k));
            let a = (a, a_layout.at(batch * m * k).at(first * a_layout.col_stride));
            let b = (b, b_layout.at(batch * k * n).at(first * b_layout.row_stride));
            let shape = [m, n, depth.min(k - first)];
            gemm(shape, (out, Layout::row_major(n)), false, a, b);
        });
        return;
    }
    for batch in 0..params.batch_count as usize {
        let range = batch * m * n..(batch + 1) * m * n;
        let residual = (params.residual_scale != 0.0)
            .then(|| (&residual[range.clone()], params.residual_scale));
        let a = (a, a_layout.at(batch * m * k));
        let b = (b, b_layout.at(batch * k * n));
        let whole = params.fixed_order == 1;
        product(shape, &mut out[range], whole, params.accumulate == 1, residual, a, b);
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| call.length(extent));
    let shape = oracle::dense::MatmulShape {
        batch: params.batch_count as usize,
        m,
        n,
        k,
        transpose_a: params.transpose_a == 1,
        transpose_b: params.transpose_b == 1,
        accumulate: params.accumulate == 1,
    };
    if params.split_count > 1 {
        let depth = params.split_depth(k);
        let count = params.split_count as usize;
        return oracle::dense::matmul_split(
            call.f(0),
            call.f(1),
            call.f_mut(3),
            &shape,
            count,
            depth,
        );
    }
    let scale = f64::from(params.residual_scale);
    let residual = (scale != 0.0).then(|| (call.f(2), scale));
    oracle::dense::matmul(call.f(0), call.f(1), residual, call.f_mut(3), &shape);
}

fn cases() -> Vec<Case> {
    // Two are cut into pieces on the CPU: by rows, and along the sums.
    let shapes = [
        [1, 1, 1],
        [5, 7, 3],
        [64, 64, 64],
        [67, 130, 33],
        [128, 65, 17],
        [200, 3, 130],
        [700, 41, 30],
        [24, 37, 1500],
        [66, 132, 36],
        [130, 72, 192],
    ];
    let mut cases = Vec::new();
    for (index, [m, n, k]) in shapes.into_iter().enumerate() {
        for transposes in 0..4 {
            let [ta, tb] = [transposes & 1, transposes >> 1];
            let step = Step::of(Counts::default().with(Axis::Bytes, m));
            let mut params = Params::new(
                Extent::of(Axis::Bytes),
                Extent::fixed(n),
                Extent::fixed(k),
                ta == 1,
                tb == 1,
            );
            params.accumulate = (index % 2) as u32;
            params.residual_scale = [0.0, 2.0, 1.0][index % 3];
            params.batch_count = 1 + (index % 2) as u32;
            params.some_rows = (k % 64 == 0).into();
            let batch = params.batch_count as usize;
            let seed = (index * 4 + transposes) as u64;
            let name = format!("{m}x{n}x{k} batch {batch} transposes {ta}{tb}");
            let case = || {
                Case::new(name.clone(), &params, step)
                    .f(values(seed, batch * m * k))
                    .f(values(seed + 100, batch * k * n))
                    .f(values(seed + 200, batch * m * n))
                    .f(values(seed + 300, batch * m * n))
                    // Rounding errors of a sum grow with the square root of its length.
                    .tolerance(2e-5 * (k as f64 / 100.0).sqrt().max(1.0))
            };
            cases.push(case());
            if params.accumulate == 0 {
                cases.push(case().halves(&[0, 1]));
                cases.push(case().halves(&[0, 1, 2, 3]));
            }
        }
    }
    cases.extend(cases_in_fixed_order());
    cases.extend(cases_in_pieces());
    cases.extend(cases_of_many_tiles());
    cases
}

/// Linear layers whose outputs are sums in one order.
fn cases_in_fixed_order() -> Vec<Case> {
    let shapes = [[1, 1, 1], [2, 260, 64], [67, 130, 33], [203, 37, 150]];
    let case = |(index, [m, n, k]): (usize, [usize; 3])| {
        let step = Step::of(Counts::default().with(Axis::Bytes, m));
        let (rows, cols, depth) = (Extent::of(Axis::Bytes), Extent::fixed(n), Extent::fixed(k));
        let mut params = Params::new(rows, cols, depth, false, true);
        params.fixed_order = 1;
        params.accumulate = (index % 2) as u32;
        params.residual_scale = [1.0, 0.0, 2.0][index % 3];
        let seed = 1000 + index as u64;
        Case::new(format!("{m}x{n}x{k} in fixed order"), &params, step)
            .f(values(seed, m * k))
            .f(values(seed + 100, k * n))
            .f(values(seed + 200, m * n))
            .f(values(seed + 300, m * n))
    };
    shapes.into_iter().enumerate().map(case).collect()
}

/// Products of several tiles of every variant, with whole tiles and edges, in f32 and in f16.
fn cases_of_many_tiles() -> Vec<Case> {
    // Rows of the batch or a constant number of them, cols, depth, transposes.
    let shapes = [
        (true, [257, 264, 96], [0, 0]),
        (true, [256, 136, 72], [0, 1]),
        (false, [264, 256, 100], [1, 0]),
        (true, [131, 130, 66], [0, 1]),
        (true, [67, 198, 34], [0, 0]),
        (false, [70, 66, 37], [1, 0]),
        (true, [130, 260, 64], [0, 1]),
        (true, [140, 136, 100], [0, 0]),
        (false, [260, 72, 100], [1, 0]),
        (false, [68, 76, 37], [1, 0]),
    ];
    let mut cases = Vec::new();
    for (index, (is_batch, [m, n, k], [ta, tb])) in shapes.into_iter().enumerate() {
        let bytes = Extent::of(Axis::Bytes);
        let counts = Counts::default().with(Axis::Bytes, if is_batch { m } else { k });
        let (rows, depth) = match is_batch {
            true => (bytes, Extent::fixed(k)),
            false => (Extent::fixed(m), bytes),
        };
        let mut params = Params::new(rows, Extent::fixed(n), depth, ta == 1, tb == 1);
        params.residual_scale = [1.0, 0.0][index % 2];
        params.accumulate = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0][index];
        params.some_rows = (k == 64).into();
        let seed = 3000 + index as u64;
        let case = || {
            Case::new(format!("{m}x{n}x{k} of many tiles, {ta}{tb}"), &params, Step::of(counts))
                .f(values(seed, m * k))
                .f(values(seed + 100, k * n))
                .f(values(seed + 200, m * n))
                .f(values(seed + 300, m * n))
        };
        cases.push(case());
        cases.push(case().halves(&[0, 1]));
        if params.accumulate == 0 {
            cases.push(case().halves(&[0, 1, 3]));
        }
    }
    cases
}

/// Weight gradients in pieces, the last of which is short or empty.
fn cases_in_pieces() -> Vec<Case> {
    let shapes = [
        [24, 40, 200, 3],
        [256, 136, 300, 4],
        [130, 68, 300, 4],
        [132, 72, 300, 4],
        [16, 8, 40, 2],
        [64, 64, 33, 4],
    ];
    let case = |[m, n, k, split_count]: [usize; 4]| {
        let step = Step::of(Counts::default().with(Axis::Bytes, k));
        let (rows, cols, depth) = (Extent::fixed(m), Extent::fixed(n), Extent::of(Axis::Bytes));
        let mut params = Params::new(rows, cols, depth, true, false);
        params.split_count = split_count as u32;
        let seed = (2000 + k) as u64;
        Case::new(format!("{m}x{n}x{k} in {split_count} pieces"), &params, step)
            .f(values(seed, m * k))
            .f(values(seed + 100, k * n))
            .f(vec![0.0])
            .out(split_count * m * n)
    };
    let mut cases: Vec<Case> = shapes.into_iter().map(case).collect();
    cases.extend(shapes.into_iter().map(|shape| case(shape).halves(&[0, 1])));
    cases
}
