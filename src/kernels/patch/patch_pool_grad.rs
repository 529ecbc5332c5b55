//! Gradient of [`patch_pool`](super::patch_pool) to its bytes (spec §26.1).
//!
//! x and dx are [bytes, cols], pooled and dpooled [patches, out_stride] of which columns
//! `out_offset..out_offset + cols` are read, range is [patches, 2]. A mean gives each byte an equal
//! share; a maximum or minimum gives it to the bytes that equal pooled, in equal shares. Then
//! `residual_scale * residual` [bytes, cols] is added. A byte belongs to one patch at most; bytes
//! of no patch are left as they were.

use super::disjoint_rows::for_disjoint_rows;
pub use super::patch_pool::Params;
use super::patch_pool::{MAX, MEAN, MIN, constants, groups, kind_of, shapes};
use crate::kernels::scratch::with_scratch;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, values,
};
use crate::oracle::patch::{patch_pool, patch_pool_grad};

pub static KERNEL: Kernel = Kernel {
    name: "patch_pool_grad",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("pooled", Element::F32),
        Binding::read("dpooled", Element::F32),
        Binding::read("range", Element::U32),
        Binding::read("residual", Element::F32),
        Binding::update("dx", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/patch/patch_pool_grad.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (patches, cols) = (params.patches.length(counts) as u64, u64::from(params.cols));
    let bytes = counts.get(Axis::Bytes) as u64;
    let adds = u64::from(params.accumulate) + u64::from(params.residual_scale != 0.0);
    let bytes_read = u64::from(params.kind != MEAN) + adds;
    Cost {
        flops: 2 * bytes * cols,
        read_bytes: 4 * (bytes_read * bytes * cols + 2 * patches * cols + 2 * patches),
        written_bytes: 4 * bytes * cols,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (patches, cols) = (call.length(params.patches), params.cols as usize);
    let (stride, offset) = (params.out_stride as usize, params.out_offset as usize);
    let (x, pooled, dpooled, range) = (call.f(0), call.f(1), call.f(2), call.u(3));
    let (residual, scale) = (call.f(4), params.residual_scale);
    let bytes_of = |patch: usize| range[2 * patch] as usize..range[2 * patch + 1] as usize;
    for_disjoint_rows(call.f_mut(5), cols, patches, bytes_of, |patch, dx| {
        let at = patch * stride + offset;
        let (pooled, dpooled) = (&pooled[at..at + cols], &dpooled[at..at + cols]);
        let bytes = bytes_of(patch);
        let x = &x[bytes.start * cols..bytes.end * cols];
        if params.accumulate == 0 {
            dx.fill(0.0);
        }
        if scale != 0.0 {
            let residual = &residual[bytes.start * cols..bytes.end * cols];
            dx.iter_mut().zip(residual).for_each(|(dx, residual)| *dx += scale * residual);
        }
        with_scratch(2 * cols, |room| {
            let (counts, shares) = room.split_at_mut(cols);
            if params.kind == MEAN {
                share_mean(dx, dpooled, shares);
            } else {
                share_max([x, pooled, dpooled], dx, counts, shares);
            }
        });
    });
}

/// Every byte of a patch gets as much.
fn share_mean(dx: &mut [f32], dpooled: &[f32], shares: &mut [f32]) {
    let cols = dpooled.len();
    let byte_count = (dx.len() / cols) as f32;
    for (share, dpooled) in shares.iter_mut().zip(dpooled) {
        *share = dpooled / byte_count;
    }
    dx.chunks_exact_mut(cols).for_each(|dx| add(dx, shares));
}

/// Every byte that holds the maximum of a column gets as much.
fn share_max(
    [x, pooled, dpooled]: [&[f32]; 3],
    dx: &mut [f32],
    counts: &mut [f32],
    shares: &mut [f32],
) {
    let cols = pooled.len();
    counts.fill(0.0);
    for x in x.chunks_exact(cols) {
        for ((count, &x), &pooled) in counts.iter_mut().zip(x).zip(pooled) {
            *count += if x == pooled { 1.0 } else { 0.0 };
        }
    }
    for ((share, dpooled), count) in shares.iter_mut().zip(dpooled).zip(&*counts) {
        *share = dpooled / f32::max(*count, 1.0);
    }
    for (dx, x) in dx.chunks_exact_mut(cols).zip(x.chunks_exact(cols)) {
        // The share is loaded whatever the comparison says, so that there is no branch.
        for (((dx, &x), &pooled), &share) in dx.iter_mut().zip(x).zip(pooled).zip(&*shares) {
            *dx += if x == pooled { share } else { 0.0 };
        }
    }
}

fn add(out: &mut [f32], values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += value;
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (patches, cols) = (call.length(params.patches), params.cols as usize);
    let (stride, offset) = (params.out_stride as usize, params.out_offset as usize);
    let (residual, dx) = (call.f(4), call.f_mut(5));
    let scale = f64::from(params.residual_scale);
    let range = &call.u(3)[..2 * patches];
    let columns = |matrix: &[f64]| -> Vec<f64> {
        let rows = matrix[..patches * stride].chunks(stride);
        rows.flat_map(|row| row[offset..offset + cols].to_vec()).collect()
    };
    let (pooled, dpooled) = (columns(call.f(1)), columns(call.f(2)));
    let mut shares = vec![0.0; dx.len()];
    patch_pool_grad(call.f(0), &pooled, &dpooled, range, kind_of(&params), &mut shares, cols);
    for pair in range.chunks(2) {
        for at in pair[0] as usize * cols..pair[1] as usize * cols {
            let kept = if params.accumulate == 1 { dx[at] } else { 0.0 };
            let added = if scale == 0.0 { 0.0 } else { scale * residual[at] };
            dx[at] = kept + added + shares[at];
        }
    }
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
                accumulate: ((seed + index) % 2) as u32,
                residual_scale: [0.0, 2.0, 1.0][(seed + index) % 3],
            };
            // Rounded to quarters, so that many bytes of a patch share the largest value.
            let rounded = |value: f32| (value * 4.0).round() / 4.0;
            // One byte more than patches cover: it keeps what it holds.
            let x = values(seed as u64, (shape.byte_count + 1) * cols).into_iter().map(rounded);
            let x: Vec<f32> = x.collect();
            let mut pooled = vec![0.0f32; patches * cols];
            patch_pool(&x, &shape.range, kind_of(&params), &mut pooled, cols);
            let mut wide = values(seed as u64 + 100, patches * stride);
            for (row, pooled) in wide.chunks_mut(stride).zip(pooled.chunks(cols)) {
                row[stride - cols..].copy_from_slice(pooled);
            }
            let counts = Counts::default().with(Axis::Patches, patches);
            let step = Step::of(counts.with(Axis::Bytes, shape.byte_count + 1));
            let adds = if params.accumulate == 1 { ", accumulate" } else { "" };
            let scale = params.residual_scale;
            let name = format!("{kind_name}, {}, cols {cols}{adds}, + {scale}", shape.name);
            cases.push(
                Case::new(name, &params, step)
                    .f(x)
                    .f(wide)
                    .f(values(seed as u64 + 200, patches * stride))
                    .u(shape.range.clone())
                    .f(values(seed as u64 + 400, (shape.byte_count + 1) * cols))
                    .f(values(seed as u64 + 300, (shape.byte_count + 1) * cols)),
            );
        }
    }
    cases
}
