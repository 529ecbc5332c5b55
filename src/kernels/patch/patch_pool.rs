//! Pooling of the bytes of each patch, channel by channel: max, mean or min (spec §7).
//!
//! x is [bytes, cols], range [patches, 2] holds the bytes `low..high` of every patch, out is
//! [patches, out_stride] of which columns `out_offset..out_offset + cols` are written, so that
//! several kinds lie side by side. A patch without bytes gets zeros.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    lane_count, values, wide,
};
use crate::oracle::patch::{PoolKind, patch_pool};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `patch/patch_pool.wgsl` and `patch/patch_pool_grad.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub patches: Extent,
    /// Columns of x.
    pub cols: u32,
    /// [`MAX`], [`MEAN`] or [`MIN`].
    pub kind: u32,
    /// Columns of a row of out.
    pub out_stride: u32,
    /// Column of out where this pooling begins.
    pub out_offset: u32,
    /// One: the gradient adds to what dx holds. The forward kernel always overwrites.
    pub accumulate: u32,
    /// Of the gradient. Zero: there is no residual, and any buffer may be bound in its place.
    pub residual_scale: f32,
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    /// A multiple of four where every row and its part begin and end with a whole vector.
    fn alignment(&self) -> u32 {
        self.cols | self.out_stride | self.out_offset
    }
}

/// Keeps the largest of the bytes.
pub const MAX: u32 = 0;
/// Keeps their mean.
pub const MEAN: u32 = 1;
/// Keeps the smallest.
pub const MIN: u32 = 2;

pub static KERNEL: Kernel = Kernel {
    name: "patch_pool",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("range", Element::U32),
        Binding::update("out", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/patch/patch_pool.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Columns, or vectors of columns, that one workgroup takes.
const BLOCK: usize = 64;

/// Vectors where all rows and parts of rows are whole ones.
pub(super) fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.alignment())]
}

/// One workgroup for every block of columns of every patch.
pub(super) fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let cols = params.cols as usize / lane_count(params.alignment());
    fold_groups(params.patches.length(counts) * cols.div_ceil(BLOCK))
}

/// The number of bytes is no parameter: that of this batch is taken, patches cover it.
fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (patches, cols) = (params.patches.length(counts) as u64, u64::from(params.cols));
    let bytes = counts.get(Axis::Bytes) as u64;
    Cost {
        flops: bytes * cols,
        read_bytes: 4 * (bytes * cols + 2 * patches),
        written_bytes: 4 * patches * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (patches, cols) = (call.length(params.patches), params.cols as usize);
    let (stride, offset) = (params.out_stride as usize, params.out_offset as usize);
    let (x, range, out) = (call.f(0), call.u(1), call.f_mut(2));
    let rows = out[..patches * stride].par_chunks_mut(stride).zip(range.par_chunks_exact(2));
    rows.for_each(|(row, range)| {
        let out = &mut row[offset..offset + cols];
        let (low, high) = (range[0] as usize, range[1] as usize);
        if low >= high {
            out.fill(0.0);
            return;
        }
        let x = &x[low * cols..high * cols];
        out.copy_from_slice(&x[..cols]);
        let bytes = x.chunks_exact(cols).skip(1);
        match params.kind {
            MAX => bytes.for_each(|byte| fold(out, byte, |a, b| if b > a { b } else { a })),
            MIN => bytes.for_each(|byte| fold(out, byte, |a, b| if b < a { b } else { a })),
            _ => {
                bytes.for_each(|byte| fold(out, byte, |a, b| a + b));
                let byte_count = (high - low) as f32;
                out.iter_mut().for_each(|sum| *sum /= byte_count);
            }
        }
    });
}

fn fold(out: &mut [f32], byte: &[f32], combine: impl Fn(f32, f32) -> f32) {
    for (out, value) in out.iter_mut().zip(byte) {
        *out = combine(*out, *value);
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (patches, cols) = (call.length(params.patches), params.cols as usize);
    let (stride, offset) = (params.out_stride as usize, params.out_offset as usize);
    let out = call.f_mut(2);
    let mut pooled = vec![0.0; patches * cols];
    let range = &call.u(1)[..2 * patches];
    patch_pool(call.f(0), range, kind_of(&params), &mut pooled, cols);
    for (row, pooled) in out.chunks_mut(stride).zip(pooled.chunks(cols)) {
        row[offset..offset + cols].copy_from_slice(pooled);
    }
}

/// The kind by the oracle's name.
pub(super) fn kind_of(params: &Params) -> PoolKind {
    match params.kind {
        MAX => PoolKind::Max,
        MEAN => PoolKind::Mean,
        MIN => PoolKind::Min,
        kind => panic!("patch_pool: kind {kind} is unknown"),
    }
}

/// Byte ranges of some patches with the number of bytes that they cover.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) range: Vec<u32>,
    pub(super) byte_count: usize,
    pub(super) cols: usize,
}

/// Shapes on which pooling and its gradient are tested.
pub(super) fn shapes() -> Vec<Shape> {
    let shape = |name, lengths: &[u32], cols| {
        let mut end = 0;
        let pairs = lengths.iter().map(|length| {
            end += length;
            [end - length, end]
        });
        let range: Vec<u32> = pairs.flatten().collect();
        Shape { name, range, byte_count: end as usize, cols }
    };
    let ragged: Vec<u32> = (0..37).map(|patch| 1 + patch * 5 % 7).collect();
    let mut backwards = shape("any order", &[3, 2, 5], 5);
    backwards.range = vec![5, 10, 0, 3, 3, 5];
    vec![
        shape("one byte", &[1], 1),
        shape("empty patches", &[2, 0, 3, 0], 7),
        shape("ragged", &ragged, 65),
        shape("a long patch", &[1, 211], 130),
        shape("whole vectors", &[4, 0, 1, 9, 6], 264),
        backwards,
        shape("more groups than a dimension holds", &[1; 66_000], 2),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (seed, shape) in shapes().into_iter().enumerate() {
        for (index, (kind, kind_name)) in [(MAX, "max"), (MEAN, "mean"), (MIN, "min")]
            .into_iter()
            .filter(|(kind, _)| shape.byte_count < 10_000 || *kind == MAX)
            .enumerate()
        {
            let (patches, cols) = (shape.range.len() / 2, shape.cols);
            let stride = cols * (1 + index) + seed;
            let params = Params {
                patches: Extent::of(Axis::Patches),
                cols: cols as u32,
                kind,
                out_stride: stride as u32,
                out_offset: (stride - cols) as u32,
                accumulate: 0,
                residual_scale: 0.0,
            };
            let counts = Counts::default().with(Axis::Patches, patches);
            let step = Step::of(counts.with(Axis::Bytes, shape.byte_count));
            let name = format!("{kind_name}, {}, cols {cols}", shape.name);
            cases.push(
                Case::new(name, &params, step)
                    .f(values(seed as u64, shape.byte_count * cols))
                    .u(shape.range.clone())
                    .f(values(seed as u64 + 100, patches * stride)),
            );
        }
    }
    cases
}
