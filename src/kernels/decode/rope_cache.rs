//! Rotary embedding of queries and keys whose keys, with their values, go into a cache: what
//! [`rope`](crate::kernels::attention::rope) and [`cache_rows`](super::cache_rows) do one after the
//! other, for a step of generation (spec §5.4, §14.3).
//!
//! x and out are [rows, cols], position and index `[rows]`, table [positions, head_dim], cache
//! [cache_rows, cols - x_offset]. The columns from `x_offset` on go to the row `index`, and once
//! more `mirror` rows behind it; [`NOWHERE`] is nowhere.

use super::cache_rows::NOWHERE;
use crate::kernels::attention::rope::rotate_rows;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, WIDE,
    fold_groups, integers, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `decode/rope_cache.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    /// The columns that are rotated, a multiple of `head_dim`.
    pub rotated_cols: u32,
    /// Even.
    pub head_dim: u32,
    /// First column that is kept; even.
    pub x_offset: u32,
    /// Rows behind its own at which a row is kept a second time; 0: nowhere.
    pub mirror: u32,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    /// Whether all heads are whole vectors of four.
    fn are_vectors(&self) -> bool {
        (self.cols | self.rotated_cols | self.head_dim | self.x_offset).is_multiple_of(4)
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "rope_cache",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("position", Element::U32),
        Binding::read("table", Element::F32),
        Binding::read("index", Element::U32),
        Binding::write("out", Element::F32),
        Binding::update("cache", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/decode/rope_cache.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Invocations of one workgroup.
const WIDTH: usize = 64;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![(WIDE, params.are_vectors().into())]
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let units = (params.cols as usize).div_ceil(if params.are_vectors() { 4 } else { 2 });
    fold_groups((params.rows.length(counts) * units).div_ceil(WIDTH))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let rows = params.rows.length(counts) as u64;
    let (elements, copies) = (rows * u64::from(params.cols), 1 + u64::from(params.mirror > 0));
    let kept = copies * rows * u64::from(params.cols - params.x_offset);
    Cost {
        flops: 3 * rows * u64::from(params.rotated_cols),
        read_bytes: 4 * (elements + rows * u64::from(2 + params.head_dim)),
        written_bytes: 4 * (elements + kept),
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (rotated, head_dim) = (params.rotated_cols as usize, params.head_dim as usize);
    let (position, table, index) = (&call.u(1)[..rows], call.f(2), &call.u(3)[..rows]);
    let (out, cache) = (&mut call.f_mut(4)[..rows * cols], call.f_mut(5));
    out.copy_from_slice(&call.f(0)[..rows * cols]);
    rotate_rows(out, cols, position, table, rotated, head_dim);
    keep_rows(out, cols, (index, 1), params.x_offset as usize, params.mirror as usize, cache);
}

/// Puts the columns from `offset` on of rows of `cols` where `index` says, `factor` rows into a
/// unit of so many, and once more `mirror` units behind.
pub(in crate::kernels) fn keep_rows(
    rows: &[f32],
    cols: usize,
    (index, factor): (&[u32], usize),
    offset: usize,
    mirror: usize,
    cache: &mut [f32],
) {
    let kept = cols - offset;
    let copies = if mirror > 0 { 2 } else { 1 };
    for (number, row) in rows.chunks_exact(cols).enumerate() {
        let unit = index[number / factor];
        for copy in (0..copies).filter(|_| unit != NOWHERE) {
            let to = ((unit as usize + copy * mirror) * factor + number % factor) * kept;
            cache[to..to + kept].copy_from_slice(&row[offset..]);
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle::attention::RopeShape {
        rows: call.length(params.rows),
        cols: params.cols as usize,
        rotated_cols: params.rotated_cols as usize,
        head_dim: params.head_dim as usize,
    };
    let (x, indices, table) = (call.f(0), [call.u(1), call.u(3)], call.f(2));
    let outputs = [call.f_mut(4), call.f_mut(5)];
    let (offset, mirror) = (params.x_offset as usize, params.mirror as usize);
    oracle::decode::rope_cache(x, indices, table, outputs, &shape, offset, mirror);
}

fn cases() -> Vec<Case> {
    // Rows, columns, rotated columns, head_dim, first column kept, mirror.
    let shapes = [
        (1, 6, 4, 2, 2, 0),
        (1, 96, 64, 32, 32, 3),
        (5, 13, 8, 4, 4, 5),
        (64, 48, 24, 12, 12, 64),
        (700_000, 6, 4, 2, 2, 0),
    ];
    let case = |(rows, cols, rotated_cols, head_dim, x_offset, mirror): (
        usize,
        usize,
        usize,
        usize,
        usize,
        usize,
    )| {
        let params = Params {
            rows: Extent::of(Axis::Bytes),
            cols: cols as u32,
            rotated_cols: rotated_cols as u32,
            head_dim: head_dim as u32,
            x_offset: x_offset as u32,
            mirror: mirror as u32,
            reserved: 0,
        };
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        // From the last row to the first, every fifth but the first nowhere.
        let index = (0..rows as u32).map(|row| match row % 5 {
            4 => NOWHERE,
            _ => rows as u32 - 1 - row,
        });
        let seed = (rows + cols) as u64;
        Case::new(format!("rows {rows}, cols {cols}, mirror {mirror}"), &params, step)
            .f(values(seed, rows * cols))
            .u(integers(seed + 1, rows, 50))
            .f(values(seed + 2, 50 * head_dim))
            .u(index.collect())
            .out(rows * cols)
            .f(values(seed + 3, (rows + mirror) * (cols - x_offset)))
    };
    shapes.into_iter().map(case).collect()
}
