//! RMSNorm: `out = x / sqrt(mean(x²) + eps) * gain`, statistics in f32 (spec §5.1).
//!
//! x and out are [rows, cols], gain is `[cols]`; `inverse_rms` `[rows]` is kept for the backward
//! pass.

use crate::kernels::eights::{is_short_row, row_chunk_groups, rows_of_eights};
use crate::kernels::row_lanes::{row_groups, row_lanes};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Halves, Kernel, Needs, Step, Variant,
    always, fold_groups, lane_count, reduce::lanes, values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `norm/rms_norm.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    pub eps: f32,
}

const _: () = assert!(size_of::<Params>() == 16);

pub static KERNEL: Kernel = Kernel {
    name: "rms_norm",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("gain", Element::F32),
        Binding::write("out", Element::F32).or_half(),
        Binding::write("inverse_rms", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/norm/rms_norm.wgsl"), groups),
        row_lanes(include_str!("../../../shaders/norm/rms_norm.lanes.wgsl"), lanes_groups),
        rows_of_eights(
            include_str!("../../../shaders/norm/rms_norm.lanes_eights.wgsl"),
            takes_eights,
            eights_groups,
        ),
        Variant {
            name: "subgroups",
            source: include_str!("../../../shaders/norm/rms_norm.subgroups.wgsl"),
            defines: &[],
            needs: Needs { subgroups: true, ..Needs::NOTHING },
            takes: always,
            suits: |situation| situation.abilities.hardware,
            keeps_bits: false,
            groups: subgroups_groups,
        },
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let slices = (params.cols as usize / lane_count(params.cols)).div_ceil(LEAST_LANES);
    vec![wide(params.cols), ("SLICES", slices.clamp(1, MOST_SLICES) as u32)]
}

/// Lanes of a subgroup on most GPUs: of so many, the numbers of a whole row are registers.
const LEAST_LANES: usize = 32;

/// Most numbers of a row that a lane keeps; longer rows are read twice.
const MOST_SLICES: usize = 8;

/// Rows that a workgroup of `subgroups` takes at once, with subgroups of 32 lanes. Its grid strides
/// over the rows, whatever their size is.
const GROUP_ROWS: usize = 4;

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts))
}

fn subgroups_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts).div_ceil(GROUP_ROWS))
}

fn lanes_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    row_groups(params.rows.length(counts))
}

fn takes_eights(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    halves == Halves::NONE && is_short_row(params.cols)
}

fn eights_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    row_chunk_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    Cost {
        flops: 4 * rows * cols,
        read_bytes: 4 * (rows * cols + cols),
        written_bytes: 4 * (rows * cols + rows),
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (x, gain, out, inverse_rms) = (call.f(0), call.f(1), call.f_mut(2), call.f_mut(3));
    let rows = out[..rows * cols]
        .par_chunks_mut(cols)
        .zip(&mut inverse_rms[..rows])
        .zip(x[..rows * cols].par_chunks(cols));
    rows.for_each(|((out, inverse), x)| {
        let squares = lanes::sum(x, |value| value * value);
        let scale = 1.0 / (squares / cols as f32 + params.eps).sqrt();
        *inverse = scale;
        for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
            *out = x * scale * gain;
        }
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let eps = f64::from(params.eps);
    let (out, inverse_rms) = (call.f_mut(2), call.f_mut(3));
    oracle::norm::rms_norm(call.f(0), call.f(1), out, inverse_rms, rows, cols, eps);
}

fn cases() -> Vec<Case> {
    let shapes = [
        (1, 1),
        (1, 7),
        (3, 64),
        (5, 65),
        (17, 130),
        (70_000, 4),
        (2, 1024),
        (9, 2600),
        (70, 128),
        (67, 72),
    ];
    let case = |(rows, cols): (usize, usize)| {
        let params = Params { rows: Extent::of(Axis::Bytes), cols: cols as u32, eps: 1e-5 };
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        Case::new(format!("rows {rows}, cols {cols}"), &params, step)
            .f(values(rows as u64, rows * cols))
            .f(values(cols as u64 + 1000, cols))
            .out(rows * cols)
            .out(rows)
    };
    let mut cases: Vec<Case> = shapes.into_iter().map(case).collect();
    cases.extend([(5, 65), (17, 132)].map(|shape| case(shape).halves(&[2])));
    cases
}
