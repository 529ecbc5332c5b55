//! Rows into a cache: keys and values, byte states, what later steps read.
//!
//! x is [rows, x_stride], of which `cols` columns from `x_offset` on are taken; index
//! [rows / factor] says which unit of `factor` rows of cache [cache_rows, cols] each unit goes to,
//! [`NOWHERE`] that it goes nowhere. With a `mirror` every row is written a second time, so many
//! units behind: in a ring of w units and its mirror, the newest w lie side by side wherever the
//! ring began. No two rows go to the same place.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The index of rows that go nowhere.
pub const NOWHERE: u32 = oracle::decode::cache_rows::NOWHERE;

/// The `Params` uniform of `decode/cache_rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of x.
    pub rows: Extent,
    /// Rows that share an index.
    pub factor: u32,
    /// Columns of the cache.
    pub cols: u32,
    /// Columns of x.
    pub x_stride: u32,
    /// First column of x that is taken.
    pub x_offset: u32,
    /// Units behind a row at which it is written a second time; 0: nowhere.
    pub mirror: u32,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 32);

pub static KERNEL: Kernel = Kernel {
    name: "cache_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("index", Element::U32),
        Binding::update("cache", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/decode/cache_rows.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Vectors of four where they fit both x and the cache.
fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    // The largest power of two that divides all of them does it for each.
    vec![wide(params.cols | params.x_stride | params.x_offset)]
}

/// One workgroup a row.
fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let count = params.rows.length(counts) as u64 * u64::from(params.cols);
    let copies = 1 + u64::from(params.mirror > 0);
    Cost { flops: 0, read_bytes: 4 * count, written_bytes: 4 * copies * count }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, factor, cols) =
        (call.length(params.rows), params.factor as usize, params.cols as usize);
    let (stride, offset) = (params.x_stride as usize, params.x_offset as usize);
    let (x, index, cache) = (call.f(0), call.u(1), call.f_mut(2));
    let units = x.chunks_exact(stride * factor).zip(index).take(rows / factor);
    for (x, &unit) in units.filter(|&(_, &unit)| unit != NOWHERE) {
        let copies = 1 + usize::from(params.mirror > 0);
        for unit in (unit as usize..).step_by(params.mirror.max(1) as usize).take(copies) {
            let unit = cache[unit * factor * cols..][..factor * cols].chunks_exact_mut(cols);
            for (to, from) in unit.zip(x.chunks_exact(stride)) {
                to.copy_from_slice(&from[offset..offset + cols]);
            }
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle::decode::CacheRowsShape {
        rows: call.length(params.rows),
        factor: params.factor as usize,
        cols: params.cols as usize,
        x_stride: params.x_stride as usize,
        x_offset: params.x_offset as usize,
        mirror: params.mirror as usize,
    };
    oracle::decode::cache_rows(call.f(0), call.u(1), call.f_mut(2), &shape);
}

fn cases() -> Vec<Case> {
    // Units, rows of each, columns, columns of x before and behind them, mirror.
    let shapes = [
        (1, 1, 1, [0, 0], 0),
        (7, 1, 8, [4, 4], 8),
        (5, 2, 12, [0, 0], 6),
        (6, 3, 5, [2, 1], 0),
        (64, 1, 256, [128, 0], 64),
        (70_000, 1, 2, [1, 0], 0),
    ];
    let case = |(units, factor, cols, [before, behind], mirror): (
        usize,
        usize,
        usize,
        [usize; 2],
        usize,
    )| {
        let stride = before + cols + behind;
        let params = Params {
            rows: Extent::of(Axis::Bytes).times(factor),
            factor: factor as u32,
            cols: cols as u32,
            x_stride: stride as u32,
            x_offset: before as u32,
            mirror: mirror as u32,
            reserved: 0,
        };
        let step = Step::of(Counts::default().with(Axis::Bytes, units));
        // From the last unit to the first, every fifth but the first nowhere.
        let index = (0..units as u32).map(|unit| match unit % 5 {
            4 => NOWHERE,
            _ => units as u32 - 1 - unit,
        });
        let seed = (units + cols) as u64;
        Case::new(format!("{units} of {factor}, cols {cols}, mirror {mirror}"), &params, step)
            .f(values(seed, units * factor * stride))
            .u(index.collect())
            .f(values(seed + 1, (units + mirror) * factor * cols))
            .tolerance(0.0)
    };
    shapes.into_iter().map(case).collect()
}
